/**
 * What the certificates' Secret must hold at a time: made, renewed, replaced. Pure: (what is there, now) → what should be there.
 *
 * An authority is replaced in steps, so that nobody is ever shown what they do not trust yet: first its successor is published
 * beside it, then, when that has reached everybody who asks us, the successor signs the leaf, and the old one stays in the bundle
 * until it ends.
 */
import { randomBytes, X509Certificate } from "node:crypto";
import { crossSign, mintAuthority, mintLeaf, type Signer } from "./mint.ts";

/** The Secret's members, as texts. Absent ones are "". */
export interface CertificateData {
  /** What to trust: PEM, one or two authorities. */
  readonly "ca.crt": string;
  readonly "ca.key": string;
  /** Leaf first, then the cross certificate where there is one. */
  readonly "tls.crt": string;
  readonly "tls.key": string;
  /** The successor while it is only published. */
  readonly "next.crt": string;
  readonly "next.key": string;
}

export interface CertificateWishes {
  readonly names: readonly string[];
  readonly nowMs: number;
  /** An administrator asks for it now. */
  readonly rotate: "" | "leaf" | "ca";
  /** How long a successor is published before it signs. */
  readonly settleMs: number;
}

const DAY = 86_400_000;
const AUTHORITY_MS = 3_650 * DAY;
const LEAF_MS = 90 * DAY;
const RENEW_LEAF_MS = 30 * DAY;
const RENEW_AUTHORITY_MS = 730 * DAY;
/** Clocks of other machines may be behind. */
const EARLIER_MS = 300_000;

/** The same object where nothing is due. `data`: null where there is no Secret, or it is empty. */
export function certificatesDue(data: CertificateData | null, wishes: CertificateWishes): CertificateData {
  if (data === null || !usable(data)) return begin(wishes);
  const { nowMs, rotate, settleMs } = wishes;
  const authority = new X509Certificate(data["ca.crt"]);
  if (data["next.crt"] !== "") {
    const published = new X509Certificate(data["next.crt"]).validFromDate.getTime() + EARLIER_MS;
    if (nowMs - published >= settleMs) return succeed(data, wishes);
  } else if (rotate === "ca" || authority.validToDate.getTime() - nowMs < RENEW_AUTHORITY_MS)
    return publish(data, wishes);
  const leaf = new X509Certificate(data["tls.crt"]);
  const named = wishes.names.every((name) => leaf.checkHost(name) !== undefined);
  if (rotate === "leaf" || !named || leaf.validToDate.getTime() - nowMs < RENEW_LEAF_MS) return renew(data, wishes);
  return data;
}

/** Whether key and certificate belong together and the authority signed: a Secret that somebody spoilt is made anew. */
function usable(data: CertificateData): boolean {
  try {
    const [authority = ""] = split(data["ca.crt"]);
    return new X509Certificate(data["tls.crt"]).verify(new X509Certificate(authority).publicKey);
  } catch {
    return false;
  }
}

function begin({ names, nowMs }: CertificateWishes): CertificateData {
  const authority = newAuthority(nowMs);
  const leaf = mintLeaf(names, leafValidity(nowMs), authority);
  return {
    "ca.crt": authority.cert,
    "ca.key": authority.key,
    "tls.crt": leaf.cert,
    "tls.key": leaf.key,
    "next.crt": "",
    "next.key": "",
  };
}

function renew(data: CertificateData, { names, nowMs }: CertificateWishes): CertificateData {
  const [authority = ""] = split(data["ca.crt"]);
  const leaf = mintLeaf(names, leafValidity(nowMs), { cert: authority, key: data["ca.key"] });
  const chain = split(data["tls.crt"]).slice(1);
  return { ...data, "tls.crt": [leaf.cert, ...chain].join(""), "tls.key": leaf.key };
}

function publish(data: CertificateData, { nowMs }: CertificateWishes): CertificateData {
  const [authority = ""] = split(data["ca.crt"]);
  const next = newAuthority(nowMs);
  return { ...data, "ca.crt": authority + next.cert, "next.crt": next.cert, "next.key": next.key };
}

function succeed(data: CertificateData, { names, nowMs }: CertificateWishes): CertificateData {
  const [old = ""] = split(data["ca.crt"]);
  const next: Signer = { cert: data["next.crt"], key: data["next.key"] };
  const leaf = mintLeaf(names, leafValidity(nowMs), next);
  const cross = crossSign(next.cert, { cert: old, key: data["ca.key"] });
  return {
    "ca.crt": next.cert + old,
    "ca.key": next.key,
    "tls.crt": leaf.cert + cross,
    "tls.key": leaf.key,
    "next.crt": "",
    "next.key": "",
  };
}

function newAuthority(nowMs: number): Signer {
  // Two authorities of one name would be taken for each other.
  return mintAuthority(`sidegate ${randomBytes(8).toString("hex")}`, {
    fromMs: nowMs - EARLIER_MS,
    untilMs: nowMs + AUTHORITY_MS,
  });
}

function leafValidity(nowMs: number): { fromMs: number; untilMs: number } {
  return { fromMs: nowMs - EARLIER_MS, untilMs: nowMs + LEAF_MS };
}

function split(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\r?\n?/g) ?? [];
}
