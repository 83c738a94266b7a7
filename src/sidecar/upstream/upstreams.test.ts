import { describe, expect, test } from "vitest";
import type { CommitGate } from "#contract/record.ts";
import type { Target } from "#contract/target.ts";
import { parseAddress, parseCidr } from "#core/cidr.ts";
import type { Clock } from "#core/clock.ts";
import type { Alarm } from "#core/wheel.ts";
import type { Chunk, LegEvents, LegFault, Upstream } from "../seam/leg.ts";
import type { Connector, ConnectTo, Dial, Outbound } from "../seam/stages.ts";
import type { Permit } from "../seam/verdict.ts";
import type { AddressRules } from "./address-rules.ts";
import type { PoolLimits } from "./pool.ts";
import type { Resolution } from "./resolve.ts";
import { createUpstreams, type UpstreamRoom } from "./upstreams.ts";
import type { AddressFinding } from "./way.ts";

const PERMIT = { kind: "permit", scope: "ask", seq: 1 } as unknown as Permit<"ask">;
const GATE: CommitGate = { clean: true, committed: (then) => then(true) };

/** A connection whose other end is the test. */
class FakeOutbound implements Outbound {
  readonly to: ConnectTo;
  events: LegEvents;
  readonly log: string[] = [];
  idleSafe = true;
  accepts = true;
  readonly reused = false;
  readonly tls = null;
  readonly bytesIn = 0;
  readonly bytesOut = 0;
  constructor(to: ConnectTo, events: LegEvents) {
    this.to = to;
    this.events = events;
  }
  get closed(): boolean {
    return this.log.includes("reset") || this.log.includes("release false");
  }
  write(_permit: Permit, bytes: Uint8Array | string): boolean {
    this.log.push(typeof bytes === "string" ? bytes : Buffer.from(bytes).toString("latin1"));
    return this.accepts;
  }
  forward(permit: Permit, chunk: Chunk, from: number, to: number): boolean {
    return this.write(permit, chunk.latin1(from, to));
  }
  release(reusable: boolean): void {
    this.log.push(`release ${reusable}`);
  }
  relisten(events: LegEvents): void {
    this.events = events;
  }
  pause(): void {
    this.log.push("pause");
  }
  resume(): void {
    this.log.push("resume");
  }
  end(): void {
    this.log.push("end");
  }
  reset(): void {
    this.log.push("reset");
  }
  startTls(): void {
    this.log.push("startTls");
  }
  stream(): never {
    throw new Error("not in this test");
  }
}

function chunk(text: string): Chunk {
  const bytes = Buffer.from(text, "latin1");
  return {
    length: bytes.length,
    at: (i) => bytes[i] ?? 0,
    latin1: (from, to) => bytes.toString("latin1", from, to),
    view: (from, to) => bytes.subarray(from, to),
    slice: (from, to) => Uint8Array.from(bytes.subarray(from, to)),
    indexOf: (byte, from) => bytes.indexOf(byte, from),
  };
}

/** A lane's ear: what it heard, in order. */
class Ear implements LegEvents {
  readonly heard: string[] = [];
  opened(): void {
    this.heard.push("opened");
  }
  data(chunk: Chunk): void {
    this.heard.push(`data ${chunk.latin1(0, chunk.length)}`);
  }
  drained(): void {
    this.heard.push("drained");
  }
  secured(): void {
    this.heard.push("secured");
  }
  ended(): void {
    this.heard.push("ended");
  }
  failed(fault: LegFault): void {
    this.heard.push(`failed ${fault}`);
  }
}

class FakeClock implements Clock {
  now = 1_000;
  readonly alarms: { at: number; fire: () => void }[] = [];
  wallMs(): number {
    return this.now;
  }
  elapsedMs(): number {
    return this.now;
  }
  readonly after = (ms: number, fire: () => void): Alarm => {
    const entry = { at: this.now + ms, fire };
    this.alarms.push(entry);
    return {
      cancel: () => {
        if (this.alarms.includes(entry)) this.alarms.splice(this.alarms.indexOf(entry), 1);
      },
    };
  };
  pass(ms: number): void {
    this.now += ms;
    for (const due of this.alarms.filter((alarm) => alarm.at <= this.now)) {
      this.alarms.splice(this.alarms.indexOf(due), 1);
      due.fire();
    }
  }
}

