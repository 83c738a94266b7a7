/**
 * Whether a text names a host, as one rule for whoever reads names off the wire and whoever writes them into certificates: what
 * the first lets through, the second can write.
 *
 * Errs towards "no". Labels are RFC 1123's, with the underscore that real names have. A name whose last label is a number would
 * be read as an address by many clients (WHATWG URL, inet_aton), so it is a host only where it is a whole IPv4 address.
 */
import { parseAddress } from "./cidr.ts";

const MAX_LENGTH = 253;
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
const NUMBER = /^([0-9]+|0x[0-9a-f]*)$/;

/** Lower case, without a dot at the end. Literal IPv6 addresses are no host names (they have no labels). */
export function isHostName(text: string): boolean {
  if (text.length === 0 || text.length > MAX_LENGTH) return false;
  const labels = text.split(".");
  if (!labels.every((label) => LABEL.test(label))) return false;
  return !NUMBER.test(labels.at(-1) ?? "") || parseAddress(text) !== null;
}
