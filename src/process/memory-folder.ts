/**
 * Whether a folder lies in memory, not on a disk: where a key may be kept over a restart.
 *
 * Errs towards "on a disk": a file system that we do not know is one.
 */
import { statfsSync } from "node:fs";

// linux/magic.h
const TMPFS = 0x0102_1994;
const RAMFS = 0x8584_58f6;

export function isMemoryFolder(folder: string): boolean {
  try {
    const { type } = statfsSync(folder);
    return type === TMPFS || type === RAMFS;
  } catch {
    return false;
  }
}

/** The first of these that lies in memory; null: none does. */
export function firstMemoryFolder(folders: readonly string[]): string | null {
  return folders.find(isMemoryFolder) ?? null;
}