interface Rig {
  readonly room: UpstreamRoom;
  readonly made: FakeOutbound[];
  readonly clock: FakeClock;
  readonly findings: AddressFinding[];
  readonly asked: string[];
  readonly names: Map<string, readonly string[] | "wait">;
  answer(name: string, addresses: readonly string[]): void;
  dial(request: Dial): { leg: Upstream; ear: Ear };
  /** A dial that is connected, and its connection. */
  open(request: Dial): { leg: Upstream; ear: Ear; outbound: FakeOutbound };
}
function rig(
  options: { rules?: Partial<AddressRules>; pool?: Partial<PoolLimits>; connect?: (made: FakeOutbound) => void } = {},
): Rig {
  const made: FakeOutbound[] = [];
  const clock = new FakeClock();
  const findings: AddressFinding[] = [];
  const asked: string[] = [];
  const names = new Map<string, readonly string[] | "wait">();
  const waiting = new Map<string, (resolution: Resolution) => void>();
  const resolution = (addresses: readonly string[]): Resolution => ({
    kind: "addresses",
    addresses: addresses.map((text) => parseAddress(text)!),
  });
  const connector: Connector = {
    connect(to, _gate, events) {
      const outbound = new FakeOutbound(to, events);
      made.push(outbound);
      options.connect?.(outbound);
      return outbound;
    },
  };
  const room = createUpstreams({
    connector,
    gate: GATE,
    clock,
    after: clock.after,
    connectMs: 5_000,
    rules: { own: [], internal: [], allowLoopbackEndpoints: false, ...options.rules },
    pool: { maxIdle: 8, maxIdlePerKey: 4, idleMs: 30_000, maxAgeMs: 600_000, ...options.pool },
    onFinding: (finding) => findings.push(finding),
    resolver: {
      resolve(name, then) {
        asked.push(name);
        const known = names.get(name) ?? ["93.184.216.34"];
        if (known === "wait") waiting.set(name, then);
        else then(known.length === 0 ? { kind: "none", why: "nxdomain" } : resolution(known));
      },
    },
  });
  const dial = (request: Dial): { leg: Upstream; ear: Ear } => {
    const ear = new Ear();
    return { leg: room.dial(request, PERMIT, ear), ear };
  };
  return {
    room,
    made,
    clock,
    findings,
    asked,
    names,
    dial,
    answer: (name, addresses) => waiting.get(name)?.(resolution(addresses)),
    open(request) {
      const { leg, ear } = dial(request);
      const outbound = made.at(-1)!;
      outbound.events.opened();
      return { leg, ear, outbound };
    },
  };
}

