/**
 * Writes what agents need to trust the pod's authority: the bundle (the system's roots and ours), our certificate alone, and a
 * Java key store. Which client reads which file is contract/trust-environment.ts.
 *
 * Each file is replaced at once, so a client that starts meanwhile never reads half of one. Fails by rejecting: an agent that
 * trusts nothing of ours cannot do anything, so the sidecar must not become ready.
 */
import { readFile, stat } from "node:fs/promises";
import { getCACertificates } from "node:tls";
import { STORE_PASSWORD, type TrustPaths } from "#contract/trust-environment.ts";
import { replaceFile } from "#process/replace-file.ts";
import { pem } from "./certificate.ts";
import { javaStore } from "./java-store.ts";
import { certificatesIn } from "./pem.ts";

/** Where distributions keep their roots: Debian and Alpine, Fedora and RHEL, SUSE, BSD and macOS. */
const SYSTEM_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

export interface Roots {
  readonly pem: string;
  /** For the log: a path, or "node" for the roots that Node brings. */
  readonly from: string;
}

/** `first`: tried before the system's places (what the agent's own environment names). */
export async function systemRoots(first: readonly string[] = []): Promise<Roots> {
  for (const file of [...first, ...SYSTEM_BUNDLES]) {
    const text = await readFile(file, "utf8").catch(() => "");
    if (text.includes("-----BEGIN CERTIFICATE-----")) return { pem: text, from: file };
  }
  return { pem: getCACertificates("bundled").join("\n"), from: "node" };
}

/** No bundle of certificates is larger. */
const MAX_ROOTS_BYTES = 8 * 1024 * 1024;

export interface ExtraRoots {
  readonly pem: readonly string[];
  /** Files that could not be read, or hold no certificate: their clients lose them. To be told. */
  readonly missing: readonly string[];
}

/** What the author's own variables name (`TrustEnvironment.merge`): into the bundle with it, or these clients lose it. */
export async function readRoots(files: readonly string[]): Promise<ExtraRoots> {
  const pem: string[] = [];
  const missing: string[] = [];
  for (const file of new Set(files)) {
    const size = await stat(file).then(
      (found) => (found.isFile() ? found.size : Infinity),
      () => Infinity,
    );
    const text = size <= MAX_ROOTS_BYTES ? await readFile(file, "utf8").catch(() => "") : "";
    if (text.includes("-----BEGIN CERTIFICATE-----")) pem.push(text);
    else missing.push(file);
  }
  return { pem, missing };
}

export interface TrustSources {
  /** Our authority, PEM. */
  readonly caPem: string;
  /** PEM texts: the system's roots, and what the author's own variables name. */
  readonly roots: readonly string[];
  readonly nowMs: number;
}

/** Resolves to the number of certificates in the bundle. The folders of `paths` must exist. */
export async function writeTrustFiles(paths: TrustPaths, sources: TrustSources): Promise<number> {
  const ours = certificatesIn(sources.caPem);
  const all = certificatesIn(sources.caPem, ...sources.roots); // ours first: short of the whole list for whoever looks
  const store = all.map((der, i) => ({ alias: i < ours.length ? `sidegate-${i}` : `root-${i}`, der }));
  await replaceFile(paths.authority, ours.map(pem).join(""), 0o644);
  await replaceFile(paths.bundle, all.map(pem).join(""), 0o644);
  await replaceFile(paths.store, javaStore(store, sources.nowMs, STORE_PASSWORD), 0o644);
  return all.length;
}
