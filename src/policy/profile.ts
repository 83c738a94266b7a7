/**
 * What a loaded policy can read. Lanes leave out of a policy's input what no rule reads, so a wrong "no" here could silence a
 * deny rule: whatever is not known counts as read.
 */
import type { Profile } from "#contract/policy-port.ts";
import type { BundleMetadata } from "./manifest.ts";

export function createProfile(revision: string, metadata: BundleMetadata): Profile {
  const { reads: paths, mayHold, mayMask } = metadata;
  const whole = paths === null || paths.includes("");
  // Each path that is read, and everything above it.
  const atOrAbove = new Set<string>();
  for (const path of paths ?? [])
    for (let end = path.length; end > 0; end = path.lastIndexOf(".", end - 1)) atOrAbove.add(path.slice(0, end));
  const exact = new Set(paths);
  const answers = new Map<string, boolean>();

  function reads(path: string): boolean {
    if (whole || atOrAbove.has(path)) return true;
    // A rule that reads "http" reads "http.headers" too.
    for (let end = path.lastIndexOf("."); end > 0; end = path.lastIndexOf(".", end - 1))
      if (exact.has(path.slice(0, end))) return true;
    return false;
  }

  return {
    revision,
    mayHold,
    mayMask,
    reads(path) {
      let answer = answers.get(path);
      if (answer === undefined) {
        answer = reads(path);
        // Lanes ask for a fixed handful of paths.
        if (answers.size < 256) answers.set(path, answer);
      }
      return answer;
    },
  };
}
