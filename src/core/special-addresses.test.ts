import { describe, expect, test } from "vitest";
import { formatAddress, parseAddress, parseCidr, unmapped } from "./cidr.ts";
import { kindOf } from "./special-addresses.ts";

const kind = (text: string): string => kindOf(unmapped(parseAddress(text)!)).kind;

/** The first and the last address of a range. */
function ends(text: string): [string, string] {
  const range = parseCidr(text)!;
  const last = range.bytes.slice();
  for (let i = range.prefix; i < last.length * 8; i++) last[i >> 3] = last[i >> 3]! | (0x80 >> (i & 7));
  return [formatAddress(range), formatAddress({ family: range.family, bytes: last })];
}

// Every row of the IANA IPv4 and IPv6 Special-Purpose Address Registries, multicast, and what clouds serve from odd places.
describe("THREATS N10: every special range is known", () => {
  test.each([
    // IPv4 registry
    ["0.0.0.0/8", "forbidden"],
    ["0.0.0.0/32", "forbidden"],
    ["10.0.0.0/8", "private"],
    ["100.64.0.0/10", "private"],
    ["127.0.0.0/8", "forbidden"],
    ["169.254.0.0/16", "forbidden"],
    ["172.16.0.0/12", "private"],
    ["192.0.0.0/24", "forbidden"],
    ["192.0.0.0/29", "forbidden"],
    ["192.0.0.8/32", "forbidden"],
    ["192.0.0.9/32", "forbidden"],
    ["192.0.0.10/32", "forbidden"],
    ["192.0.0.170/32", "forbidden"],
    ["192.0.0.171/32", "forbidden"],
    ["192.0.2.0/24", "private"],
    ["192.31.196.0/24", "public"],
    ["192.52.193.0/24", "public"],
    ["192.88.99.0/24", "forbidden"],
    ["192.168.0.0/16", "private"],
    ["192.175.48.0/24", "public"],
    ["198.18.0.0/15", "private"],
    ["198.51.100.0/24", "private"],
    ["203.0.113.0/24", "private"],
    ["240.0.0.0/4", "forbidden"],
    ["255.255.255.255/32", "forbidden"],
    ["224.0.0.0/4", "forbidden"],
    // IPv6 registry
    ["::1/128", "forbidden"],
    ["::/128", "forbidden"],
    ["64:ff9b:1::/48", "forbidden"],
    ["100::/64", "forbidden"],
    ["100:0:0:1::/64", "forbidden"],
    ["2001::/23", "forbidden"],
    ["2001::/32", "forbidden"],
    ["2001:1::1/128", "forbidden"],
    ["2001:1::2/128", "forbidden"],
    ["2001:1::3/128", "forbidden"],
    ["2001:2::/48", "forbidden"],
    ["2001:3::/32", "forbidden"],
    ["2001:4:112::/48", "forbidden"],
    ["2001:10::/28", "forbidden"],
    ["2001:20::/28", "forbidden"],
    ["2001:30::/28", "forbidden"],
    ["2001:db8::/32", "private"],
    ["2002::/16", "forbidden"],
    ["2620:4f:8000::/48", "public"],
    ["3fff::/20", "private"],
    ["5f00::/16", "forbidden"],
    ["fc00::/7", "private"],
    ["fe80::/10", "forbidden"],
    ["fec0::/10", "forbidden"],
    ["ff00::/8", "forbidden"],
    // transition formats
    ["::/96", "forbidden"],
    ["::ffff:0:0:0/96", "forbidden"],
    // not handed out by IANA
    ["200::/7", "forbidden"],
    ["4000::/3", "forbidden"],
    ["e000::/4", "forbidden"],
  ])("%s is %s from its first to its last address", (range, expected) => {
    for (const address of ends(range)) expect(kind(address), address).toBe(expected);
  });

  test.each([
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "fe80::a9fe:a9fe",
  ])("%s serves metadata, and is forbidden where its range is only private", (address) => {
    expect(kindOf(parseAddress(address)!)).toEqual({ kind: "forbidden", what: "metadata" });
  });

  test.each([
    ["::ffff:127.0.0.1", "forbidden"],
    ["::ffff:10.0.0.1", "private"],
    ["::ffff:8.8.8.8", "public"],
    ["64:ff9b::127.0.0.1", "forbidden"],
    ["64:ff9b::169.254.169.254", "forbidden"],
    ["64:ff9b::168.63.129.16", "forbidden"],
    ["64:ff9b::10.0.0.1", "private"],
    ["64:ff9b::100.64.0.1", "private"],
    ["64:ff9b::8.8.8.8", "public"],
    ["2002:a00:1::", "forbidden"],
    ["2001:0:4136:e378:8000:63bf:3fff:fdd2", "forbidden"],
    ["2606:4700::5efe:10.0.0.1", "forbidden"],
    ["2606:4700::200:5efe:7f00:1", "forbidden"],
    ["fd12::5efe:127.0.0.1", "forbidden"],
  ])("%s, which wraps an IPv4 address, is %s", (address, expected) => expect(kind(address)).toBe(expected));

  test.each(["1.1.1.1", "8.8.8.8", "93.184.216.34", "223.255.255.255", "172.32.0.0", "100.128.0.0", "2606:4700::1111"])(
    "%s is public",
    (address) => expect(kind(address)).toBe("public"),
  );
});