const target = (more: Partial<Target> = {}): Target => ({ name: "api", hosts: ["api.example"], ports: [443], ...more });
const API = target();
const request = (more: Partial<Dial> = {}): Dial => ({
  host: "api.example",
  port: 443,
  target: API,
  secure: false,
  alpn: [],
  pool: "",
  fresh: false,
  identity: null,
  ...more,
});
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("a dial", () => {
  test("resolves, connects to the address and port, and says so", () => {
    const r = rig();
    const { ear, leg, outbound } = r.open(request());
    expect(outbound.to).toMatchObject({ address: "93.184.216.34", port: 443, tls: null });
    expect(ear.heard).toEqual(["opened"]);
    expect(leg.reused).toBe(false);
    outbound.events.data(chunk("hello"));
    outbound.events.ended();
    outbound.events.failed("reset");
    expect(ear.heard).toEqual(["opened", "data hello", "ended", "failed reset"]);
  });

  test("speaks TLS with the host's name, or with the name and the CA that the target says", () => {
    const r = rig();
    r.open(request({ secure: true, alpn: ["http/1.1"] }));
    expect(r.made[0]?.to.tls).toEqual({ serverName: "api.example", ca: null, alpn: ["http/1.1"] });
    r.open(request({ secure: true, target: target({ upstream: { serverName: "real.example", ca: "PEM" } }) }));
    expect(r.made[1]?.to.tls).toEqual({ serverName: "real.example", ca: "PEM", alpn: [] });
    expect(r.made[1]?.to.inBand).toEqual({ serverName: "real.example", ca: "PEM" });
  });

  test("queues what is written before it is connected, in order, and forwards views as copies", () => {
    const r = rig();
    const { leg, ear } = r.dial(request());
    const bytes = chunk("xxforwardedxx");
    expect(leg.write(PERMIT, "first ")).toBe(true);
    expect(leg.forward(PERMIT, bytes, 2, 11)).toBe(true);
    bytes.view(0, 13).fill(0);
    leg.pause();
    leg.end();
    r.made[0]?.events.opened();
    expect(r.made[0]?.log).toEqual(["pause", "first ", "forwarded", "end"]);
    expect(ear.heard).toEqual(["opened"]);
  });

  test("says when its queue is full, and when there is room again", () => {
    const r = rig();
    const { leg, ear } = r.dial(request());
    expect(leg.write(PERMIT, "x".repeat(262_144))).toBe(true);
    expect(leg.write(PERMIT, "y")).toBe(false);
    r.made[0]?.events.opened();
    expect(r.made[0]?.log.map((bytes) => bytes.length)).toEqual([262_144, 1]);
    expect(ear.heard).toEqual(["opened", "drained"]);
  });

  test("leaves `drained` to the connection where that is full too", () => {
    const r = rig();
    const { leg, ear } = r.dial(request());
    leg.write(PERMIT, "x".repeat(300_000));
    r.made[0]!.accepts = false;
    r.made[0]?.events.opened();
    expect(ear.heard).toEqual(["opened"]);
    r.made[0]?.events.drained();
    expect(ear.heard).toEqual(["opened", "drained"]);
  });

  test("fails when a lane goes on writing into a full queue: memory is bounded", async () => {
    const r = rig();
    const { leg, ear } = r.dial(request());
    for (let i = 0; i < 100; i++) leg.write(PERMIT, new Uint8Array(65_536));
    expect(ear.heard).toEqual([]);
    await turn();
    expect(ear.heard).toEqual(["failed reset"]);
    expect(r.made[0]?.log).toEqual(["reset"]);
  });

  test("that is given up while it connects or resolves leaves nothing behind", async () => {
    const r = rig();
    const { leg, ear } = r.dial(request());
    leg.reset();
    expect(r.made[0]?.log).toEqual(["reset"]);
    r.names.set("slow.example", "wait");
    const second = r.dial(request({ host: "slow.example" }));
    second.leg.release(true);
    r.answer("slow.example", ["93.184.216.34"]);
    expect(r.made).toHaveLength(1);
    await turn();
    expect([...ear.heard, ...second.ear.heard]).toEqual([]);
    expect(r.clock.alarms).toEqual([]);
    expect(leg.write(PERMIT, "late")).toBe(false);
  });

  test("tries the next address when one fails, each with its share of the time, and keeps what was queued", () => {
    const r = rig();
    r.names.set("api.example", ["93.184.216.1", "93.184.216.2", "2606:2800::1"]);
    const { leg, ear } = r.dial(request());
    leg.write(PERMIT, "request");
    r.made[0]?.events.failed("refused");
    r.clock.pass(2_000);
    r.made[1]?.events.failed("timeout");
    r.made[2]?.events.opened();
    expect(r.made.map(({ to }) => `${to.address} ${to.timeoutMs}`)).toEqual([
      "93.184.216.1 1666",
      "93.184.216.2 2500",
      "2606:2800::1 3000",
    ]);
    expect(r.made.map(({ log }) => log)).toEqual([[], [], ["request"]]);
    expect(ear.heard).toEqual(["opened"]);
  });

  test("fails with the last fault when every address failed, after six at most", async () => {
    const r = rig({ connect: (made) => queueMicrotask(() => made.events.failed("refused")) });
    r.names.set(
      "api.example",
      Array.from({ length: 16 }, (_, i) => `93.184.216.${i}`),
    );
    const { ear } = r.dial(request());
    await turn();
    expect(r.made).toHaveLength(6);
    expect(ear.heard).toEqual(["failed refused"]);
    expect(r.clock.alarms).toEqual([]);
  });

  test("survives a connector that answers before it has returned", async () => {
    const r = rig({ connect: (made) => made.events.failed("unreachable") });
    r.names.set("api.example", ["93.184.216.1", "93.184.216.2"]);
    const { ear } = r.dial(request());
    expect(ear.heard).toEqual([]);
    await turn();
    expect(ear.heard).toEqual(["failed unreachable"]);
    const eager = rig({ connect: (made) => made.events.opened() });
    const { leg } = eager.dial(request());
    leg.write(PERMIT, "x");
    expect(eager.made[0]?.log).toEqual(["x"]);
  });

  test("does not try on after a certificate that did not verify", async () => {
    for (const fault of ["tls-bad-upstream", "tls-name", "audit"] as const) {
      const r = rig();
      r.names.set("api.example", ["93.184.216.1", "93.184.216.2"]);
      const { ear } = r.dial(request({ secure: true }));
      r.made[0]?.events.failed(fault);
      await turn();
      expect(ear.heard).toEqual([`failed ${fault}`]);
      expect(r.made).toHaveLength(1);
    }
  });

  test("is over when its time is, also while the name is being looked up", async () => {
    const r = rig();
    r.names.set("slow.example", "wait");
    const slow = r.dial(request({ host: "slow.example" }));
    const hanging = r.dial(request({ target: target({ limits: { connectMs: 2_000 } }) }));
    r.clock.pass(2_000);
    await turn();
    expect([slow.ear.heard, hanging.ear.heard]).toEqual([[], ["failed timeout"]]);
    expect(r.made[0]?.log).toEqual(["reset"]);
    r.clock.pass(3_000);
    await turn();
    expect(slow.ear.heard).toEqual(["failed timeout"]);
    r.answer("slow.example", ["93.184.216.34"]);
    expect(r.made).toHaveLength(1);
  });

  test("to a name without an address is unresolved, and its caller hears so after it has its leg", async () => {
    const r = rig();
    r.names.set("api.example", []);
    const { ear } = r.dial(request());
    expect(ear.heard).toEqual([]);
    await turn();
    expect(ear.heard).toEqual(["failed unresolved"]);
  });
});

