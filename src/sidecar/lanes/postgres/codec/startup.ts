/**
 * The messages without a type byte, which open a connection: SSLRequest, GSSENCRequest, CancelRequest, StartupMessage.
 *
 * Int32 length (counting itself), Int32 code, body (manual: Message Formats). Everything here is latin1 text of the whole packet.
 */
import { int32, message, readInt32 } from "./text.ts";

/** PostgreSQL's MAX_STARTUP_PACKET_LENGTH. */
export const MAX_STARTUP_BYTES = 10_000;

export const SSL_REQUEST_CODE = 80_877_103; // 1234.5679
export const GSSENC_REQUEST_CODE = 80_877_104; // 1234.5680
export const CANCEL_REQUEST_CODE = 80_877_102; // 1234.5678

export const SSL_REQUEST = int32(8) + int32(SSL_REQUEST_CODE);

/** The longest secret key of a CancelRequest (protocol 3.2). */
export const MAX_KEY_BYTES = 256;

export interface Startup {
  /** Minor version that the client asks for; the major one is 3. */
  readonly minor: number;
  /** In the order sent, names as they are; UTF-8 bytes as latin1. */
  readonly parameters: readonly (readonly [string, string])[];
}

export type Opening =
  | { readonly kind: "ssl" }
  | { readonly kind: "gssenc" }
  | { readonly kind: "cancel"; readonly pid: number; readonly key: string }
  | { readonly kind: "startup"; readonly startup: Startup }
  | { readonly kind: "version"; readonly major: number; readonly minor: number }
  | { readonly kind: "malformed" };

const MALFORMED: Opening = { kind: "malformed" };

/** `packet`: whole, its length as it says. */
export function readOpening(packet: string): Opening {
  if (packet.length < 8) return MALFORMED;
  const code = readInt32(packet, 4);
  switch (code) {
    case SSL_REQUEST_CODE:
      return packet.length === 8 ? { kind: "ssl" } : MALFORMED;
    case GSSENC_REQUEST_CODE:
      return packet.length === 8 ? { kind: "gssenc" } : MALFORMED;
    case CANCEL_REQUEST_CODE:
      return packet.length < 16 || packet.length > 12 + MAX_KEY_BYTES
        ? MALFORMED
        : { kind: "cancel", pid: readInt32(packet, 8), key: packet.slice(12) };
    default: {
      const major = code >>> 16;
      const minor = code & 0xffff;
      if (major !== 3) return { kind: "version", major, minor };
      const parameters = readParameters(packet);
      return parameters === null ? MALFORMED : { kind: "startup", startup: { minor, parameters } };
    }
  }
}

// String name, String value, …, Byte1 0
function readParameters(packet: string): (readonly [string, string])[] | null {
  const parameters: (readonly [string, string])[] = [];
  let at = 8;
  for (;;) {
    const nameEnd = packet.indexOf("\0", at);
    if (nameEnd < 0) return null;
    if (nameEnd === at) break;
    const valueEnd = packet.indexOf("\0", nameEnd + 1);
    if (valueEnd < 0) return null;
    parameters.push([packet.slice(at, nameEnd), packet.slice(nameEnd + 1, valueEnd)]);
    at = valueEnd + 1;
  }
  // The server demands that the terminator is the packet's last byte.
  return at === packet.length - 1 ? parameters : null;
}

export function startupText({ minor, parameters }: Startup): string {
  let body = int32((3 << 16) | minor);
  for (const [name, value] of parameters) body += `${name}\0${value}\0`;
  return `${int32(body.length + 5)}${body}\0`;
}

export function cancelText(pid: number, key: string): string {
  return int32(12 + key.length) + int32(CANCEL_REQUEST_CODE) + int32(pid) + key;
}

/** NegotiateProtocolVersion: the newest minor version spoken here, and the options that are not known. */
export function negotiateText(minor: number, unknown: readonly string[]): string {
  // The manual: "Newest minor protocol version"; servers send the whole version number since 3.2.
  return message("v", int32((3 << 16) | minor) + int32(unknown.length) + unknown.map((name) => `${name}\0`).join(""));
}
