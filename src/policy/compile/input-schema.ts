/**
 * The JSON Schema of `input` for OPA's type checker and for editors, made from the one source (contract/operation.ts).
 *
 * OPA's checker reads a part of JSON Schema only: an `enum` without `type` counts as "anything", so types are added, and patterned
 * properties become additional ones.
 */
import { OperationInput } from "#contract/operation.ts";

export function inputSchema(): Record<string, unknown> {
  return { $schema: "http://json-schema.org/draft-07/schema#", ...(forOpa(OperationInput) as Record<string, unknown>) };
}

function forOpa(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(forOpa);
  if (typeof schema !== "object" || schema === null) return schema;
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key === "patternProperties") out["additionalProperties"] = forOpa(Object.values(value as object)[0]);
    else out[key] = forOpa(value);
  }
  const words = out["enum"];
  if (Array.isArray(words) && out["type"] === undefined && words.every((word) => typeof word === "string"))
    out["type"] = "string";
  return out;
}