describe("THREATS N10: where a dial may lead", () => {
  const dialled = async (
    more: Partial<Target>,
    addresses: readonly string[],
    rules: Partial<AddressRules> = {},
  ): Promise<string[]> => {
    const r = rig({ rules });
    r.names.set("api.example", addresses);
    const { ear } = r.dial(request({ target: target(more) }));
    await turn();
    return [
      ...r.made.map(({ to }) => `${to.address}:${to.port}`),
      ...ear.heard,
      ...r.findings.map((f) => `${f.address} ${f.what}`),
    ];
  };

  test("a public name re-pointed to a private address is refused unless the target says so, and is a finding", async () => {
    expect(await dialled({}, ["10.0.0.1"])).toEqual(["failed unresolved", "10.0.0.1 private"]);
    expect(await dialled({ private: true }, ["10.0.0.1"])).toEqual(["10.0.0.1:443"]);
    expect(await dialled({ private: true }, ["127.0.0.1", "169.254.169.254"])).toEqual([
      "failed unresolved",
      "127.0.0.1 loopback",
      "169.254.169.254 metadata",
    ]);
  });

  test("a good address beside a bad one is used, the bad one never", async () => {
    expect(await dialled({}, ["127.0.0.1", "93.184.216.34"])).toEqual(["93.184.216.34:443", "127.0.0.1 loopback"]);
  });

  test("the control plane and the cluster's ranges are refused, public as they may look", async () => {
    const rules = { own: [parseCidr("93.184.216.34")!], internal: [parseCidr("34.118.224.0/20")!] };
    expect(await dialled({ private: true }, ["93.184.216.34"], rules)).toEqual([
      "failed unresolved",
      "93.184.216.34 our own",
    ]);
    expect(await dialled({}, ["34.118.224.9"], rules)).toEqual(["failed unresolved", "34.118.224.9 cluster-internal"]);
  });

  test("endpoints are dialled instead of what DNS says; loopback only in `sidegate run`", async () => {
    const endpoints = ["127.0.0.1:8080", "[fd00::1]:5432", "nonsense"];
    expect(await dialled({ endpoints }, ["93.184.216.34"])).toEqual(["fd00::1:5432", "127.0.0.1 loopback"]);
    expect(await dialled({ endpoints }, [], { allowLoopbackEndpoints: true })).toEqual(["127.0.0.1:8080"]);
    expect(await dialled({ endpoints: ["nonsense"] }, ["93.184.216.34"])).toEqual(["failed unresolved"]);
  });

  test("a literal host is dialled as it is, by the same rules, and never looked up", async () => {
    const r = rig();
    r.dial(request({ host: "10.96.0.1" }));
    r.dial(request({ host: "fd00::1" }));
    const { ear } = r.dial(request({ host: "169.254.169.254" }));
    await turn();
    expect(r.made.map(({ to }) => to.address)).toEqual(["10.96.0.1", "fd00::1"]);
    expect(ear.heard).toEqual(["failed unresolved"]);
    expect(r.asked).toEqual([]);
  });

  test("the same finding is told once a minute, however often the agent dials", () => {
    const r = rig();
    r.names.set("api.example", ["10.0.0.1"]);
    r.names.set("b.example", ["10.0.0.1"]);
    for (let i = 0; i < 50; i++) r.dial(request());
    r.dial(request({ host: "b.example" }));
    expect(r.findings.map((f) => f.host)).toEqual(["api.example", "b.example"]);
    r.clock.pass(60_000);
    r.dial(request());
    expect(r.findings).toHaveLength(3);
  });

  test("what a name may be answered with is judged the same way", () => {
    const r = rig();
    r.names.set("api.example", ["10.0.0.1", "93.184.216.34"]);
    const got: string[][] = [];
    r.room.addresses("api.example", API, (addresses) => got.push([...addresses]));
    expect(got).toEqual([["93.184.216.34"]]);
  });
});

