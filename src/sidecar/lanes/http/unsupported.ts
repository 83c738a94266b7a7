/** Requests that are well-formed and not carried, whatever a policy says. */
import type { RequestHead } from "./codec/request-head.ts";

/** Null: carried. `closing`: what follows on the connection may be no HTTP. */
export function unsupported(head: RequestHead): { readonly why: string; readonly closing: boolean } | null {
  if (head.method === "CONNECT") return { why: "CONNECT", closing: true };
  // It answers with what it got, also with what is put in on the way.
  if (head.method === "TRACE") return { why: "TRACE", closing: false };
  const { upgrade } = head.block;
  // A server may ignore an offer of h2c (RFC 9110 section 7.8), and clients that make it go on in HTTP/1.1: the field is cut.
  if (upgrade !== null && upgrade.toLowerCase() !== "h2c") return { why: "Upgrade", closing: true };
  return null;
}
