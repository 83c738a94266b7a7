import { describe, expect, test } from "vitest";
import { SYNTHETIC } from "#contract/names.ts";
import type { Target } from "#contract/target.ts";
import { formatAddress, parseCidr } from "#core/cidr.ts";
import type { Addressing } from "../seam/stages.ts";
import { createDestinations, type DestinationRoom } from "./destinations.ts";
import { memoryNames } from "./name-file.ts";
import { SyntheticNames } from "./synthetic.ts";
import { buildTable, type TableProblem } from "./table.ts";

const target = (name: string, more: Partial<Target> = {}): Target => ({
  name,
  hosts: [`${name}.example`],
  ports: [443],
  ...more,
});

interface Room extends DestinationRoom {
  readonly problems: readonly TableProblem[];
}
function room(targets: readonly Target[], own: readonly string[] = []): Room {
  let problems: readonly TableProblem[] = [];
  const destinations = createDestinations({
    synthetic: new SyntheticNames({ ...SYNTHETIC, store: memoryNames(), maxPerWildcardTarget: 4 }),
    own: own.map((text) => parseCidr(text)!),
    onProblems: (found) => {
      problems = found;
    },
  });
  destinations.update(targets);
  return {
    ...destinations,
    get problems() {
      return problems;
    },
  };
}
function v4Of(destinations: DestinationRoom, host: string): string {
  const answer = destinations.name(host);
  if (answer.kind !== "synthetic") throw new Error(`${host}: ${answer.kind}`);
  return formatAddress({ family: 4, bytes: answer.v4 });
}
const to = (destinations: DestinationRoom, address: string, port = 443): Addressing =>
  destinations.address({ address, port });
/** `name target` or the code of the refusal. */
function short(addressing: Addressing): string {
  return addressing.kind === "addressed" ? `${addressing.host} ${addressing.target.name}` : addressing.code;
}

describe("a connection to a synthetic address", () => {
  test("is addressed to the name that has it, and to the target that lists name and port", () => {
    const r = room([target("billing", { ports: [443, 8443] }), target("docs")]);
    const billing = v4Of(r, "billing.example");
    expect(to(r, billing)).toMatchObject({ kind: "addressed", host: "billing.example", port: 443 });
    expect(short(to(r, billing, 8443))).toBe("billing.example billing");
    expect(to(r, billing, 80)).toEqual({ kind: "refused", code: "target_unknown", host: "billing.example" });
    const v6 = r.name("billing.example");
    if (v6.kind !== "synthetic") throw new Error(v6.kind);
    expect(short(to(r, formatAddress({ family: 6, bytes: v6.v6 })))).toBe("billing.example billing");
  });

  test("THREATS N9: two allowed names on one CDN address cannot be confused: the address is the name, whatever DNS says", () => {
    const strict = target("payments", { credential: "key" });
    const loose = target("blog", { labels: { open: "yes" } });
    const r = room([strict, loose]);
    const a = v4Of(r, "payments.example");
    const b = v4Of(r, "blog.example");
    expect(a).not.toBe(b);
    expect(short(to(r, a))).toBe("payments.example payments");
    expect(short(to(r, b))).toBe("blog.example blog");
    // A client that connects to the other's address with its own idea of the name is on the other's connection: the lane
    // compares Host and SNI with `host`, which is never what the client says.
    expect(to(r, b)).toMatchObject({ host: "blog.example", target: loose });
  });

  test("keeps its name when targets change, and is refused when nobody lists it any more", () => {
    const r = room([target("billing"), target("docs")]);
    const billing = v4Of(r, "billing.example");
    const docs = v4Of(r, "docs.example");
    r.update([target("invoices", { hosts: ["billing.example"] })]);
    expect(short(to(r, billing))).toBe("billing.example invoices");
    expect(to(r, docs)).toEqual({ kind: "refused", code: "target_unknown", host: "docs.example" });
    expect(r.name("docs.example")).toEqual({ kind: "unknown" });
    r.update([target("new"), target("docs")]);
    expect(v4Of(r, "new.example")).not.toBe(billing);
    expect(v4Of(r, "docs.example")).toBe(docs);
  });

  test("that nobody has is refused, before any target has been loaded too", () => {
    expect(short(to(room([]), "240.240.0.1"))).toBe("target_unknown");
    expect(room([]).name("billing.example")).toEqual({ kind: "unknown" });
  });
});

