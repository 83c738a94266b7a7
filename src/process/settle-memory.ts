/**
 * Gives back what starting took: garbage of reading and compiling, and pages that the C library keeps for the next time. A process
 * that mostly waits would hold on to them for hours, for V8 collects only what is allocated against.
 *
 * Errs towards doing nothing: where something is missing, memory stays as it is. Linux with glibc; elsewhere only the collection.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

type Collect = (how: { readonly type: "major"; readonly execution: "sync"; readonly flavor: "last-resort" }) => void;

/** Blocks for some 15 ms: once, before anybody is served. */
export function settleMemory(): void {
  collector()?.({ type: "major", execution: "sync", flavor: "last-resort" });
  trim();
}

/** V8's own function, which only contexts have that were made under this flag. */
function collector(): Collect | null {
  setFlagsFromString("--expose-gc");
  const gc: unknown = runInNewContext("typeof gc === 'function' ? gc : null");
  setFlagsFromString("--no-expose-gc");
  return typeof gc === "function" ? (gc as Collect) : null;
}

/** malloc_trim(3). */
function trim(): void {
  if (process.platform !== "linux") return;
  try {
    const ffi = process.getBuiltinModule("node:ffi");
    ffi.dlopen(null, { malloc_trim: { arguments: ["u64"], return: "i32" } }).functions.malloc_trim(0n);
  } catch {
    // No node:ffi, or another C library.
  }
}
