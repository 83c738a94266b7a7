/**
 * Where an upstream may live. A name's author decides what it resolves to, so an allowed public name may point anywhere: at
 * the node, at the cloud's metadata, into the cluster, at our own control plane (THREATS N10).
 *
 * Errs towards no: an address that cannot be read, or that a transition format wraps, is refused; nothing but an endpoint that
 * an admin wrote down, and only in `sidegate run`, is ever loopback.
 */
import { assertNever } from "#core/assert-never.ts";
import { type Address, type Cidr, contains, unmapped } from "#core/cidr.ts";
import { kindOf } from "#core/special-addresses.ts";

export interface AddressRules {
  /** Never reached, whoever asks: our control plane, the pod itself, the synthetic ranges. */
  readonly own: readonly Cidr[];
  /** Counts as private though it may look public: the cluster's Service and pod ranges. */
  readonly internal: readonly Cidr[];
  /** `sidegate run`: endpoints of a target may be loopback. */
  readonly allowLoopbackEndpoints: boolean;
}

/** How the address came to be dialled. dns: a name said so. literal: the target lists it. endpoint: the target says so itself. */
export type AddressSource = "dns" | "literal" | "endpoint";

/** Null: it may be dialled. Else what it is ("loopback", "metadata", "private", …), for the log and the record. */
export function refusedAddress(
  address: Address,
  source: AddressSource,
  isPrivate: boolean,
  rules: AddressRules,
): string | null {
  const plain = unmapped(address);
  const inner = wrapped(plain);
  if (inAny(rules.own, plain) || inAny(rules.own, inner)) return "our own";
  const place = kindOf(plain);
  switch (place.kind) {
    case "forbidden":
      if (place.what !== "loopback" || source !== "endpoint" || inner !== plain) return place.what;
      return rules.allowLoopbackEndpoints ? null : place.what;
    case "private":
      return source === "dns" && !isPrivate ? place.what : null;
    case "public":
      if (!inAny(rules.internal, plain) && !inAny(rules.internal, inner)) return null;
      return source === "dns" && !isPrivate ? "cluster-internal" : null;
    default:
      return assertNever(place);
  }
}

/** The IPv4 address in a NAT64 one: what `own` and `internal` list in IPv4 must not be reached around the corner. */
function wrapped(address: Address): Address {
  return address.family === 6 && address.bytes[0] === 0 && address.bytes[1] === 0x64
    ? { family: 4, bytes: address.bytes.slice(12) }
    : address;
}

function inAny(ranges: readonly Cidr[], address: Address): boolean {
  for (const range of ranges) if (contains(range, address)) return true;
  return false;
}
