/** Programs that `tools/go-tool.sh NAME` builds from their pinned Go modules, in the cache. */
import { existsSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

/** Null where it was never built. `name`: of the folder in tools/. */
export function findGoTool(name: string): string | null {
  const text = readFileSync(path.resolve("tools", name, "go.mod"), "utf8");
  const tool = /^tool (\S+)$/m.exec(text)?.[1] ?? "";
  const version = [...text.matchAll(/^(?:require )?\s*(\S+) v([^\s]+)/gm)].find(([, module = ""]) =>
    `${tool}/`.startsWith(`${module}/`),
  )?.[2];
  const cache = process.env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache");
  const built = path.join(cache, "sidegate", `${name}-${version}`);
  return version !== undefined && existsSync(built) ? built : null;
}

export const NEEDS_GO_TOOL = (name: string): string => `no ${name}: tools/go-tool.sh ${name} builds it`;
