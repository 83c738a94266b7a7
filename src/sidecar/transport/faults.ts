/**
 * What went wrong, from the codes of Node, libuv and OpenSSL to the words of the seam. Errs towards `reset`, which promises
 * nothing about the cause.
 */
import type { LegFault } from "../seam/leg.ts";

const BY_CODE: Readonly<Record<string, LegFault>> = {
  ECONNREFUSED: "refused",
  ETIMEDOUT: "timeout",
  EHOSTUNREACH: "unreachable",
  EHOSTDOWN: "unreachable",
  ENETUNREACH: "unreachable",
  ENETDOWN: "unreachable",
  EADDRNOTAVAIL: "unreachable",
  EAFNOSUPPORT: "unreachable",
  EACCES: "unreachable",
  EPERM: "unreachable",
  EINVAL: "unreachable",
};

/** Faults of a plain connection: connecting, reading, writing. */
export function socketFault(error: unknown): LegFault {
  return BY_CODE[codeOf(error)] ?? "reset";
}

/** Codes that mean the connection broke, whatever TLS was doing on it. */
const BROKEN = new Set(["ECONNRESET", "EPIPE", "ECANCELED", "ECONNABORTED", "ERR_STREAM_PREMATURE_CLOSE", "ENOTCONN"]);

/** A handshake with the upstream: its certificate does not chain, or names another, or it speaks no TLS that we accept. */
export function upstreamTlsFault(error: unknown): LegFault {
  const code = codeOf(error);
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return "tls-name";
  if (BROKEN.has(code)) return "reset";
  return BY_CODE[code] ?? "tls-bad-upstream";
}

// TLS alerts (RFC 8446 section 6.2) with which a client refuses our certificate: OpenSSL, Go, GnuTLS, Java and browsers differ.
const DISTRUST = /ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_UNKNOWN|UNSUPPORTED_CERTIFICATE|CERTIFICATE_REVOKED)$/;

/** A handshake with the agent, or its TLS later on. */
export function agentTlsFault(error: unknown): "tls-untrusted-by-agent" | "reset" {
  return DISTRUST.test(codeOf(error)) ? "tls-untrusted-by-agent" : "reset";
}

/** OpenSSL read something else than a TLS record: bytes that the peer sent before it could know that TLS starts. */
const NOT_TLS =
  /^ERR_SSL_(WRONG_VERSION_NUMBER|HTTP_REQUEST|HTTPS_PROXY_REQUEST|UNEXPECTED_MESSAGE|PACKET_LENGTH_TOO_LONG)$/;

export function isPlaintext(error: unknown): boolean {
  return NOT_TLS.test(codeOf(error));
}

function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}
