/** Programs that `tools/go-tool.sh NAME` builds from their pinned Go modules, in the cache. */
import { createHash } from "node:crypto";
import { existsSync, globSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

/** Null where it was never built as it is pinned now. `name`: of the folder in tools/. */
export function findGoTool(name: string): string | null {
  const folder = path.resolve("tools", name);
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum", ...globSync("*.go", { cwd: folder }).toSorted()])
    hash.update(readFileSync(path.join(folder, file)));
  const cache = process.env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache");
  const built = path.join(cache, "sidegate", `${name}-${hash.digest("hex").slice(0, 12)}`);
  return existsSync(built) ? built : null;
}

export const NEEDS_GO_TOOL = (name: string): string => `no ${name}: tools/go-tool.sh ${name} builds it`;
