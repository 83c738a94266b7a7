/**
 * The last good bundle of a set, as a Secret of our own namespace: what was compiled, unsigned, so that each replica serves it and a
 * restart of all of them loses nothing. Whoever may write such a Secret could as well write the key that signs.
 */
import { gunzipSync, gzipSync } from "node:zlib";
import { CONTROL_OBJECT } from "#contract/control-environment.ts";
import type { SecretObject } from "#kube/certificate-keeper.ts";
import type { BundleParts } from "#policy/assemble.ts";

export interface StoredBundle {
  readonly id: string;
  /** Hash of the sources. */
  readonly content: string;
  readonly parts: BundleParts;
}

const CONTENT = "sidegate.dev/content";
const POLICIES = "sidegate.dev/policies";
/** A Secret's data may have 1 MiB; base64 is not counted. */
const MAX_BYTES = 1_000_000;
const MAX_UNPACKED = 64 * 1024 * 1024;

/** Null: too large for a Secret. `policies`: for people who look at it. */
export function writeStored(bundle: StoredBundle, namespace: string, policies: readonly string[]): SecretObject | null {
  const { id, content, parts } = bundle;
  const wasm = gzipSync(parts.wasm, { level: 9 });
  const rest = gzipSync(JSON.stringify({ metadata: parts.metadata, data: parts.data }));
  if (wasm.length + rest.length > MAX_BYTES) return null;
  return {
    metadata: {
      namespace,
      name: `${CONTROL_OBJECT.bundlePrefix}${id}`,
      labels: { [CONTROL_OBJECT.bundleLabel]: id },
      annotations: { [CONTENT]: content, [POLICIES]: policies.join(",").slice(0, 10_000) },
    },
    type: "sidegate.dev/bundle",
    data: { wasm: wasm.toString("base64"), rest: rest.toString("base64") },
  };
}

/** Null where it is none of ours, or cannot be read. */
export function readStored(secret: SecretObject): StoredBundle | null {
  const id = secret.metadata.labels?.[CONTROL_OBJECT.bundleLabel];
  const content = secret.metadata.annotations?.[CONTENT];
  const { wasm, rest } = secret.data ?? {};
  if (id === undefined || content === undefined || wasm === undefined || rest === undefined) return null;
  try {
    const open = (text: string): Buffer => gunzipSync(Buffer.from(text, "base64"), { maxOutputLength: MAX_UNPACKED });
    const { metadata, data } = JSON.parse(open(rest).toString("utf8")) as Pick<BundleParts, "metadata" | "data">;
    return { id, content, parts: { wasm: open(wasm), metadata, data } };
  } catch {
    return null;
  }
}
