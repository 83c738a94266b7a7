/**
 * What kind of place an address is, by the IANA special-purpose registries (IPv4: RFC 6890, IPv6: RFC 6890 and later entries)
 * and by what cloud providers serve from odd places. Two rooms ask: where may an agent dial, and where may a name lead.
 *
 * Errs towards `forbidden`: an IPv6 address outside the one block that IANA hands out, and every transition format whose inner
 * address could mean something else to the next router, is refused rather than understood.
 */
import { type Address, type Cidr, contains, parseCidr } from "./cidr.ts";

export type AddressKind =
  | { readonly kind: "public" }
  /** Reachable only where somebody says so: RFC 1918, ULA, shared space, documentation, benchmarks. */
  | { readonly kind: "private"; readonly what: string }
  /** Never reachable through the gateway. `loopback` alone has one exception (endpoints in `sidegate run`). */
  | { readonly kind: "forbidden"; readonly what: string };

interface Row {
  readonly range: Cidr;
  readonly kind: AddressKind;
}

function rows(kind: "private" | "forbidden", list: Readonly<Record<string, string>>): Row[] {
  return Object.entries(list).map(([text, what]) => {
    const range = parseCidr(text);
    if (range === null) throw new Error(`not a range: ${text}`);
    return { range, kind: { kind, what } };
  });
}

/** Instance metadata and the like. Exact addresses inside ranges that are otherwise only private come first. */
const METADATA = rows("forbidden", {
  "169.254.169.254": "metadata",
  "169.254.170.2": "metadata", // ECS task credentials
  "169.254.170.23": "metadata", // EKS pod identity
  "168.63.129.16": "metadata", // Azure's wire server; a public address
  "100.100.100.200": "metadata", // Alibaba; in shared space
  "192.0.0.192": "metadata", // Oracle
  "fd00:ec2::/32": "metadata", // AWS: 254 metadata, 23 pod identity, 253 DNS, 123 time
  "fd20:ce::254": "metadata", // Google
  "fd00:c1::a9fe:a9fe": "metadata", // Oracle
  "fd00:42::42": "metadata", // Scaleway
  "fe80::a9fe:a9fe": "metadata", // OpenStack
});

const FORBIDDEN = rows("forbidden", {
  "0.0.0.0/8": "unspecified",
  "127.0.0.0/8": "loopback",
  "169.254.0.0/16": "link-local",
  "192.0.0.0/24": "protocol assignments",
  "192.88.99.0/24": "6to4 relay",
  "224.0.0.0/4": "multicast",
  "240.0.0.0/4": "reserved",
  "::/128": "unspecified",
  "::1/128": "loopback",
  "::/96": "IPv4-compatible",
  "::ffff:0:0:0/96": "IPv4-translated",
  "64:ff9b:1::/48": "local NAT64",
  "100::/64": "discard-only",
  "100:0:0:1::/64": "dummy prefix",
  "2001::/32": "Teredo",
  "2001::/23": "protocol assignments",
  "2002::/16": "6to4",
  "5f00::/16": "segment routing",
  "fe80::/10": "link-local",
  "fec0::/10": "site-local",
  "ff00::/8": "multicast",
});

const PRIVATE = rows("private", {
  "10.0.0.0/8": "private",
  "172.16.0.0/12": "private",
  "192.168.0.0/16": "private",
  "100.64.0.0/10": "shared (CGNAT)",
  "198.18.0.0/15": "benchmarking",
  "192.0.2.0/24": "documentation",
  "198.51.100.0/24": "documentation",
  "203.0.113.0/24": "documentation",
  "fc00::/7": "unique local",
  "2001:db8::/32": "documentation",
  "3fff::/20": "documentation",
});

const ROWS: readonly Row[] = [...METADATA, ...FORBIDDEN, ...PRIVATE];
const V4 = ROWS.filter((row) => row.range.family === 4);
const V6 = ROWS.filter((row) => row.range.family === 6);

/** RFC 6052's well-known prefix: a DNS64 answers with it, so it is what the IPv4 address inside is. */
const NAT64 = parseCidr("64:ff9b::/96");
/** The only block from which IANA gives out global unicast addresses (RFC 4291 section 2.4). */
const GLOBAL = parseCidr("2000::/3");

const PUBLIC: AddressKind = { kind: "public" };
const UNASSIGNED: AddressKind = { kind: "forbidden", what: "unassigned" };

const ISATAP: AddressKind = { kind: "forbidden", what: "ISATAP" };

/** `address` must be unmapped (core/cidr.ts): `::ffff:0:0/96` counts as unassigned here. */
export function kindOf(address: Address): AddressKind {
  if (isIsatap(address)) return ISATAP;
  for (const row of address.family === 4 ? V4 : V6) if (contains(row.range, address)) return row.kind;
  if (address.family === 4) return PUBLIC;
  if (NAT64 !== null && contains(NAT64, address)) return kindOf({ family: 4, bytes: address.bytes.slice(12) });
  return GLOBAL !== null && contains(GLOBAL, address) ? PUBLIC : UNASSIGNED;
}

/** RFC 5214: an interface identifier of 0000:5efe or 0200:5efe hides an IPv4 address. */
function isIsatap({ family, bytes }: Address): boolean {
  if (family !== 6 || bytes[9] !== 0 || bytes[10] !== 0x5e || bytes[11] !== 0xfe) return false;
  return bytes[8] === 0 || bytes[8] === 2;
}
