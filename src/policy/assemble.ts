/**
 * Puts a built module, its metadata and data together into a signed bundle. Needs no `opa`: `sidegate run` from the npm package
 * takes the prebuilt library's module, puts its own targets into the data, and signs with a key made for this run.
 */
import { createHash, generateKeyPairSync } from "node:crypto";
import { type BundleMetadata, writeManifest } from "./manifest.ts";
import { type BundleClaims, SIGNATURES, type SigningKey, signFiles, type TrustedKey } from "./signature.ts";
import { writeArchive } from "./tar.ts";

export interface BundleParts {
  readonly wasm: Uint8Array;
  readonly metadata: BundleMetadata;
  /** The whole `data` document: `{ sidegate: { targets, data } }`. */
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Assembled {
  readonly archive: Uint8Array;
  /** Of the content: equal parts have equal revisions. */
  readonly revision: string;
}

export function assembleBundle(parts: BundleParts, claims: BundleClaims, key: SigningKey): Assembled {
  const data = JSON.stringify(parts.data);
  const revision = createHash("sha256")
    .update(parts.wasm)
    .update(data)
    .update(JSON.stringify(parts.metadata))
    .digest("hex")
    .slice(0, 12);
  const files = new Map<string, Uint8Array>([
    ["data.json", Buffer.from(data)],
    ["policy.wasm", parts.wasm],
    [".manifest", Buffer.from(writeManifest({ revision, metadata: parts.metadata }))],
  ]);
  files.set(SIGNATURES, Buffer.from(signFiles(files, claims, key)));
  return { archive: writeArchive(files), revision };
}

/** A key pair for one process's life: whoever signs and verifies in the same run needs no other. */
export function makeRunKey(id = "run"): { readonly signing: SigningKey; readonly trusted: TrustedKey } {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return { signing: { id, privateKey }, trusted: { id, publicKey } };
}