describe("a connection that a lane gives back", () => {
  test("is used by the next dial of the same kind, open at once, and only by one at a time", () => {
    const r = rig();
    const dial = request();
    const first = r.open(dial);
    first.leg.write(PERMIT, "one");
    first.leg.release(true);
    expect(r.room.idle).toBe(1);
    const second = r.dial(dial);
    const third = r.dial(dial);
    expect(second.leg.reused).toBe(true);
    expect(third.leg.reused).toBe(false);
    second.leg.write(PERMIT, "two");
    expect(first.outbound.log).toEqual(["one", "two"]);
    first.outbound.events.data(chunk("answer"));
    expect(second.ear.heard).toEqual(["data answer"]);
    expect(first.ear.heard).toEqual(["opened"]);
    expect(r.made).toHaveLength(2);
  });

  test("can no longer be reached by the lane that gave it back", () => {
    const r = rig();
    const first = r.open(request());
    first.leg.release(true);
    const second = r.dial(request());
    expect(first.leg.write(PERMIT, "late")).toBe(false);
    expect(first.leg.forward(PERMIT, chunk("late"), 0, 4)).toBe(false);
    first.leg.end();
    first.leg.pause();
    first.leg.reset();
    first.leg.release(false);
    expect(() => first.leg.startTls([])).toThrow(/not open/);
    expect(first.outbound.log).toEqual([]);
    expect(second.leg.reused).toBe(true);
  });

  test("is closed when it is not reusable, was ended by either side, or has something left in it", () => {
    const spoil: ((leg: Upstream, outbound: FakeOutbound) => void)[] = [
      (leg) => leg.release(false),
      (leg, outbound) => {
        outbound.idleSafe = false;
        leg.release(true);
      },
      (leg, outbound) => {
        outbound.events.ended();
        leg.release(true);
      },
    ];
    for (const act of spoil) {
      const r = rig();
      const { leg, outbound } = r.open(request());
      act(leg, outbound);
      expect(outbound.log.at(-1)).toBe("release false");
      expect(r.room.idle).toBe(0);
      expect(r.dial(request()).leg.reused).toBe(false);
    }
  });

  test("THREATS N7: after the lane's own end it is left to finish, not reset: what is on its way arrives", () => {
    for (const reusable of [true, false]) {
      const r = rig();
      const { ear, leg, outbound } = r.open(request());
      leg.write(PERMIT, "last words");
      leg.end();
      leg.release(reusable);
      expect(outbound.log).toEqual(["last words", "end"]);
      outbound.events.ended();
      expect(outbound.log).toEqual(["last words", "end"]);
      // Bytes that nobody wants any more must not keep it for ever.
      outbound.events.data(chunk("more"));
      expect(outbound.log).toEqual(["last words", "end", "reset"]);
      expect(ear.heard).toEqual(["opened"]);
      expect(r.room.idle).toBe(0);
    }
  });

  test("that failed is not given back", () => {
    const r = rig();
    const { leg, outbound } = r.open(request());
    outbound.events.failed("reset");
    leg.release(true);
    expect(r.room.idle).toBe(0);
    expect(outbound.log).toEqual([]);
  });

  test("reads again where its lane had paused it: a late byte must be seen", () => {
    const r = rig();
    const { leg, outbound } = r.open(request());
    leg.pause();
    leg.release(true);
    expect(outbound.log).toEqual(["pause", "resume"]);
  });

  test("is not used where a fresh one is asked for, or none may be pooled", () => {
    const r = rig();
    r.open(request()).leg.release(true);
    expect(r.dial(request({ fresh: true })).leg.reused).toBe(false);
    r.open(request({ pool: null })).leg.release(true);
    expect(r.made.at(-1)?.log).toEqual(["release false"]);
    expect(r.dial(request({ pool: null })).leg.reused).toBe(false);
    expect(r.room.idle).toBe(1);
  });
});