describe("which target a name belongs to", () => {
  const wild = target("wild", { hosts: ["*.example"], ports: [443, 8443] });

  test("exact beats wildcard, for every port", () => {
    const r = room([wild, target("api")]);
    expect(short(to(r, v4Of(r, "api.example")))).toBe("api.example api");
    expect(short(to(r, v4Of(r, "api.example"), 8443))).toBe("target_unknown");
    expect(short(to(r, v4Of(r, "other.example"), 8443))).toBe("other.example wild");
  });

  test("a wildcard stands for one label, and for a host's label only", () => {
    const r = room([wild]);
    for (const bad of ["a.b.example", "example", ".example", "*.example", "\\042.example", "_x.example", "-a.example"])
      expect(r.name(bad).kind, bad).toBe("unknown");
    expect(r.name("a.example").kind).toBe("synthetic");
  });

  test("THREATS N8: wildcard names are bounded in number and in length of the label", () => {
    const r = room([wild]);
    expect(r.name(`${"x".repeat(48)}.example`).kind).toBe("synthetic");
    expect(r.name(`${"x".repeat(49)}.example`).kind).toBe("unknown");
    for (let i = 0; i < 3; i++) expect(r.name(`n${i}.example`).kind).toBe("synthetic");
    expect(r.name("n3.example").kind).toBe("exhausted");
    expect(r.name("n0.example").kind).toBe("synthetic");
  });

  test("a host and port that two targets claim is reported, and the host belongs to neither", () => {
    const one = target("one", { hosts: ["shared.example", "one.example"] });
    const two = target("two", { hosts: ["shared.example"], ports: [80, 443] });
    const r = room([one, two]);
    expect(r.problems).toEqual([
      { kind: "host-claimed-twice", host: "shared.example", port: 443, targets: ["one", "two"] },
    ]);
    expect(r.name("shared.example").kind).toBe("unknown");
    expect(r.name("one.example").kind).toBe("synthetic");
    r.update([one]);
    expect(r.problems).toEqual([]);
    expect(r.name("shared.example").kind).toBe("synthetic");
    const before = v4Of(r, "shared.example");
    r.update([one, two]);
    expect(to(r, before)).toEqual({ kind: "refused", code: "target_unknown", host: "shared.example" });
  });

  test("an exact name that is in conflict does not fall back to a wildcard", () => {
    const r = room([wild, target("a", { hosts: ["x.example"] }), target("b", { hosts: ["x.example"] })]);
    expect(r.name("x.example").kind).toBe("unknown");
  });

  test("different ports of one host may belong to two targets", () => {
    const r = room([target("web", { hosts: ["h.example"] }), target("db", { hosts: ["h.example"], ports: [5432] })]);
    expect(r.problems).toEqual([]);
    expect(short(to(r, v4Of(r, "h.example"), 5432))).toBe("h.example db");
    expect(short(to(r, v4Of(r, "h.example"), 443))).toBe("h.example web");
  });

  test("a port written twice in one target is no conflict", () => {
    expect(room([target("a", { ports: [443, 443], addresses: ["192.0.2.1"] })]).problems).toEqual([]);
  });

  test("a wildcard together with a credential is reported and matches nothing", () => {
    const r = room([target("w", { hosts: ["*.example", "w.example"], credential: "key" })]);
    expect(r.problems).toEqual([{ kind: "wildcard-with-credential", host: "*.example", target: "w" }]);
    expect(r.name("a.example").kind).toBe("unknown");
    expect(r.name("w.example").kind).toBe("synthetic");
  });
});

