/**
 * Job control, as far as Node lacks it: process groups and the controlling terminal, through node:ffi (termios(3), tcsetpgrp(3)).
 *
 * Whoever is in the background and takes the terminal is sent SIGTTOU, which would stop the whole group: so it is ignored first.
 */

import ffi from "node:ffi";
import { openSync } from "node:fs";
import { SystemCallError } from "./libc.ts";

const SIGTTOU = 22;
const SIG_DFL = 0n;
const SIG_IGN = 1n;
const TCSADRAIN = 1;
/** struct termios is 60 bytes in glibc and musl. */
const TERMIOS_BYTES = 128;

const libc = ffi.dlopen(null, {
  setpgid: { arguments: ["int32", "int32"], return: "int32" },
  getpgid: { arguments: ["int32"], return: "int32" },
  tcgetpgrp: { arguments: ["int32"], return: "int32" },
  tcsetpgrp: { arguments: ["int32", "int32"], return: "int32" },
  tcgetattr: { arguments: ["int32", "buffer"], return: "int32" },
  tcsetattr: { arguments: ["int32", "int32", "buffer"], return: "int32" },
  signal: { arguments: ["int32", "pointer"], return: "pointer" },
}).functions;

/** The controlling terminal, or null where there is none. Closed on exec. */
export function openTerminal(): number | null {
  try {
    return openSync("/dev/tty", "r+");
  } catch {
    return null;
  }
}

/** This process becomes the first of a group of its own, in the same session. */
export function leadGroup(): void {
  if (libc.setpgid(0, 0) !== 0) throw new SystemCallError("setpgid", 0);
}

/** Whether keys reach this process's group. */
export function inForeground(terminal: number): boolean {
  return libc.tcgetpgrp(terminal) === libc.getpgid(0);
}

/** Makes this process's group the one that keys reach. Does nothing where the terminal is gone. */
export function takeForeground(terminal: number): void {
  libc.signal(SIGTTOU, SIG_IGN);
  libc.tcsetpgrp(terminal, libc.getpgid(0));
  libc.signal(SIGTTOU, SIG_DFL);
}

/** How the terminal treats keys and echo; null where it does not say. */
export function readModes(terminal: number): Buffer | null {
  const modes = Buffer.alloc(TERMIOS_BYTES);
  return libc.tcgetattr(terminal, modes) === 0 ? modes : null;
}

export function restoreModes(terminal: number, modes: Buffer): void {
  libc.tcsetattr(terminal, TCSADRAIN, modes);
}
