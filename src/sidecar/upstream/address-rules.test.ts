import { describe, expect, test } from "vitest";
import { parseAddress, parseCidr } from "#core/cidr.ts";
import { type AddressRules, type AddressSource, refusedAddress } from "./address-rules.ts";

const CLUSTER: AddressRules = {
  own: ["10.96.7.1", "203.0.113.0/28", "240.240.0.0/16", "2606:4700:1::/48"].map((text) => parseCidr(text)!),
  internal: ["34.118.224.0/20", "2606:4700:2::/48"].map((text) => parseCidr(text)!),
  allowLoopbackEndpoints: false,
};
const LAPTOP: AddressRules = { own: [], internal: [], allowLoopbackEndpoints: true };
const ask = (address: string, source: AddressSource, isPrivate: boolean, rules = CLUSTER): string | null =>
  refusedAddress(parseAddress(address)!, source, isPrivate, rules);

describe("THREATS N10: a name that is re-pointed", () => {
  test.each([
    ["93.184.216.34", null, null],
    ["10.1.2.3", "private", null],
    ["192.168.1.1", "private", null],
    ["100.64.0.1", "shared (CGNAT)", null],
    ["fd12::1", "unique local", null],
    ["34.118.225.9", "cluster-internal", null],
    ["2606:4700:2::9", "cluster-internal", null],
    ["64:ff9b::34.118.225.9", "cluster-internal", null],
    ["64:ff9b::10.1.2.3", "private", null],
    ["127.0.0.1", "loopback", "loopback"],
    ["::1", "loopback", "loopback"],
    ["::ffff:127.0.0.1", "loopback", "loopback"],
    ["64:ff9b::127.0.0.1", "loopback", "loopback"],
    ["0.0.0.0", "unspecified", "unspecified"],
    ["169.254.169.254", "metadata", "metadata"],
    ["::ffff:169.254.169.254", "metadata", "metadata"],
    ["100.100.100.200", "metadata", "metadata"],
    ["fd00:ec2::254", "metadata", "metadata"],
    ["168.63.129.16", "metadata", "metadata"],
    ["224.0.0.1", "multicast", "multicast"],
    ["240.0.0.1", "reserved", "reserved"],
    ["10.96.7.1", "our own", "our own"],
    ["::ffff:10.96.7.1", "our own", "our own"],
    ["64:ff9b::10.96.7.1", "our own", "our own"],
    ["203.0.113.5", "our own", "our own"],
    ["240.240.0.7", "our own", "our own"],
    ["2606:4700:1::1", "our own", "our own"],
  ])("to %s is refused as %s; with `private: true`: %s", (address, plain, withPrivate) => {
    expect(ask(address, "dns", false)).toBe(plain);
    expect(ask(address, "dns", true)).toBe(withPrivate);
  });

  test("to loopback is refused in `sidegate run` too, and `private: true` changes nothing", () => {
    for (const address of ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.8.8"])
      expect(ask(address, "dns", true, LAPTOP)).toBe("loopback");
  });
});

describe("an address that an admin wrote into the target", () => {
  test("may be private without more", () => {
    for (const source of ["endpoint", "literal"] as const)
      for (const address of ["10.1.2.3", "fd12::1", "34.118.225.9"]) expect(ask(address, source, false)).toBeNull();
  });

  test("may be loopback as an endpoint in `sidegate run` only, never as a literal", () => {
    for (const address of ["127.0.0.1", "::1"]) {
      expect(ask(address, "endpoint", false, LAPTOP)).toBeNull();
      expect(ask(address, "endpoint", true, CLUSTER)).toBe("loopback");
      expect(ask(address, "literal", true, LAPTOP)).toBe("loopback");
    }
  });

  test("is never metadata, link-local, multicast or our own", () => {
    for (const address of ["169.254.169.254", "fe80::1", "224.0.0.1", "fd00:ec2::254", "0.0.0.0"])
      for (const rules of [LAPTOP, CLUSTER]) expect(ask(address, "endpoint", true, rules), address).not.toBeNull();
    expect(ask("10.96.7.1", "endpoint", true)).toBe("our own");
    // Through a translator it would be somebody else's loopback.
    expect(ask("64:ff9b::127.0.0.1", "endpoint", true, LAPTOP)).toBe("loopback");
    expect(ask("64:ff9b::169.254.169.254", "endpoint", true, LAPTOP)).toBe("metadata");
  });
});