describe("a literal address", () => {
  test("needs a target that lists it and the port", () => {
    const r = room([target("service", { addresses: ["10.96.0.1", "fd00:10::/64"], private: true })]);
    expect(to(r, "10.96.0.1")).toMatchObject({ kind: "addressed", host: "10.96.0.1", port: 443 });
    expect(to(r, "FD00:10:0::7")).toMatchObject({ kind: "addressed", host: "fd00:10::7" });
    expect(short(to(r, "10.96.0.1", 80))).toBe("target_unknown");
    expect(short(to(r, "10.96.0.2"))).toBe("target_unknown");
    expect(short(to(r, "93.184.216.34"))).toBe("target_unknown");
  });

  test("THREATS N10: an IPv4-mapped address is the IPv4 address, never a way around it", () => {
    const r = room([target("service", { addresses: ["10.96.0.1"] })]);
    expect(to(r, "::ffff:10.96.0.1")).toMatchObject({ kind: "addressed", host: "10.96.0.1" });
    expect(short(to(r, "::ffff:169.254.169.254"))).toBe("destination_forbidden");
    expect(short(to(r, "::ffff:127.0.0.1"))).toBe("destination_forbidden");
    const named = room([target("billing")]);
    expect(short(to(named, `::ffff:${v4Of(named, "billing.example")}`))).toBe("billing.example billing");
  });

  test.each([
    "127.0.0.1",
    "::1",
    "0.0.0.0",
    "::",
    "169.254.169.254",
    "fd00:ec2::254",
    "168.63.129.16",
    "100.100.100.200",
    "169.254.1.1",
    "fe80::1",
    "224.0.0.251",
    "ff02::1",
    "255.255.255.255",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:0:1:2:3:4:5:6",
    "::127.0.0.1",
  ])("THREATS N10: %s is forbidden even where a target lists everything", (address) => {
    const r = room([target("all", { addresses: ["0.0.0.0/0", "::/0"], private: true })]);
    expect(short(to(r, address))).toBe("destination_forbidden");
  });

  test("THREATS N10: our own places are forbidden even where a target lists them", () => {
    const r = room([target("all", { addresses: ["0.0.0.0/0"] })], ["10.96.7.0/24"]);
    expect(short(to(r, "10.96.7.9"))).toBe("destination_forbidden");
    expect(short(to(r, "10.96.8.9"))).toBe("10.96.8.9 all");
  });

  test("belongs to the narrowest range; to nobody where two targets list the same one", () => {
    const net = target("net", { addresses: ["10.0.0.0/8"], ports: [443, 80] });
    const host = target("host", { addresses: ["10.0.0.7"] });
    const r = room([net, host]);
    expect(short(to(r, "10.0.0.7"))).toBe("10.0.0.7 host");
    expect(short(to(r, "10.0.0.7", 80))).toBe("10.0.0.7 net");
    r.update([net, host, target("twin", { addresses: ["10.0.0.7/32"] })]);
    expect(r.problems).toEqual([
      { kind: "range-claimed-twice", range: "10.0.0.7/32", port: 443, targets: ["host", "twin"] },
    ]);
    expect(short(to(r, "10.0.0.7"))).toBe("target_unknown");
  });

  test("ranges that cannot be read are reported, and match nothing", () => {
    const r = room([target("a", { addresses: ["10.0.0.1/8", "nonsense"] })]);
    expect(r.problems.map((p) => p.kind)).toEqual(["range-malformed", "range-malformed"]);
    expect(short(to(r, "10.0.0.1"))).toBe("target_unknown");
  });

  test("that cannot be read is refused as unreadable", () => {
    for (const bad of ["", "127.1", "fe80::1%eth0", "billing.example"])
      expect(short(to(room([]), bad)), bad).toBe("destination_unreadable");
    expect(short(to(room([]), "192.0.2.1", 0))).toBe("destination_unreadable");
  });
});

