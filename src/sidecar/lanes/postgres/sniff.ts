/**
 * Decides whether a client's first bytes are PostgreSQL's: the packets without a type byte that open a connection.
 *
 *   Int32 length | Int32 code: 3.x (StartupMessage), or 1234.5678, .5679, .5680 (CancelRequest, SSLRequest, GSSENCRequest)
 *
 * Errs towards "no": protocol 2.0 and lengths that the server itself would refuse are not claimed.
 */
import type { Sniff } from "#sidecar/seam/lane.ts";
import {
  CANCEL_REQUEST_CODE,
  GSSENC_REQUEST_CODE,
  MAX_KEY_BYTES,
  MAX_STARTUP_BYTES,
  SSL_REQUEST_CODE,
} from "./codec/startup.ts";

export function sniffPostgres(head: Uint8Array): Sniff {
  const at = (i: number): number => head[i] ?? 0;
  // The length is below 64 KiB, so its first two bytes are zero: tells most other protocols at once.
  for (let i = 0; i < Math.min(head.length, 2); i++) if (head[i] !== 0) return { kind: "no" };
  if (head.length < 8) return { kind: "more", atLeast: 8 };
  const length = (at(2) << 8) | at(3);
  const code = ((at(4) << 24) | (at(5) << 16) | (at(6) << 8) | at(7)) >>> 0;
  switch (code) {
    case SSL_REQUEST_CODE:
    case GSSENC_REQUEST_CODE:
      return { kind: length === 8 ? "match" : "no" };
    case CANCEL_REQUEST_CODE:
      return { kind: length >= 16 && length <= 12 + MAX_KEY_BYTES ? "match" : "no" };
    default:
      return { kind: code >>> 16 === 3 && length > 8 && length <= MAX_STARTUP_BYTES ? "match" : "no" };
  }
}
