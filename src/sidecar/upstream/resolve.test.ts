import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { formatAddress } from "#core/cidr.ts";
import type { Clock } from "#core/clock.ts";
import { type DnsPacket, decodeDns, encodeDns } from "../../../test/support/dns-packet.ts";
import type { NameServer } from "./dns-exchange.ts";
import { createStubResolver, type ResolveOptions, type StubResolver } from "./resolve.ts";

type Records = readonly object[];
/** What a name server does with a question: records, a code, a cut answer, silence, or raw bytes of its own. */
type Behaviour = (
  question: { readonly name: string; readonly type: string; readonly id: number },
  tcp: boolean,
) => {
  rcode?: string;
  answers?: Records;
  authorities?: Records;
  truncated?: boolean;
  raw?: readonly Uint8Array[];
} | null;

interface FakeServer extends NameServer {
  readonly asked: string[];
  readonly ports: Set<number>;
  readonly ids: Set<number>;
}

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function nameServer(behave: Behaviour): Promise<FakeServer> {
  const asked: string[] = [];
  const ports = new Set<number>();
  const ids = new Set<number>();
  const answer = (message: Uint8Array, tcp: boolean): readonly Uint8Array[] => {
    const query: DnsPacket = decodeDns(message);
    const question = { ...query.questions[0]!, id: query.id };
    asked.push(`${question.name} ${question.type}${tcp ? " tcp" : ""}`);
    ids.add(query.id);
    const said = behave(question, tcp);
    if (said === null) return [];
    if (said.raw !== undefined) return said.raw;
    const code = { NOERROR: 0, SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 }[said.rcode ?? "NOERROR"] ?? 0;
    const { answers = [], authorities = [] } = said;
    const flags = 0x180 | code | (said.truncated === true ? 0x200 : 0);
    return [encodeDns({ type: "response", id: query.id, flags, questions: query.questions, answers, authorities })];
  };
  for (let tries = 0; ; tries++) {
    const server: Server = createServer();
    server.listen({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const socket: UdpSocket = createSocket("udp4");
    try {
      socket.bind({ port, address: "127.0.0.1", exclusive: true });
      await once(socket, "listening");
    } catch (error) {
      server.close();
      if (tries > 20) throw error;
      continue;
    }
    socket.on("message", (message: Buffer, from: RemoteInfo) => {
      ports.add(from.port);
      for (const bytes of answer(message, false)) socket.send(bytes, from.port, from.address);
    });
    server.on("connection", (client) => {
      closers.push(() => client.destroy());
      client.on("error", () => {});
      let pending = Buffer.alloc(0);
      client.on("data", (chunk: Buffer) => {
        pending = Buffer.concat([pending, chunk]);
        if (pending.length < 2 || pending.length < 2 + pending.readUInt16BE(0)) return;
        for (const bytes of answer(pending.subarray(2), true)) {
          client.write(Buffer.of(bytes.length >> 8));
          client.write(Buffer.of(bytes.length & 0xff, ...bytes.subarray(0, 7)));
          client.write(bytes.subarray(7));
        }
      });
    });
    closers.push(() => {
      socket.close();
      server.close();
    });
    return { address: "127.0.0.1", port, asked, ports, ids };
  }
}

class FakeClock implements Clock {
  now = 0;
  wallMs(): number {
    return this.now;
  }
  elapsedMs(): number {
    return this.now;
  }
}

let nextId = 1_000;
function resolver(nameservers: readonly NameServer[], more: Partial<ResolveOptions> = {}): StubResolver {
  return createStubResolver({
    nameservers,
    hosts: new Map(),
    v6: false,
    clock: new FakeClock(),
    randomId: () => nextId++,
    tryMs: 10_000,
    ...more,
  });
}
const look = (from: StubResolver, name: string): Promise<string> =>
  new Promise((resolve) => {
    from.resolve(name, (r) =>
      resolve(r.kind === "addresses" ? r.addresses.map((address) => formatAddress(address)).join(" ") : r.why),
    );
  });
const a = (name: string, data: string, ttl = 60): object => ({ name, type: "A", ttl, data });
const cname = (name: string, data: string): object => ({ name, type: "CNAME", ttl: 60, data });

describe("a name", () => {
  test("has the addresses that the name server says, IPv4 first", async () => {
    const server = await nameServer(({ name, type }) => ({
      answers:
        type === "A"
          ? [a(name, "192.0.2.1"), a(name, "192.0.2.2")]
          : [{ name, type: "AAAA", ttl: 60, data: "2001:db8::1" }],
    }));
    const r = resolver([server], { v6: true, otherFamilyMs: 10_000 });
    expect(await look(r, "api.example")).toBe("192.0.2.1 192.0.2.2 2001:db8::1");
    expect([...server.asked].sort()).toEqual(["api.example A", "api.example AAAA"]);
    expect(server.ports.size).toBe(2);
    expect(server.ids.size).toBe(2);
  });

  test("without IPv6 is not asked for AAAA", async () => {
    const server = await nameServer(({ name }) => ({ answers: [a(name, "192.0.2.1")] }));
    expect(await look(resolver([server]), "api.example")).toBe("192.0.2.1");
    expect(server.asked).toEqual(["api.example A"]);
  });

  test("is found at the end of a chain of CNAMEs, also where the answer stops in the middle", async () => {
    const server = await nameServer(({ name }) => {
      if (name === "www.example")
        return { answers: [a("c.example", "192.0.2.3"), cname(name, "b.example"), cname("b.example", "c.example")] };
      if (name === "cut.example") return { answers: [cname(name, "end.example")] };
      return { answers: [a(name, "192.0.2.4")] };
    });
    const r = resolver([server]);
    expect(await look(r, "www.example")).toBe("192.0.2.3");
    expect(await look(r, "cut.example")).toBe("192.0.2.4");
    expect(server.asked).toEqual(["www.example A", "cut.example A", "end.example A"]);
  });

  test("whose CNAMEs never end has no address", async () => {
    let n = 0;
    const server = await nameServer(({ name }) => ({ answers: [cname(name, `n${n++}.example`)] }));
    expect(await look(resolver([server]), "loop.example")).toBe("fault");
    const circle = await nameServer(() => ({
      answers: [cname("x.example", "y.example"), cname("y.example", "x.example")],
    }));
    expect(await look(resolver([circle]), "x.example")).toBe("fault");
    expect(server.asked.length).toBeLessThan(12);
  });

  test("takes nothing from records of other names", async () => {
    const server = await nameServer(() => ({ answers: [a("other.example", "192.0.2.66")] }));
    expect(await look(resolver([server]), "api.example")).toBe("nodata");
  });

  test("in the hosts that were given is not asked for", async () => {
    const hosts = new Map([
      ["Dev.Example", ["127.0.0.1", "::1"]],
      ["bad.example", ["x"]],
    ]);
    const r = resolver([], { hosts });
    expect(await look(r, "dev.example")).toBe("127.0.0.1 ::1");
    expect(await look(r, "bad.example")).toBe("nodata");
    expect(await look(r, "else.example")).toBe("fault");
  });

  test("that is no host name is not asked for", async () => {
    const server = await nameServer(() => ({ answers: [] }));
    expect(await look(resolver([server]), "\\042.example")).toBe("fault");
    expect(server.asked).toEqual([]);
  });
});

describe("an answer", () => {
  test("to another question, another id or with bytes left out is as if it had not come", async () => {
    const server = await nameServer(({ name, id }) => {
      const good = {
        type: "response",
        flags: 0x180,
        questions: [{ name, type: "A" }],
        answers: [a(name, "192.0.2.1")],
      };
      return {
        raw: [
          encodeDns({ ...good, id: id ^ 1, answers: [a(name, "192.0.2.66")] }),
          encodeDns({
            ...good,
            id,
            questions: [{ name: "evil.example", type: "A" }],
            answers: [a("evil.example", "192.0.2.66")],
          }),
          encodeDns({ ...good, id, questions: [{ name, type: "AAAA" }], answers: [a(name, "192.0.2.66")] }),
          encodeDns({ ...good, id, type: "query" }),
          encodeDns({ ...good, id }).subarray(0, 40),
          new Uint8Array(3),
          encodeDns({ ...good, id, questions: [{ name: name.toUpperCase(), type: "A" }] }),
        ],
      };
    });
    expect(await look(resolver([server]), "api.example")).toBe("192.0.2.1");
  });

  test("that was cut is asked for again over TCP", async () => {
    const many = Array.from({ length: 10 }, (_, i) => `192.0.2.${i + 1}`);
    const server = await nameServer(({ name }, tcp) =>
      tcp ? { answers: many.map((address) => a(name, address)) } : { truncated: true },
    );
    expect(await look(resolver([server]), "big.example")).toBe(many.join(" "));
    expect(server.asked).toEqual(["big.example A", "big.example A tcp"]);
  });

  test("with hundreds of addresses counts with its first sixteen", async () => {
    const server = await nameServer(({ name }, tcp) =>
      tcp ? { answers: Array.from({ length: 200 }, (_, i) => a(name, `192.0.2.${i}`)) } : { truncated: true },
    );
    expect((await look(resolver([server]), "big.example")).split(" ")).toHaveLength(16);
  });

  test("of trouble sends the question to the next server; a dead one too", async () => {
    const broken = await nameServer(() => ({ rcode: "SERVFAIL" }));
    const silent = await nameServer(() => null);
    const good = await nameServer(({ name }) => ({ answers: [a(name, "192.0.2.9")] }));
    expect(await look(resolver([broken, good]), "api.example")).toBe("192.0.2.9");
    expect(await look(resolver([silent, good], { tryMs: 30 }), "api.example")).toBe("192.0.2.9");
    expect(await look(resolver([broken]), "api.example")).toBe("fault");
    expect(await look(resolver([silent], { tryMs: 30 }), "api.example")).toBe("fault");
    // A port where nobody listens answers at once.
    expect(await look(resolver([{ address: "127.0.0.1", port: 1 }, good]), "api.example")).toBe("192.0.2.9");
  });

  test("of no such name is final", async () => {
    const no = await nameServer(() => ({ rcode: "NXDOMAIN" }));
    const other = await nameServer(({ name }) => ({ answers: [a(name, "192.0.2.9")] }));
    expect(await look(resolver([no, other]), "api.example")).toBe("nxdomain");
    expect(other.asked).toEqual([]);
  });

  test("of one family is enough, when the other's does not come", async () => {
    const server = await nameServer(({ name, type }) => (type === "A" ? { answers: [a(name, "192.0.2.1")] } : null));
    expect(await look(resolver([server], { v6: true }), "api.example")).toBe("192.0.2.1");
  });

  test("of one family is enough, when there is none of the other", async () => {
    const server = await nameServer(({ name, type }) =>
      type === "A" ? {} : { answers: [{ name, type: "AAAA", ttl: 60, data: "2001:db8::1" }] },
    );
    expect(await look(resolver([server], { v6: true }), "api.example")).toBe("2001:db8::1");
  });
});

describe("what was learnt", () => {
  test("is kept for its life, at least 5 s and at most 300 s", async () => {
    const clock = new FakeClock();
    const ttl: Record<string, number> = { "short.example": 0, "some.example": 60, "long.example": 86_400 };
    const server = await nameServer(({ name }) => ({ answers: [a(name, "192.0.2.1", ttl[name])] }));
    const r = resolver([server], { clock });
    for (const [name, seconds] of [
      ["short.example", 5],
      ["some.example", 60],
      ["long.example", 300],
    ] as const) {
      server.asked.length = 0;
      await look(r, name);
      clock.now += seconds * 1_000 - 1;
      await look(r, name);
      expect(server.asked, name).toHaveLength(1);
      clock.now += 1;
      await look(r, name);
      expect(server.asked, name).toHaveLength(2);
    }
  });

  test("of a missing name is kept as its zone says, at most 30 s; a fault for a second", async () => {
    const clock = new FakeClock();
    const soa = (minimum: number): object => ({
      name: "example",
      type: "SOA",
      ttl: 3_600,
      data: { mname: "a", rname: "b", serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
    });
    const server = await nameServer(({ name }) =>
      name === "bad.example"
        ? { rcode: "SERVFAIL" }
        : { rcode: "NXDOMAIN", authorities: [soa(name === "ten.example" ? 10 : 3_600)] },
    );
    const r = resolver([server], { clock, rounds: 1 });
    for (const [name, seconds] of [
      ["ten.example", 10],
      ["long.example", 30],
      ["bad.example", 1],
    ] as const) {
      server.asked.length = 0;
      await look(r, name);
      clock.now += seconds * 1_000 - 1;
      await look(r, name);
      expect(server.asked, name).toHaveLength(1);
      clock.now += 1;
      await look(r, name);
      expect(server.asked, name).toHaveLength(2);
    }
  });

  test("is bounded: the name asked for longest ago is forgotten", async () => {
    const server = await nameServer(({ name }) => ({ answers: [a(name, "192.0.2.1")] }));
    const r = resolver([server]);
    for (let i = 0; i < 1_100; i++) await look(r, `n${i}.example`);
    server.asked.length = 0;
    await look(r, "n1099.example");
    expect(server.asked).toEqual([]);
    await look(r, "n0.example");
    expect(server.asked).toEqual(["n0.example A"]);
  });
});

test("callers who ask for the same name at once share one question", async () => {
  const server = await nameServer(({ name }) => ({ answers: [a(name, "192.0.2.1")] }));
  const r = resolver([server]);
  const all = await Promise.all(Array.from({ length: 50 }, () => look(r, "api.example")));
  expect(new Set(all)).toEqual(new Set(["192.0.2.1"]));
  expect(server.asked).toEqual(["api.example A"]);
});

test("too many names at once: the ones beyond the bound fail, the others are answered", async () => {
  const server = await nameServer(({ name }) => ({ answers: [a(name, "192.0.2.1")] }));
  const r = resolver([server]);
  const all = await Promise.all(Array.from({ length: 300 }, (_, i) => look(r, `n${i}.example`)));
  expect(all.filter((answer) => answer === "fault")).toHaveLength(44);
});
