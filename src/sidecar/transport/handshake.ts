/**
 * TLS on a connection that exists: as server towards the agent, as client towards an upstream. Each ends in exactly one call
 * of `then`, also when the peer says nothing.
 *
 * Fails closed: the upstream's certificate is always verified (no switch, and no variable of the environment, turns it off),
 * nothing below TLS 1.2 is spoken, and whatever is not understood ends the connection.
 */
import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { isIP } from "node:net";
import { checkServerIdentity, connect, type SecureContext, TLSSocket } from "node:tls";
import type { Wheel } from "#core/wheel.ts";
import type { LegFault } from "../seam/leg.ts";
import { Secured } from "./end-point.ts";
import { agentTlsFault, isPlaintext, socketFault, upstreamTlsFault } from "./faults.ts";
import type { SecuredSocket } from "./wire.ts";

export type AgentTlsFault = "tls-untrusted-by-agent" | "reset" | "timeout";
/** As `AgentTlsFault`, where TLS starts in-band. */
export type InBandFault = AgentTlsFault | "plaintext-before-tls";

/** The handshake's end: the socket that carries plaintext, or why there is none. On a fault the raw socket is the caller's to end. */
export type Shaken<F> =
  | { readonly kind: "secured"; readonly secured: SecuredSocket }
  | { readonly kind: "fault"; readonly fault: F };

export interface Answering {
  readonly context: SecureContext;
  readonly alpn: readonly string[];
  /** Plaintext went before: what is no TLS now was sent by someone who did not wait for our word. */
  readonly inBand: boolean;
  readonly wheel: Wheel;
  readonly timeoutMs: number;
}

/** Answers the agent's handshake. `raw` is paused; what was read of it before stands in its read buffer. */
export function answer(raw: Socket, how: Answering, then: (shaken: Shaken<InBandFault>) => void): void {
  const socket = new TLSSocket(raw, {
    isServer: true,
    secureContext: how.context,
    ...(how.alpn.length > 0 ? { ALPNProtocols: [...how.alpn] } : {}),
  });
  // Each renegotiation (TLS 1.2) costs the server a signature; no client of ours needs one.
  socket.disableRenegotiation();
  const done = once(then, how, { kind: "fault", fault: "timeout" });
  const broken = (error: unknown): void =>
    done({ kind: "fault", fault: how.inBand && isPlaintext(error) ? "plaintext-before-tls" : agentTlsFault(error) });
  socket.on("secure", () => {
    const sni = (socket as { readonly servername?: unknown }).servername;
    const name = typeof sni === "string" && sni !== "" ? sni : null;
    const tls = new Secured(socket, name, () => socket.getX509Certificate());
    done({ kind: "secured", secured: { socket, tls, fault: agentTlsFault } });
  });
  socket.on("_tlsError", broken);
  socket.on("error", broken);
  // A client that closes after it has seen our certificate, and before it finishes, did not like it: Node's says no more than this.
  socket.on("end", () => done({ kind: "fault", fault: "tls-untrusted-by-agent" }));
  socket.on("close", () => done({ kind: "fault", fault: "reset" }));
}

/** A session, and the certificate that was verified when it began: a resumed handshake does not show it again. */
export interface Resumable {
  readonly session: Buffer;
  readonly certificate: X509Certificate | undefined;
}

export interface Verifying {
  readonly context: SecureContext;
  /** A DNS name, or an address literal: then without SNI, and the certificate must list the address. */
  readonly serverName: string;
  readonly alpn: readonly string[];
  /** From an earlier connection to the same server under the same roots. */
  readonly resume: Resumable | undefined;
  readonly keep: (resumable: Resumable) => void;
  readonly wheel: Wheel;
  readonly timeoutMs: number;
}

/** Shakes hands with an upstream. `raw` is connected and paused. */
export function verify(raw: Socket, how: Verifying, then: (shaken: Shaken<LegFault>) => void): void {
  const { serverName } = how;
  const done = once(then, how, { kind: "fault", fault: "timeout" });
  const socket = connect({
    socket: raw,
    secureContext: how.context,
    rejectUnauthorized: true,
    // The name is ours and not Node's choice among host, servername and "localhost".
    checkServerIdentity: (_host, certificate) => checkServerIdentity(serverName, certificate),
    ...(isIP(serverName) === 0 ? { servername: serverName } : { host: serverName }),
    ...(how.alpn.length > 0 ? { ALPNProtocols: [...how.alpn] } : {}),
    ...(how.resume === undefined ? {} : { session: how.resume.session }),
  });
  let certificate: X509Certificate | undefined;
  // Node tells of sessions only after the certificate was verified.
  socket.on("session", (session) => how.keep({ session, certificate }));
  socket.on("secureConnect", () => {
    if (!socket.authorized) return done({ kind: "fault", fault: "tls-bad-upstream" });
    certificate = socket.isSessionReused() ? how.resume?.certificate : socket.getPeerX509Certificate();
    const tls = new Secured(socket, serverName, () => certificate);
    done({ kind: "secured", secured: { socket, tls, fault: socketFault } });
  });
  socket.on("error", (error) => done({ kind: "fault", fault: upstreamTlsFault(error) }));
  socket.on("close", () => done({ kind: "fault", fault: "reset" }));
  raw.on("error", (error) => done({ kind: "fault", fault: socketFault(error) }));
}

function once<F>(
  then: (shaken: Shaken<F>) => void,
  { wheel, timeoutMs }: { readonly wheel: Wheel; readonly timeoutMs: number },
  late: Shaken<F>,
): (shaken: Shaken<F>) => void {
  let over = false;
  const done = (shaken: Shaken<F>): void => {
    if (over) return;
    over = true;
    alarm.cancel();
    then(shaken);
  };
  const alarm = wheel.after(timeoutMs, () => done(late));
  return done;
}
