/**
 * A typebox schema as the structural schema that a CustomResourceDefinition wants: one type at each place, maps as
 * `additionalProperties`, no `additionalProperties: false` (the API server prunes and warns by itself).
 *
 * Errs towards throwing: a keyword that Kubernetes would ignore or refuse is a bug of ours, seen when the files are generated.
 */
export interface StructuralSchema {
  readonly [keyword: string]: unknown;
}

const COPIED = new Set([
  "type",
  "description",
  "enum",
  "pattern",
  "format",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "minimum",
  "maximum",
  "required",
  "default",
]);

export function structural(schema: object): StructuralSchema {
  const from = schema as Readonly<Record<string, unknown>>;
  const out: Record<string, unknown> = {};
  for (const [keyword, value] of Object.entries(from)) {
    if (COPIED.has(keyword)) out[keyword] = value;
    else if (keyword === "properties") out[keyword] = mapped(value as Readonly<Record<string, object>>);
    else if (keyword === "items") out[keyword] = structural(value as object);
    else if (keyword === "patternProperties")
      out["additionalProperties"] = structural(Object.values(value as Readonly<Record<string, object>>)[0] ?? {});
    else if (keyword !== "additionalProperties" && keyword !== "examples" && !keyword.startsWith("~"))
      throw new Error(`structural schema: ${keyword}`);
  }
  if (Array.isArray(out["enum"])) out["type"] = "string";
  if (out["type"] === undefined) throw new Error("structural schema: a place without a type");
  // A free object: nothing in it is pruned.
  if (out["type"] === "object" && out["properties"] === undefined && out["additionalProperties"] === undefined)
    out["x-kubernetes-preserve-unknown-fields"] = true;
  return out;
}

function mapped(properties: Readonly<Record<string, object>>): Record<string, StructuralSchema> {
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, structural(schema)]));
}
