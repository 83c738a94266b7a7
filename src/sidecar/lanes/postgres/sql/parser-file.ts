/**
 * Where PostgreSQL's parser lies: beside the bundle in dist/, in node_modules in a run from the sources. Read once, on the first SQL.
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const NAME = "libpg-query.wasm";

/** Rejects where neither file can be read. What is in it is checked by `createParser`. */
export async function readParserFile(): Promise<Uint8Array> {
  try {
    return await readFile(new URL(NAME, import.meta.url));
  } catch {
    return await readFile(createRequire(import.meta.url).resolve(`libpg-query/wasm/${NAME}`));
  }
}
