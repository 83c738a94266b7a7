/**
 * Reads the targets out of a bundle's data. They were checked against the schema when the bundle was built; here only the shape
 * is, by hand, because a schema validator is too heavy for the sidecar.
 */
import type { Target } from "#contract/target.ts";

const MAX_TARGETS = 10_000;

/** `data.sidegate.targets`: name → spec. Throws TypeError. */
export function readTargets(data: Readonly<Record<string, unknown>>): readonly Target[] {
  const root = data["sidegate"];
  if (root === undefined) return [];
  const targets = member(root, "data.sidegate")["targets"];
  if (targets === undefined) return [];
  const entries = Object.entries(member(targets, "data.sidegate.targets"));
  if (entries.length > MAX_TARGETS) throw new TypeError(`more than ${MAX_TARGETS} targets`);
  return entries.map(([name, value]) => {
    const spec = member(value, `target ${name}`);
    if (!isArrayOf(spec["hosts"], "string") || !isArrayOf(spec["ports"], "number"))
      throw new TypeError(`target ${name}: hosts and ports are needed`);
    for (const key of ["addresses", "endpoints"])
      if (spec[key] !== undefined && !isArrayOf(spec[key], "string"))
        throw new TypeError(`target ${name}: ${key} is no list of texts`);
    return Object.freeze({ ...spec, name }) as unknown as Target;
  });
}

function member(value: unknown, at: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError(`${at} is no object`);
  return value as Record<string, unknown>;
}

function isArrayOf(value: unknown, type: "string" | "number"): boolean {
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === type);
}
