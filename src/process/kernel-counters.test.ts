import { describe, expect, test } from "vitest";
import { icmp6Unreachables, icmpUnreachables, rejectedPackets } from "./kernel-counters.ts";

describe("rejected packets", () => {
  test("are the column OutType3, wherever it stands", () => {
    const snmp =
      "Ip: Forwarding DefaultTTL\nIp: 1 64\nIcmpMsg: InType3 InType8 OutType0 OutType3\nIcmpMsg: 4 1 1 523\nTcp: A\n";
    expect(icmpUnreachables(snmp)).toBe(523);
  });

  test("are none where no such message was ever sent", () => {
    expect(icmpUnreachables("Ip: A\nIp: 1\n")).toBe(0);
    expect(icmpUnreachables("IcmpMsg: InType3\nIcmpMsg: 1\n")).toBe(0);
    expect(icmpUnreachables("IcmpMsg: OutType3\n")).toBe(0);
    expect(icmp6Unreachables("Icmp6OutMsgs 9\n")).toBe(0);
  });

  test("of IPv6 stand on a line of their own", () => {
    expect(icmp6Unreachables("Icmp6OutMsgs   \t9\nIcmp6OutDestUnreachs            \t12\n")).toBe(12);
  });

  test("are unknown where the kernel tells nothing", () => {
    expect(rejectedPackets("/proc/self/nothing")).toBeNull();
  });
});
