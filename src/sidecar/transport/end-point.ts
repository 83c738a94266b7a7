/**
 * What TLS says about a connection, for lanes that bind their authentication to it: SNI, ALPN, and `tls-server-end-point`, the
 * hash of the server's certificate (RFC 5929 section 4.1: the hash of its signature algorithm, MD5 and SHA-1 replaced by SHA-256).
 *
 * Errs towards null: without a known hash there is no binding, and a SCRAM-…-PLUS client then fails instead of binding to nothing.
 */
import { createHash, type X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { Tls } from "../seam/leg.ts";

export class Secured implements Tls {
  readonly sni: string | null;
  readonly alpn: string | null;
  readonly #certificate: () => X509Certificate | undefined;

  constructor(socket: TLSSocket, sni: string | null, certificate: () => X509Certificate | undefined) {
    this.sni = sni;
    this.alpn = typeof socket.alpnProtocol === "string" ? socket.alpnProtocol : null;
    this.#certificate = certificate;
  }

  /** Made when asked for: few lanes need it. Null also once the connection is gone. */
  get endPoint(): Uint8Array | null {
    const certificate = this.#certificate();
    return certificate === undefined ? null : endPointOf(certificate);
  }
}

export function endPointOf(certificate: X509Certificate): Uint8Array | null {
  const hash = hashOf(certificate.signatureAlgorithm ?? "");
  return hash === null ? null : createHash(hash).update(certificate.raw).digest();
}

function hashOf(signature: string): string | null {
  const name = /sha-?(1|224|256|384|512)(?![0-9])|md5/i.exec(signature);
  if (name === null) return null;
  const bits = name[1];
  return bits === undefined || bits === "1" ? "sha256" : `sha${bits}`;
}