describe("THREATS H6: an idle connection", () => {
  const A = request();
  const others: [string, Partial<Dial>][] = [
    ["another run or credential", { pool: "run-2" }],
    ["another host of the same target", { host: "b.example" }],
    ["another port", { port: 8443 }],
    ["another target", { target: target({ name: "other" }) }],
    ["a target of that name with other words", { target: target({ labels: { tier: "2" } }) }],
    ["another TLS name", { target: target({ upstream: { serverName: "x.example" } }) }],
    ["another CA", { target: target({ upstream: { ca: "PEM" } }) }],
    ["TLS instead of plaintext", { secure: true }],
    ["TLS with another ALPN", { secure: true, alpn: ["h2"] }],
    ["TLS with ALPN names cut differently", { secure: true, alpn: ["h2,http/1.1"] }],
    ["TLS with two ALPN names", { secure: true, alpn: ["h2", "http/1.1"] }],
  ];

  test.each(others)("is never used for %s, nor the other way round", (_what, more) => {
    for (const [mine, theirs] of [
      [A, request(more)],
      [request(more), A],
    ] as const) {
      const r = rig();
      r.open(mine).leg.release(true);
      expect(r.dial(theirs).leg.reused).toBe(false);
      expect(r.dial(mine).leg.reused).toBe(true);
    }
  });

  test("is never used across any two kinds, however the run is named", () => {
    const r = rig({ pool: { maxIdle: 100 } });
    const kinds = [
      A,
      ...others.map(([, more]) => request(more)),
      request({ pool: "443 0 p " }),
      request({ pool: " " }),
    ];
    for (const kind of kinds) r.open(kind).leg.release(true);
    expect(r.room.idle).toBe(kinds.length);
    const taken = kinds.map((kind) => {
      const before = r.room.idle;
      const { leg } = r.dial(kind);
      expect(leg.reused).toBe(true);
      expect(r.dial(kind).leg.reused).toBe(false);
      return before - r.room.idle;
    });
    expect(taken.every((n) => n === 1)).toBe(true);
  });

  test("two allowed names on one CDN address never share one (N9)", () => {
    const r = rig();
    r.names.set("a.example", ["93.184.216.34"]);
    r.names.set("b.example", ["93.184.216.34"]);
    r.open(request({ host: "a.example" })).leg.release(true);
    expect(r.dial(request({ host: "b.example" })).leg.reused).toBe(false);
  });

  test("closes on any byte, on an end and on a fault, and nobody hears it", () => {
    const r = rig();
    for (const late of [
      (o: FakeOutbound) => o.events.data(chunk("HTTP/1.1 200 OK\r\n\r\n")),
      (o: FakeOutbound) => o.events.ended(),
      (o: FakeOutbound) => o.events.secured({ sni: null, alpn: null, endPoint: null }),
    ]) {
      const { ear, leg, outbound } = r.open(A);
      leg.release(true);
      late(outbound);
      expect(outbound.log).toEqual(["reset"]);
      expect(ear.heard).toEqual(["opened"]);
      expect(r.room.idle).toBe(0);
      expect(r.dial(A).leg.reused).toBe(false);
    }
    const { leg, outbound } = r.open(A);
    leg.release(true);
    outbound.events.failed("reset");
    expect(r.room.idle).toBe(0);
  });

  test("with something unread in it when it is taken is closed, and the one before it used", () => {
    const r = rig();
    const one = r.open(A);
    const two = r.open(A);
    one.leg.release(true);
    two.leg.release(true);
    two.outbound.idleSafe = false;
    expect(r.dial(A).leg.reused).toBe(true);
    expect(two.outbound.log).toEqual(["reset"]);
    expect(one.outbound.closed).toBe(false);
  });

  test("is closed after its idle time, and not kept after its age", () => {
    const r = rig();
    const one = r.open(A);
    one.leg.release(true);
    r.clock.pass(20_000);
    const two = r.open(request({ pool: "x" }));
    two.leg.release(true);
    r.clock.pass(10_000);
    expect(one.outbound.log).toEqual(["reset"]);
    expect(two.outbound.closed).toBe(false);
    r.clock.pass(20_000);
    expect(two.outbound.log).toEqual(["reset"]);
    expect(r.room.idle).toBe(0);
    expect(r.clock.alarms).toEqual([]);
    const old = r.open(A);
    r.clock.pass(600_000);
    old.leg.release(true);
    expect(old.outbound.log).toEqual(["release false"]);
  });

  test("too many are not kept: for one kind the last one is closed, in all the one idle for longest", () => {
    const r = rig();
    const same = Array.from({ length: 5 }, () => r.open(A));
    for (const { leg } of same) leg.release(true);
    expect(same.map(({ outbound }) => outbound.closed)).toEqual([false, false, false, false, true]);
    for (let i = 0; i < 6; i++) r.open(request({ pool: `run-${i}` })).leg.release(true);
    expect(r.room.idle).toBe(8);
    expect(same.map(({ outbound }) => outbound.closed)).toEqual([true, true, false, false, true]);
  });

  test("is closed when its target changes or goes; a target with the same words keeps it", () => {
    const r = rig();
    const other = target({ name: "other", hosts: ["other.example"] });
    r.room.update([API, other]);
    const mine = r.open(A);
    const theirs = r.open(request({ host: "other.example", target: other }));
    const busy = r.open(request({ host: "other.example", target: other }));
    mine.leg.release(true);
    theirs.leg.release(true);
    const again = target();
    r.room.update([again, { ...other, labels: { changed: "yes" } }]);
    expect(theirs.outbound.log).toEqual(["reset"]);
    expect(mine.outbound.closed).toBe(false);
    expect(r.dial(request({ target: again })).leg.reused).toBe(true);
    // In use while its target changed: not kept afterwards.
    busy.leg.release(true);
    expect(busy.outbound.log).toEqual(["release false"]);
    r.room.update([]);
    expect(r.room.idle).toBe(0);
  });

  test("to a place that only observation let through is kept like any other, until targets are told anew", () => {
    const r = rig();
    const unlisted: Target = { name: "", hosts: ["new.example"], ports: [443], private: true };
    const dial = request({ host: "new.example", target: unlisted });
    r.room.update([API]);
    r.open(dial).leg.release(true);
    expect(r.dial(dial).leg.reused).toBe(true);
    const busy = r.open(dial);
    r.open(dial).leg.release(true);
    r.room.update([API]);
    expect(r.room.idle).toBe(0);
    busy.leg.release(true);
    expect(busy.outbound.log).toEqual(["release false"]);
    r.room.close();
    r.open(dial).leg.release(true);
    expect(r.room.idle).toBe(0);
  });

  test("of a target's older words is not revived when the same words come back", () => {
    const r = rig();
    r.room.update([API]);
    const busy = r.open(A);
    r.room.update([]);
    r.room.update([target()]);
    busy.leg.release(true);
    expect(busy.outbound.log).toEqual(["release false"]);
  });

  test("is closed with the room, and none is kept afterwards", () => {
    const r = rig();
    const idle = r.open(A);
    const busy = r.open(A);
    idle.leg.release(true);
    r.room.close();
    busy.leg.release(true);
    expect(idle.outbound.log).toEqual(["reset"]);
    expect(busy.outbound.log).toEqual(["release false"]);
    expect(r.clock.alarms).toEqual([]);
  });
});

