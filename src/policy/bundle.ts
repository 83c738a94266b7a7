/**
 * Opens a bundle: archive → verified files → manifest, data and module. Nothing of the archive is looked at before its signature
 * holds, apart from its file names.
 *
 * Errs towards refusal: every doubt is a BundleFault, and the caller keeps what it had.
 */
import { type Manifest, readManifest } from "./manifest.ts";
import type { BundleFault } from "./refusal.ts";
import { type BundleClaims, type TrustedKey, verifyFiles } from "./signature.ts";
import { ArchiveError, readArchive } from "./tar.ts";

/** What a bundle must be to be taken. */
export interface BundleTrust {
  readonly keys: readonly TrustedKey[];
  readonly scope: string;
}

/** The row that bundles of one scope rise in; kept over a restart. */
export interface InForce {
  readonly sequence: number;
  readonly revision: string;
}

export interface OpenBundle {
  readonly kind: "open";
  readonly claims: BundleClaims;
  readonly manifest: Manifest;
  readonly wasm: Uint8Array;
  /** `data.json`, parsed. */
  readonly data: Record<string, unknown>;
}

/** `inForce`: null where no bundle of this scope was ever taken. The same sequence with the same revision is the same bundle. */
export function openBundle(
  archive: Uint8Array,
  trust: BundleTrust,
  inForce: InForce | null,
  wallMs: number,
): OpenBundle | BundleFault {
  let files: Map<string, Uint8Array>;
  try {
    files = readArchive(archive);
  } catch (fault) {
    if (fault instanceof ArchiveError) return refuse("bundle_malformed", fault.message);
    throw fault;
  }
  const verified = verifyFiles(files, trust.keys);
  if (verified.kind === "refused") return verified;
  const { claims } = verified;
  if (claims.scope !== trust.scope)
    return refuse(
      "bundle_scope",
      `it is signed for ${JSON.stringify(claims.scope)}, not ${JSON.stringify(trust.scope)}`,
    );
  if (claims.notAfterMs !== null && wallMs > claims.notAfterMs)
    return refuse("bundle_expired", `it was to be used until ${new Date(claims.notAfterMs).toISOString()}`);

  const wasm = files.get("policy.wasm");
  const manifestText = files.get(".manifest");
  const dataText = files.get("data.json");
  if (wasm === undefined || manifestText === undefined || dataText === undefined)
    return refuse("bundle_malformed", "policy.wasm, data.json or .manifest is missing");
  let manifest: Manifest;
  let data: unknown;
  try {
    manifest = readManifest(Buffer.from(manifestText).toString("utf8"));
    data = JSON.parse(Buffer.from(dataText).toString("utf8"));
  } catch (fault) {
    return refuse("bundle_malformed", String(fault));
  }
  if (typeof data !== "object" || data === null || Array.isArray(data))
    return refuse("bundle_malformed", "data.json is no object");
  if (inForce !== null && !follows(claims.sequence, manifest.revision, inForce))
    return refuse("bundle_older", `sequence ${claims.sequence} does not follow ${inForce.sequence}`);
  return { kind: "open", claims, manifest, wasm, data: data as Record<string, unknown> };
}

function follows(sequence: number, revision: string, inForce: InForce): boolean {
  return sequence > inForce.sequence || (sequence === inForce.sequence && revision === inForce.revision);
}

function refuse(code: BundleFault["code"], message: string): BundleFault {
  return { kind: "refused", code, message };
}
