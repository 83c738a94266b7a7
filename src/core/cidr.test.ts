import { isIPv4, isIPv6 } from "node:net";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  contains,
  formatAddress,
  formatCidr,
  parseAddress,
  parseCidr,
  parseEndpoint,
  parsePlainAddress,
  unmapped,
} from "./cidr.ts";

const show = (text: string): string | null => {
  const address = parseAddress(text);
  return address === null ? null : formatAddress(address);
};

describe("reads an address in one way only", () => {
  test.each([
    ["10.0.0.7", "10.0.0.7"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["::1", "::1"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["1::", "1::"],
    ["::ffff:10.0.0.1", "::ffff:a00:1"],
    ["64:ff9b::8.8.8.8", "64:ff9b::808:808"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"],
  ])("%s is %s", (text, canonical) => expect(show(text)).toBe(canonical));

  test.each([
    "",
    "127.1",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.01",
    "2130706433",
    "1.2.3.4.5",
    "1.2.3.256",
    " 1.2.3.4",
    "1.2.3.4\n",
    "１.2.3.4",
    ":::",
    ":1",
    "1:",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "12345::",
    "fe80::1%eth0",
    "1.2.3.4::",
    "::1.2.3.4:5",
    "::1.2.3",
    "g::",
    "[::1]",
    "1".repeat(100),
  ])("refuses %j", (text) => expect(parseAddress(text)).toBeNull());

  test("agrees with Node on what an address is, zones and nothing else aside", () => {
    const piece = fc.constantFrom("0", "1", "ff", "abcd", "12345", ":", "::", ".", "1.2.3.4", "01", "256", "g", "");
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join("");
        expect(parseAddress(text) !== null).toBe(isIPv4(text) || isIPv6(text));
      }),
      { numRuns: 2_000 },
    );
  });

  test("what it writes it reads back", () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const address = parseAddress(text);
        expect(address).not.toBeNull();
        expect(parseAddress(formatAddress(address!))).toEqual(address);
        const written = address!.family === 6 ? `[${formatAddress(address!)}]` : formatAddress(address!);
        expect(new URL(`http://${address!.family === 6 ? `[${text}]` : text}/`).hostname).toBe(written);
      }),
      { numRuns: 500 },
    );
  });
});

test("an IPv4-mapped address is the IPv4 address that it means", () => {
  expect(formatAddress(unmapped(parseAddress("::ffff:127.0.0.1")!))).toBe("127.0.0.1");
  expect(formatAddress(parsePlainAddress("::ffff:a9fe:a9fe")!)).toBe("169.254.169.254");
  expect(formatAddress(parsePlainAddress("::fffe:127.0.0.1")!)).toBe("::fffe:7f00:1");
});

describe("ranges", () => {
  test.each([
    ["10.0.0.0/8", "10.255.0.1", "11.0.0.0"],
    ["10.0.0.128/25", "10.0.0.128", "10.0.0.127"],
    ["0.0.0.0/0", "255.1.1.1", "::1"],
    ["fd00::/8", "fdff::1", "fc00::1"],
    ["192.0.2.7", "192.0.2.7", "192.0.2.6"],
    ["::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"],
  ])("%s holds %s and not %s", (range, inside, outside) => {
    expect(contains(parseCidr(range)!, parsePlainAddress(inside)!)).toBe(true);
    expect(contains(parseCidr(range)!, parsePlainAddress(outside)!)).toBe(false);
  });

  test.each(["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/-1", "::/129", "::1/64", "/8"])(
    "refuses %s",
    (text) => expect(parseCidr(text)).toBeNull(),
  );

  test("are written as read", () =>
    expect(formatCidr(parseCidr("fd53:6467:6174:6500::/64")!)).toBe("fd53:6467:6174:6500::/64"));
});

test("an endpoint is an address and a port, IPv6 in brackets", () => {
  expect(parseEndpoint("10.0.0.7:5432")).toMatchObject({ port: 5432 });
  expect(formatAddress(parseEndpoint("[::1]:8443")!.address)).toBe("::1");
  for (const bad of [
    "10.0.0.7",
    "10.0.0.7:0",
    "10.0.0.7:65536",
    "::1:80",
    "[10.0.0.1]:80",
    "name:80",
    "[::1]80",
    ":80",
  ])
    expect(parseEndpoint(bad), bad).toBeNull();
});
