/** The chart as `helm template` renders it, for tests that look at it or apply it. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseAllDocuments } from "yaml";

export interface Rendered {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [member: string]: unknown };
  readonly [member: string]: unknown;
}

/** Null where it was never built (`tools/helm/ensure.sh`). */
export function findHelm(): string | null {
  const given = process.env["SIDEGATE_HELM"];
  if (given !== undefined) return given;
  const version = /helm\.sh\/helm\/v4 v([\d.]+)/.exec(readFileSync("tools/helm/go.mod", "utf8"))?.[1] ?? "";
  const cache = process.env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache");
  const built = path.join(cache, "sidegate", `helm-${version}`);
  return existsSync(built) ? built : null;
}

export function renderText(helm: string, set: Readonly<Record<string, unknown>> = {}): string {
  const args = ["template", "sidegate", "charts/gateway", "--namespace", "sidegate"];
  for (const [name, value] of Object.entries(set)) args.push("--set-json", `${name}=${JSON.stringify(value)}`);
  return execFileSync(helm, args, { encoding: "utf8", maxBuffer: 64 * 1024 * 1024, stdio: ["ignore", "pipe", "pipe"] });
}

export function renderChart(helm: string, set: Readonly<Record<string, unknown>> = {}): Rendered[] {
  return parseAllDocuments(renderText(helm, set))
    .map((document) => document.toJS() as Rendered | null)
    .filter((object) => object !== null);
}
