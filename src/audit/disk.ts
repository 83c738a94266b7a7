/** The disk as a parameter, so that a full or failing one can be tried. Synchronous: a record is written before the turn goes on. */
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from "node:fs";

export interface Disk {
  makeDirectory(path: string): void;
  /** Opens for appending, makes it where it is missing; readable by its owner only. */
  openAppend(path: string): number;
  /** Bytes written, at most `length`. */
  write(fd: number, bytes: Uint8Array, offset: number, length: number): number;
  truncate(fd: number, length: number): void;
  close(fd: number): void;
  /** Reads into `into` from `position`; returns how many bytes there were. */
  read(path: string, into: Uint8Array, position: number): number;
  size(path: string): number;
  /** Bytes of the whole volume that the folder lies on. */
  volume(directory: string): number;
  list(directory: string): readonly string[];
  /** No error where it is gone already. */
  remove(path: string): void;
}

export const systemDisk: Disk = {
  makeDirectory: (path) => void mkdirSync(path, { recursive: true, mode: 0o700 }),
  openAppend: (path) => openSync(path, "a", 0o600),
  write: (fd, bytes, offset, length) => writeSync(fd, bytes, offset, length),
  truncate: ftruncateSync,
  close: closeSync,
  read(path, into, position) {
    const fd = openSync(path, "r");
    try {
      let filled = 0;
      while (filled < into.length) {
        const n = readSync(fd, into, filled, into.length - filled, position + filled);
        if (n === 0) break;
        filled += n;
      }
      return filled;
    } finally {
      closeSync(fd);
    }
  },
  size: (path) => statSync(path).size,
  volume(directory) {
    const { blocks, bsize } = statfsSync(directory);
    return blocks * bsize;
  },
  list: (directory) => readdirSync(directory),
  remove: (path) => rmSync(path, { force: true }),
};
