/**
 * The file behind synthetic addresses: one line a name, appended before the address is answered. A killed process leaves at
 * most half a last line, which nobody was told of: it is cut off on load.
 *
 * Fails closed: an append that is not whole is undone, and when it cannot be undone nothing more is written.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import type { NameStore } from "./synthetic.ts";

/** 16,384 names of 253 bytes with as long a target, and some: a larger file is not ours. */
const MAX_BYTES = 16 * 1_048_576;

/** Opens or makes the file (mode 0600) and keeps it open. Throws what the file system throws. */
export function openNameFile(path: string): NameStore & { close(): void } {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_CLOEXEC = 0 } = constants as typeof constants & { O_CLOEXEC?: number };
  const fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600);
  let length = 0;
  let broken = false;

  return {
    load() {
      const stat = fstatSync(fd);
      if (!stat.isFile() || stat.size > MAX_BYTES) throw new Error(`not a file of names: ${path}`);
      const bytes = Buffer.alloc(stat.size);
      let got = 0;
      while (got < bytes.length) {
        const n = readSync(fd, bytes, got, bytes.length - got, got);
        if (n === 0) break;
        got += n;
      }
      length = bytes.lastIndexOf(0x0a, got - 1) + 1;
      if (length < stat.size) ftruncateSync(fd, length);
      return bytes.toString("latin1", 0, length);
    },
    append(lines) {
      if (broken) return false;
      const bytes = Buffer.from(lines, "latin1");
      try {
        if (length + bytes.length <= MAX_BYTES && writeSync(fd, bytes, 0, bytes.length, length) === bytes.length) {
          length += bytes.length;
          return true;
        }
      } catch {
        // A full or failing disk; undone below.
      }
      try {
        ftruncateSync(fd, length);
      } catch {
        broken = true;
      }
      return false;
    },
    close() {
      broken = true;
      closeSync(fd);
    },
  };
}

/** For tests and for a sidecar without a state folder: names live as long as the process. */
export function memoryNames(): NameStore {
  let text = "";
  return {
    load: () => text,
    append(lines) {
      text += lines;
      return true;
    },
  };
}
