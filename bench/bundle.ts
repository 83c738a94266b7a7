/**
 * The sidecar that is measured: cmd/sidecar.ts, bundled as tools/build.ts does it, with two things changed in the bundle only.
 *
 * 1. Where a connection wanted to go. In a pod the kernel says it; here the load comes over loopback without netfilter, so the
 *    answer is the one that the bench wrote into a file (destination.ts).
 * 2. How much the spool may hold. The load is far beyond what one collector on the load's own core stores, and the sidecar would
 *    rightly refuse after 64 MiB.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { build, type Plugin } from "esbuild";
import { BUNDLE_OPTIONS } from "../tools/bundle-options.ts";

const SPOOL_LIMIT = "const MAX_BYTES = 64 * 1024 * 1024;";
const SPOOL_BYTES = 32 * 1024 ** 3;

const changes: Plugin = {
  name: "bench",
  setup(plugin) {
    plugin.onLoad({ filter: /src\/sidecar\/listen\/original-destination\.ts$/ }, async ({ path: file }) => ({
      contents: (await readFile(file, "utf8")).replace(
        /^export function originalDestination\(\)/m,
        'export { originalDestination } from "../../../bench/destination.ts";\nexport function unused()',
      ),
      loader: "ts",
    }));
    plugin.onLoad({ filter: /src\/audit\/open\.ts$/ }, async ({ path: file }) => {
      const text = await readFile(file, "utf8");
      if (!text.includes(SPOOL_LIMIT)) throw new Error("src/audit/open.ts: the spool's limit has moved");
      return { contents: text.replace(SPOOL_LIMIT, `const MAX_BYTES = ${SPOOL_BYTES};`), loader: "ts" };
    });
  },
};

/** `measured`: with the changes above; else as it is shipped. Resolves to the bundle's path. */
export async function bundle(
  entry: string,
  folder: string,
  measured: boolean,
  inject: readonly string[] = [],
): Promise<string> {
  const name = path.basename(entry.replace(/\/main\.ts$/, ""), ".ts");
  const outfile = path.join(folder, `${name}${measured ? "-measured" : ""}.js`);
  await build({
    ...BUNDLE_OPTIONS,
    entryPoints: [path.resolve(import.meta.dirname, "..", entry)],
    absWorkingDir: path.resolve(import.meta.dirname, ".."),
    outfile,
    inject: [...inject],
    plugins: measured ? [changes] : [],
  });
  return outfile;
}
