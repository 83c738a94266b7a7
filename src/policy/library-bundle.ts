/** The library's prebuilt bundle in an npm package: read back into its parts. It is part of the installation, so it is not verified. */
import type { BundleParts } from "./assemble.ts";
import { readManifest } from "./manifest.ts";
import { readArchive } from "./tar.ts";

/** Throws where the archive is damaged. */
export function libraryParts(archive: Uint8Array): BundleParts {
  const files = readArchive(archive);
  const wasm = files.get("policy.wasm");
  const manifest = files.get(".manifest");
  const data = files.get("data.json");
  if (wasm === undefined || manifest === undefined || data === undefined)
    throw new Error("the prebuilt library is incomplete; install the package again");
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");
  return {
    wasm,
    metadata: readManifest(text(manifest)).metadata,
    data: JSON.parse(text(data)) as Record<string, unknown>,
  };
}
