/**
 * What the command line (outside) and the keeper (PID 1 of the namespace) say to each other over Node's IPC. Only these two ever
 * hold the channel: it is closed on exec, so the agent does not inherit it.
 */

import type { Furnished, View } from "./view.ts";

/** The sockets on which the agent's connections arrive. v6 is missing where the kernel has none. */
export const SOCKET_NAMES = ["tcp4", "tcp6", "dnsUdp4", "dnsUdp6", "dnsTcp4", "dnsTcp6"] as const;
export type SocketName = (typeof SOCKET_NAMES)[number];

export type Signal = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGQUIT" | "SIGUSR2" | "SIGTSTP" | "SIGWINCH";

/** What is started: argv[0] is looked up on the PATH of `env`. */
export interface Command {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Absolute. */
  readonly cwd: string;
}

/** As a shell reports it: 128 + n when a signal ended the command. */
export interface ExitStatus {
  readonly code: number;
  readonly signal: string | null;
}

/** Who the command is, and what the keeper has. `user`: made in a user namespace; `root`: without one. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
  readonly mode: "user" | "root";
}

export type ToKeeper =
  | { readonly kind: "open"; readonly identity: Identity }
  | { readonly kind: "furnish"; readonly view: View }
  /** `foreground`: take the terminal first. */
  | { readonly kind: "start"; readonly command: Command; readonly foreground: boolean }
  | { readonly kind: "signal"; readonly signal: Signal }
  /** Continue the command's group, after taking the terminal where `foreground`. */
  | { readonly kind: "resume"; readonly foreground: boolean };

export type FromKeeper =
  /** Accompanied by the handle. */
  | { readonly kind: "socket"; readonly name: SocketName }
  | { readonly kind: "opened" }
  | { readonly kind: "furnished"; readonly furnished: Furnished }
  /** The command has stopped, by this signal. */
  | { readonly kind: "stopped"; readonly signal: string }
  | { readonly kind: "exit"; readonly status: ExitStatus }
  | { readonly kind: "failed"; readonly message: string };
