import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { iptablesText } from "./iptables.ts";
import { type RulesetOptions, ruleset } from "./model.ts";
import { nftText } from "./nft.ts";

const UID = 1_947_264_001;
const POD: RulesetOptions = {
  proxyUid: UID,
  listenerUid: UID,
  inbound: { tcp: [8080, 15_890, 443], udp: [5353] },
  ipv6: true,
};
const RUN: RulesetOptions = { proxyUid: null, listenerUid: null, inbound: { tcp: [], udp: [] }, ipv6: true };
const MESH = { uid: 1337, ports: [15_000, 15_001, 15_006, 15_053] } as const;
const CHAINED: RulesetOptions = { ...POD, mesh: MESH };
const MANY: RulesetOptions = { ...POD, inbound: { tcp: Array.from({ length: 40 }, (_, i) => 9000 + i), udp: [] } };

describe("golden texts", () => {
  test.each([
    ["pod.nft", () => nftText(ruleset(POD))],
    ["pod-without-ipv6.nft", () => nftText(ruleset({ ...POD, ipv6: false }))],
    ["run.nft", () => nftText(ruleset(RUN))],
    ["pod.iptables", () => iptablesText(ruleset(POD), 4)],
    ["pod.ip6tables", () => iptablesText(ruleset(POD), 6)],
    ["chained.nft", () => nftText(ruleset(CHAINED))],
    ["chained.iptables", () => iptablesText(ruleset(CHAINED), 4)],
    ["chained.ip6tables", () => iptablesText(ruleset(CHAINED), 6)],
    ["many-ports.iptables", () => iptablesText(ruleset(MANY), 4)],
  ])("%s", async (name, text) => {
    await expect(text()).toMatchFileSnapshot(`golden/${name}`);
  });
});

describe("what no text may contain", () => {
  const anyPod = fc.record({
    uid: fc.integer({ min: 1, max: 0xffff_fffe }),
    tcp: fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { maxLength: 40 }),
    udp: fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { maxLength: 20 }),
    ipv6: fc.boolean(),
  });
  const optionsOf = ({ uid, tcp, udp, ipv6 }: { uid: number; tcp: number[]; udp: number[]; ipv6: boolean }) => ({
    proxyUid: uid,
    listenerUid: uid,
    inbound: { tcp, udp },
    ipv6,
  });

  test("an output chain never accepts by `established` alone", () => {
    fc.assert(
      fc.property(anyPod, (pod) => {
        const out = ruleset(optionsOf(pod)).filter((c) => c.hook === "output" || c.hook === "exit");
        const kinds = out.flatMap((c) => c.rules).map((r) => r.when.map((c) => c.kind));
        expect(kinds.filter((k) => k.includes("established") && !k.includes("proxy-flow"))).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  test("every chain but the redirecting one drops what no rule names, in both texts", () => {
    fc.assert(
      fc.property(anyPod, (pod) => {
        const chains = ruleset(optionsOf(pod));
        expect(nftText(chains).match(/policy drop/g)).toHaveLength(3);
        for (const family of [4, 6] as const) {
          const text = iptablesText(chains, family);
          for (const line of [":INPUT DROP", ":OUTPUT DROP", ":FORWARD DROP", ":POSTROUTING DROP"])
            expect(text).toContain(line);
        }
      }),
      { numRuns: 50 },
    );
  });

  test("the rules never look at an IPv6 header's next field, which an extension header hides", () => {
    expect(nftText(ruleset(POD))).not.toMatch(/nexthdr/);
  });

  test("the texts of one family never name the other's messages", () => {
    const rules = (family: 4 | 6): string => iptablesText(ruleset(POD), family).replace(/^#.*$/gm, "");
    expect(rules(4)).not.toMatch(/icmp6|ipv6/);
    expect(rules(6)).not.toMatch(/-p icmp |127\.0\.0/);
  });
});

describe("a mesh in the same pod", () => {
  const mentions = (text: string): boolean => text.includes("1337");

  test("its uid is exempt where the pod has one, and without one the rules know no second uid", () => {
    const texts = (options: RulesetOptions): string[] => [
      nftText(ruleset(options)),
      iptablesText(ruleset(options), 4),
      iptablesText(ruleset(options), 6),
    ];
    expect(texts(CHAINED).map(mentions)).toEqual([true, true, true]);
    for (const none of [POD, { ...POD, mesh: null }]) expect(texts(none).map(mentions)).toEqual([false, false, false]);
  });

  test("each way out names the two uids and nobody else, and what falls through is still dropped", () => {
    for (const { hook, policy, rules } of ruleset(CHAINED)) {
      if (hook !== "output" && hook !== "exit") continue;
      expect(policy).toBe("drop");
      const uids = rules.flatMap(({ when }) => when.flatMap((c) => (c.kind === "owner" && c.is ? [c.uid] : [])));
      expect(new Set(uids)).toEqual(new Set([UID, MESH.uid]));
    }
  });

  test("in the iptables texts what we skip goes on to the mesh's chain instead of ending the table", () => {
    const nat = iptablesText(ruleset(CHAINED), 4).split("*nat")[1] ?? "";
    expect(nat).toMatch(/^-A OUTPUT -j SIDEGATE_OUTPUT$/m);
    expect(nat).not.toMatch(/^-A OUTPUT .*-j (RETURN|REDIRECT)/m);
    expect(iptablesText(ruleset(POD), 4)).not.toContain("SIDEGATE_OUTPUT");
  });
});

describe("options that no kernel has", () => {
  test.each([
    ["a negative uid", { ...POD, proxyUid: -1 }],
    ["the uid that means nobody", { ...POD, proxyUid: 0xffff_ffff }],
    ["a uid with a fraction", { ...POD, listenerUid: 1.5 }],
    ["port 0", { ...POD, inbound: { tcp: [0], udp: [] } }],
    ["port 65536", { ...POD, inbound: { tcp: [], udp: [65_536] } }],
    ["a proxy that nobody may answer for", { ...POD, listenerUid: null }],
    ["a mesh that runs as the proxy", { ...POD, mesh: { ...MESH, uid: UID } }],
    ["a mesh without ports", { ...POD, mesh: { ...MESH, ports: [] } }],
    ["a mesh on one of our ports", { ...POD, mesh: { ...MESH, ports: [15_801] } }],
    ["a mesh where nobody may go out", { ...RUN, mesh: MESH }],
  ])("refuses %s", (_, options) => {
    expect(() => ruleset(options)).toThrow(RangeError);
  });
});
