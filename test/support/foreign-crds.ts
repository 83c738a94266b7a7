/**
 * Other software's custom resource definitions, as it ships them: cert-manager's, and those of Prometheus Operator that the chart has
 * objects of. `tools/foreign-crds.sh` brings them out of pinned Go modules.
 */
import { createHash } from "node:crypto";
import { existsSync, globSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parse } from "yaml";

export interface Crd {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: object;
}

export const NEEDS_FOREIGN_CRDS = "no definitions of other software: tools/foreign-crds.sh brings them";

/** Kinds of Prometheus Operator's that the chart has objects of. */
export const OF_CHART = ["servicemonitors", "podmonitors", "prometheusrules"] as const;

/** Null where they were never brought as they are pinned now. All of cert-manager's, and `monitoring` of Prometheus Operator's: large ones. */
export function foreignCrds(monitoring: readonly string[] = OF_CHART): readonly Crd[] | null {
  const hash = createHash("sha256");
  for (const tool of ["cert-manager", "prometheus-operator"])
    hash.update(readFileSync(path.resolve("tools", tool, "go.sum")));
  const cache = process.env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache");
  const folder = path.join(cache, "sidegate", `foreign-crds-${hash.digest("hex").slice(0, 12)}`);
  if (!existsSync(folder)) return null;
  return globSync("*.yaml", { cwd: folder })
    .filter((file) => file.includes("cert-manager") || monitoring.some((plural) => file.endsWith(`_${plural}.yaml`)))
    .toSorted()
    .map((file) => parse(readFileSync(path.join(folder, file), "utf8")) as Crd);
}
