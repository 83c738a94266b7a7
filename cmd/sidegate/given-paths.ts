/**
 * Files and folders that options name: what is wrong with one is wrong usage, told with the option, before anything is begun.
 */
import { accessSync, constants, mkdirSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import { UsageError } from "./audit-store.ts";
import { systemWords } from "./streams.ts";

/** Its real path. Throws UsageError. */
export function givenPath(option: string, given: string, kind: "folder" | "any"): string {
  try {
    const real = realpathSync(given);
    if (kind === "folder" && !statSync(real).isDirectory()) throw new UsageError(`${option}: ${given} is no folder`);
    accessSync(real, constants.R_OK);
    return real;
  } catch (fault) {
    if (fault instanceof UsageError) throw fault;
    throw new UsageError(`${option}: ${given}: ${systemWords(fault)}`);
  }
}

/** The folder and those above it that are missing. One by one: Node's own recursion does not end in /proc. Throws UsageError. */
export function makeGivenFolder(option: string, given: string): void {
  const missing: string[] = [];
  try {
    for (let at = path.resolve(given); statSync(at, { throwIfNoEntry: false }) === undefined; at = path.dirname(at))
      missing.push(at);
    for (const at of missing.toReversed()) mkdirSync(at);
    if (!statSync(given).isDirectory()) throw new UsageError(`${option}: ${given} is no folder`);
    accessSync(given, constants.W_OK | constants.X_OK);
  } catch (fault) {
    if (fault instanceof UsageError) throw fault;
    const missing = (fault as NodeJS.ErrnoException).code === "ENOENT";
    throw new UsageError(`${option}: ${given}: ${missing ? "no folder can be made there" : systemWords(fault)}`);
  }
}

/** Where a file is to be written: its folder is made where it is missing. Throws UsageError where it cannot be written. */
export function givenOutput(option: string, given: string): string {
  makeGivenFolder(option, path.dirname(given));
  const there = statSync(given, { throwIfNoEntry: false });
  if (there?.isDirectory()) throw new UsageError(`${option}: ${given}: it is a folder`);
  return path.resolve(given);
}
