/**
 * Bundles each process into one file under dist/. The images, the npm package and `sidegate run` start these; development runs
 * the sources as they are. Each bundle's metafile stays beside it, for the test that looks at what is inside.
 */
import { copyFileSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";
import { BUNDLE_OPTIONS } from "./bundle-options.ts";
import { buildPreload } from "./preload.ts";

const OUT = "dist";
/** What `sidegate redteam` runs inside a pod travels in the command line's bundle. */
const ATTEMPTS = "test/bypass/pod/attempts.py";
const entries: Record<string, string> = { sidegate: "cmd/sidegate/main.ts" };
for (const file of globSync("cmd/*.ts")) entries[path.basename(file, ".ts")] = file;

rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT, { recursive: true });
for (const [name, entry] of Object.entries(entries)) {
  const result = await build({
    entryPoints: [entry],
    outfile: `${OUT}/${name}.js`,
    ...BUNDLE_OPTIONS,
    ...(name === "sidegate" && { define: { SIDEGATE_ATTEMPTS: JSON.stringify(readFileSync(ATTEMPTS, "utf8")) } }),
    metafile: true,
  });
  writeFileSync(`${OUT}/${name}.meta.json`, JSON.stringify(result.metafile));
  const bytes = Object.values(result.metafile.outputs).reduce((sum, o) => sum + o.bytes, 0);
  console.log(`${OUT}/${name}.js ${(bytes / 1024).toFixed(0)} KiB`);
}
// PostgreSQL's parser, loaded with the first SQL.
copyFileSync("node_modules/libpg-query/wasm/libpg-query.wasm", `${OUT}/libpg-query.wasm`);
console.log(
  buildPreload(`${OUT}/trust-preload.so`) ? `${OUT}/trust-preload.so` : "no C compiler: without trust-preload.so",
);