describe("a target that answers with the upstream's addresses", () => {
  const up = target("up", { answer: "upstream" });

  test("is found again by them, and no other name ever is", () => {
    const r = room([up, target("also", { answer: "upstream" })]);
    expect(r.name("up.example")).toMatchObject({ kind: "upstream", target: { name: "up" } });
    expect(r.learn("up.example", ["93.184.216.34", "2606:2800::1"]).map(formatAddress)).toEqual([
      "93.184.216.34",
      "2606:2800::1",
    ]);
    expect(r.learn("also.example", ["93.184.216.34", "93.184.216.35"]).map(formatAddress)).toEqual(["93.184.216.35"]);
    expect(short(to(r, "93.184.216.34"))).toBe("up.example up");
    expect(short(to(r, "93.184.216.35"))).toBe("also.example also");
  });

  test("keeps so many addresses: the one not seen for longest is forgotten and refused", () => {
    const r = room([up]);
    r.learn("up.example", ["93.184.216.34", "93.184.216.35"]);
    const learn = (from: number, until: number): void => {
      for (let i = from; i < until; i++) r.learn("up.example", [`11.0.${i >> 8}.${i & 255}`]);
    };
    learn(0, 100);
    expect(short(to(r, "93.184.216.35"))).toBe("up.example up");
    learn(100, 4_095);
    expect(short(to(r, "93.184.216.34"))).toBe("target_unknown");
    expect(short(to(r, "93.184.216.35"))).toBe("up.example up");
  });

  test("learns no address that is forbidden, our own, synthetic or somebody's literal", () => {
    const r = room([up, target("lit", { addresses: ["93.184.216.0/24"] })], ["10.96.7.0/24"]);
    const bad = ["127.0.0.1", "169.254.169.254", "240.240.0.1", "10.96.7.1", "93.184.216.34", "x"];
    expect(r.learn("up.example", bad)).toEqual([]);
  });
});

describe("under observation", () => {
  const observing = (targets: readonly Target[], own: readonly string[] = []): Room => {
    const r = room(targets, own);
    r.update(targets, true);
    return r;
  };
  const observedV4 = (r: Room, host: string): string => {
    const answer = r.name(host);
    if (answer.kind !== "observed") throw new Error(answer.kind);
    return formatAddress({ family: 4, bytes: answer.v4 });
  };

  test("a name that nobody lists is addressed to a target without a name, the same one each time", () => {
    const r = observing([target("billing")]);
    const address = observedV4(r, "new.example");
    const first = to(r, address, 8080);
    expect(first).toMatchObject({ kind: "addressed", host: "new.example", port: 8080, target: { name: "" } });
    expect(first).toEqual(to(r, address, 8080));
    expect(first.kind === "addressed" && first.target).toBe((to(r, address, 8080) as { target: Target }).target);
  });

  test("a port that a target does not list is no longer that target's: no credential, no CA of its own", () => {
    const r = observing([target("billing", { credential: "key", upstream: { ca: "PEM" } })]);
    const address = v4Of(r, "billing.example");
    expect(short(to(r, address))).toBe("billing.example billing");
    const other = to(r, address, 8080);
    if (other.kind !== "addressed") throw new Error(other.kind);
    expect(other.target).toEqual({ name: "", hosts: ["billing.example"], ports: [8080], private: true });
  });

  test("a host that two targets claim belongs to neither of them", () => {
    const r = observing([target("a", { hosts: ["x.example"] }), target("b", { hosts: ["x.example"] })]);
    expect(to(r, observedV4(r, "x.example"))).toMatchObject({ target: { name: "" } });
  });

  test("metadata, our own places, destinations without a name and what is no public name are refused as ever", () => {
    const r = observing([], ["93.184.216.34"]);
    expect(short(to(r, "169.254.169.254"))).toBe("destination_forbidden");
    expect(short(to(r, "93.184.216.34"))).toBe("destination_forbidden");
    expect(short(to(r, "93.184.216.35"))).toBe("target_unknown");
    expect(short(to(r, "240.240.0.9"))).toBe("target_unknown");
    for (const bad of ["localhost", "x", "", "\\042.example", "a..example", "1.0.0.10.in-addr.arpa", "a.example."])
      expect(r.name(bad).kind, bad).toBe("unknown");
  });

  test("ends when it is switched off: the names keep their addresses, and are refused", () => {
    const r = observing([target("billing")]);
    const address = observedV4(r, "new.example");
    r.update([target("billing")]);
    expect(to(r, address)).toEqual({ kind: "refused", code: "target_unknown", host: "new.example" });
    expect(r.name("new.example").kind).toBe("unknown");
    r.update([target("new")]);
    expect(v4Of(r, "new.example")).toBe(address);
  });
});

test("a table knows nothing of a name that two targets claim", () => {
  const table = buildTable([target("a", { hosts: ["h.x"] }), target("b", { hosts: ["h.x"], ports: [443] })]);
  expect(table.host("h.x")).toBeNull();
  expect(table.target("h.x", 443)).toBeNull();
});
