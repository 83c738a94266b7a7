/**
 * The last good bundle and its place in the row, in the state folder. Two files: the archive may be lost (then the source is asked),
 * the row must not be: without it an old bundle could come back after a restart.
 *
 * Errs towards refusal: a row file that is there and cannot be read is a fault at start, not "no row".
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import path from "node:path";
import type { BundleState } from "./holder.ts";

const ROW = "bundle.row.json";
const ARCHIVE = "bundle.tar.gz";

/** `folder` is made where it is missing. Throws where it cannot be written. */
export function createFolderState(folder: string): BundleState {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return {
    load() {
      const row = readOptional(path.join(folder, ROW));
      if (row === null) return null;
      const parsed = JSON.parse(row.toString("utf8")) as { sequence?: unknown; revision?: unknown };
      if (typeof parsed.sequence !== "number" || typeof parsed.revision !== "string")
        throw new TypeError(`${path.join(folder, ROW)} is damaged: an older bundle could not be told from a newer one`);
      return {
        inForce: { sequence: parsed.sequence, revision: parsed.revision },
        archive: readOptional(path.join(folder, ARCHIVE)),
      };
    },
    save(inForce, archive) {
      // The archive first: a row that promises more than what is there would refuse the bundle that it names.
      replace(path.join(folder, ARCHIVE), archive);
      replace(path.join(folder, ROW), Buffer.from(JSON.stringify(inForce)));
    },
  };
}

function readOptional(file: string): Buffer | null {
  try {
    return readFileSync(file);
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw fault;
  }
}

function replace(file: string, content: Uint8Array): void {
  const part = `${file}.part`;
  const descriptor = openSync(part, "w", 0o600);
  try {
    for (let at = 0; at < content.length; ) at += writeSync(descriptor, content, at);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(part, file);
}