describe("THREATS H6: a session that is logged in and waits", () => {
  const LOGIN = { name: "db", version: 1 };
  const dial = request({ pool: "db/1 run", login: LOGIN });
  const known = { of: "the session" };
  const as = (alike = "app shop"): { alike: string; known: object; most: number } => ({ alike, known, most: 2 });
  const resume = (r: Rig, alike = "app shop", by = dial): ReturnType<NonNullable<UpstreamRoom["resume"]>> =>
    r.room.resume?.(by, alike, new Ear()) ?? null;

  test("comes back once, with what was known of it, to who asks for exactly this", () => {
    const r = rig();
    const { leg, outbound } = r.open(dial);
    leg.release(true, as());
    expect(resume(r, "app shop ")).toBe(null);
    const resumed = resume(r);
    expect(resumed?.known).toBe(known);
    expect(resume(r)).toBe(null);
    resumed?.upstream.write(PERMIT, "select");
    expect(outbound.log).toEqual(["select"]);
    // Given back as something else, it is something else.
    resumed?.upstream.release(true, as("app other"));
    expect(resume(r)).toBe(null);
    expect(resume(r, "app other")?.known).toBe(known);
  });

  test("is nothing for a dial, and what a dial gave back is nothing to go on with", () => {
    const r = rig();
    r.open(dial).leg.release(true, as());
    expect(r.dial(dial).leg.reused).toBe(false);
    r.open(dial).leg.release(true);
    expect(resume(r)).not.toBe(null);
    expect(resume(r)).toBe(null);
    expect(resume(r, "")).toBe(null);
  });

  test.each([
    ["another run", { pool: "db/1 run-2" }],
    ["another host", { host: "b.example" }],
    ["a target with other words", { target: target({ labels: { tier: "2" } }) }],
    ["another certificate's name", { target: target({ upstream: { serverName: "x.example" } }) }],
  ] as const)("is never given to %s", (_, more) => {
    const r = rig();
    r.open(dial).leg.release(true, as());
    expect(resume(r, "app shop", request({ ...dial, ...more }))).toBe(null);
    expect(resume(r)).not.toBe(null);
  });

  test("ends where its credential has another value, its target changed, it waited too long, or too many wait: politely", () => {
    for (const end of [
      (r: Rig) => void r.dial(request({ pool: "db/2 run", login: { name: "db", version: 2 } })),
      (r: Rig) => void resume(r, "app shop", request({ pool: "db/2 run", login: { name: "db", version: 2 } })),
      (r: Rig) => r.room.update([target({ labels: { changed: "yes" } })]),
      (r: Rig) => r.clock.pass(30_001),
      (r: Rig) => r.room.close(),
    ]) {
      const r = rig();
      const { leg, outbound } = r.open(dial);
      leg.release(true, as());
      expect(r.room.idle).toBe(1);
      end(r);
      expect(r.room.idle).toBe(0);
      expect(outbound.log).toEqual(["release false"]);
      expect(resume(r)).toBe(null);
    }
    const r = rig();
    const many = [1, 2, 3].map(() => r.open(dial));
    for (const { leg } of many) leg.release(true, as());
    expect(r.room.idle).toBe(2);
  });

  test("is not closed by another target that names the same credential, whose values are counted by themselves", () => {
    const r = rig();
    const there = {
      host: "b.example",
      target: target({ name: "b" }),
      pool: "db/7 run",
      login: { name: "db", version: 7 },
    };
    const other = request(there);
    for (const each of [dial, other]) r.open(each).leg.release(true, as());
    expect(r.room.idle).toBe(2);
    for (const each of [dial, other, dial]) {
      const resumed = resume(r, "app shop", each);
      expect(resumed).not.toBe(null);
      resumed?.upstream.release(true, as());
    }
    // Another value of its own does.
    r.dial(request({ ...there, pool: "db/8 run", login: { name: "db", version: 8 } }));
    expect(r.room.idle).toBe(1);
  });

  test("is not kept where its credential has changed while it was in use", () => {
    const r = rig();
    const { leg } = r.open(dial);
    r.open(request({ pool: "db/2 run", login: { name: "db", version: 2 } }));
    leg.release(true, as());
    expect(r.room.idle).toBe(0);
  });
});
