/**
 * JSON schemas for kubeconform, out of an API server's own OpenAPI (v2): with our custom resources and whatever else it serves, and
 * without the network. Strict: a member that a kind does not have is refused.
 *
 * Format: kubernetes.io/docs/concepts/overview/kubernetes-api; JSON Schema draft 4, as kubeconform's own collection.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

interface Schema {
  readonly type?: unknown;
  readonly format?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: unknown;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-group-version-kind"?: readonly {
    readonly group: string;
    readonly version: string;
    readonly kind: string;
  }[];
}

export interface OpenApi {
  readonly definitions: Readonly<Record<string, Schema>>;
}

const ALL = "definitions.json";
/** What `--schema-location FOLDER/SCHEMAS` is to say. */
export const SCHEMAS = "{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json";
/** Text in OpenAPI, a number as well in what people write. */
const QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/** Into `folder`: one file with everything, and one a kind that points into it. Returns how many kinds there are. */
export function writeSchemas({ definitions }: OpenApi, folder: string): number {
  const strict = Object.fromEntries(
    Object.entries(definitions).map(([name, schema]) => [
      name,
      name === QUANTITY ? { type: ["string", "number"] } : strictly(schema),
    ]),
  );
  writeFileSync(path.join(folder, ALL), JSON.stringify({ definitions: strict }));
  let kinds = 0;
  for (const [name, schema] of Object.entries(definitions)) {
    // Options and status objects are of many groups at once, and no manifest.
    const [only, ...more] = schema["x-kubernetes-group-version-kind"] ?? [];
    if (only === undefined || more.length > 0) continue;
    const group = only.group === "" ? only.version : only.group;
    mkdirSync(path.join(folder, group), { recursive: true });
    const file = path.join(folder, group, `${only.kind.toLowerCase()}_${only.version}.json`);
    writeFileSync(file, JSON.stringify({ $ref: `../${ALL}#/definitions/${name}` }));
    kinds++;
  }
  return kinds;
}

function strictly(schema: Schema): unknown {
  if (schema["x-kubernetes-int-or-string"] === true || schema.format === "int-or-string")
    return { type: ["integer", "string"] };
  const out = Object.fromEntries(
    Object.entries(schema).flatMap(([keyword, value]): [string, unknown][] => {
      if (keyword.startsWith("x-kubernetes-") || keyword === "description" || keyword === "default") return [];
      if (keyword === "properties") return [[keyword, mapped(value as Named)]];
      if (keyword === "items" || keyword === "additionalProperties")
        return [[keyword, typeof value === "object" ? strictly(value as Schema) : value]];
      if (keyword === "allOf") return [[keyword, (value as readonly Schema[]).map(strictly)]];
      return [[keyword, value]];
    }),
  );
  const open = schema.additionalProperties !== undefined || schema["x-kubernetes-preserve-unknown-fields"] === true;
  return schema.properties !== undefined && !open ? { ...out, additionalProperties: false } : out;
}

type Named = Readonly<Record<string, Schema>>;
const mapped = (schemas: Named): object =>
  Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, strictly(schema)]));
