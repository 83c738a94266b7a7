import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { Resolver as CaresResolver } from "node:dns/promises";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { SYNTHETIC } from "#contract/names.ts";
import type { Target } from "#contract/target.ts";
import { type DnsPacket, decodeDns, dnsQuery, EDNS, encodeDns } from "../../../test/support/dns-packet.ts";
import { type AnswerOptions, createAnswerer, type QuerySeen } from "./answer.ts";
import { createDestinations } from "./destinations.ts";
import { memoryNames } from "./name-file.ts";
import { createResolver, type Resolver } from "./resolver.ts";
import { SyntheticNames } from "./synthetic.ts";

const TARGETS: readonly Target[] = [
  { name: "billing", hosts: ["billing.example"], ports: [443] },
  { name: "wild", hosts: ["*.cdn.example"], ports: [443] },
  { name: "up", hosts: ["up.example"], ports: [443], answer: "upstream" },
];

interface Rig extends AnswerOptions {
  readonly seen: QuerySeen[];
  readonly asked: string[];
}
function rig(more: Partial<AnswerOptions> & { readonly observe?: boolean } = {}): Rig {
  const seen: QuerySeen[] = [];
  const asked: string[] = [];
  const destinations = createDestinations({
    synthetic: new SyntheticNames({ ...SYNTHETIC, store: memoryNames(), maxPerWildcardTarget: 4 }),
    own: [],
    onProblems: () => {},
  });
  destinations.update(TARGETS, more.observe);
  return {
    seen,
    asked,
    name: (host) => destinations.name(host),
    learn: (host, addresses) => destinations.learn(host, addresses),
    resolve(host, _target, then) {
      asked.push(host);
      then(["93.184.216.34", "2606:2800::1"]);
    },
    v6: true,
    search: ["agents.svc.cluster.local", "svc.cluster.local", "cluster.local"],
    onQuery: (query) => seen.push(query),
    ...more,
  };
}
/** What the answerer says at once; null: nothing. */
function say(options: AnswerOptions, message: Uint8Array): DnsPacket | null {
  let said: Uint8Array | null = null;
  createAnswerer(options)(message, null, (bytes) => {
    expect(said).toBeNull();
    said = bytes;
  });
  return said === null ? null : decodeDns(said);
}

describe("an allowed name", () => {
  test("has a synthetic address of each family, short-lived, in the case it was asked in", () => {
    const r = rig();
    expect(say(r, dnsQuery("BiLLing.eXample"))).toMatchObject({
      rcode: "NOERROR",
      answers: [{ name: "BiLLing.eXample", type: "A", ttl: 15, data: "240.240.0.1" }],
    });
    expect(say(r, dnsQuery("billing.example", "AAAA"))?.answers).toMatchObject([{ data: "fd53:6467:6174:6500::1" }]);
    expect(r.seen).toEqual([
      { name: "billing.example", type: "A", answer: "synthetic" },
      { name: "billing.example", type: "AAAA", answer: "synthetic" },
    ]);
  });

  test("has no IPv6 address where the pod has no IPv6", () => {
    const r = rig({ v6: false });
    expect(say(r, dnsQuery("billing.example", "AAAA"))).toMatchObject({ rcode: "NOERROR", answers: [] });
    expect(r.seen.map((q) => q.answer)).toEqual(["nodata"]);
  });

  test.each(["HTTPS", "MX", "SRV", "CNAME", "SOA", "CAA"])("has no %s record: no ECH, no other endpoint", (type) => {
    expect(say(rig(), dnsQuery("billing.example", type === "HTTPS" ? "UNKNOWN_65" : type))).toMatchObject({
      rcode: "NOERROR",
      answers: [],
    });
  });

  test("keeps an answer for 5 to 30 seconds whatever is configured", () => {
    for (const [ttlS, ttl] of [
      [1, 5],
      [20, 20],
      [3_600, 30],
    ] as const)
      expect(say(rig({ ttlS }), dnsQuery("billing.example"))?.answers[0]?.ttl).toBe(ttl);
  });
});

describe("THREATS N8: DNS is no way out", () => {
  test("a name that no target lists does not exist, and says why to who understands", () => {
    const r = rig();
    const read = say(r, dnsQuery("secret.attacker.example", "A", EDNS));
    expect(read).toMatchObject({ rcode: "NXDOMAIN", answers: [] });
    const error = read?.additionals[0]?.options[0];
    expect(error?.code).toBe(15);
    expect(error?.data.readUInt16BE(0)).toBe(15);
    expect(error?.data.toString("latin1", 2)).toBe("sidegate: no target lists this name");
    expect(r.seen).toEqual([{ name: "secret.attacker.example", type: "A", answer: "nxdomain" }]);
  });

  test.each(["TXT", "NULL", "ANY", "AXFR", "IXFR"])("%s is refused for every name", (type) => {
    for (const name of ["billing.example", "attacker.example"]) {
      const r = rig();
      const read = say(r, dnsQuery(name, type, EDNS));
      expect(read).toMatchObject({ rcode: "REFUSED", answers: [] });
      expect(read?.additionals[0]?.options[0]?.data.readUInt16BE(0)).toBe(18);
      expect(r.seen).toEqual([{ name, type, answer: "refused" }]);
    }
  });

  test("other classes and opcodes are refused: version.bind tells nothing, nothing can be updated", () => {
    const r = rig();
    expect(
      say(r, encodeDns({ type: "query", questions: [{ name: "version.bind", type: "TXT", class: "CH" }] }))?.rcode,
    ).toBe("REFUSED");
    expect(
      say(r, encodeDns({ type: "query", flags: 5 << 11, questions: [{ name: "a.example", type: "SOA" }] }))?.rcode,
    ).toBe("NOTIMP");
    expect(r.seen.map((q) => q.answer)).toEqual(["refused", "refused"]);
  });

  test("an EDNS version of tomorrow is told so", () => {
    const additionals = [{ type: "OPT", name: ".", udpPayloadSize: 1232, ednsVersion: 1, flags: 0, options: [] }];
    const bytes = dnsQuery("billing.example", "A", { additionals });
    let rcode = -1;
    createAnswerer(rig())(bytes, null, (answer) => {
      rcode = ((answer[3] ?? 0) & 0xf) | ((answer.at(-6) ?? 0) << 4);
    });
    expect(rcode).toBe(16);
  });

  test("nothing is asked upstream, for no name, type or case", () => {
    const r = rig();
    for (const name of ["billing.example", "a.cdn.example", "b.attacker.example", "x.y.cdn.example", "BILLING.EXAMPLE"])
      for (const type of ["A", "AAAA", "TXT", "SRV", "MX"]) say(r, dnsQuery(name, type));
    expect(r.asked).toEqual([]);
  });

  test("labels of an allowed wildcard are bounded in number and length", () => {
    const r = rig();
    const answers = Array.from({ length: 10 }, (_, i) => say(r, dnsQuery(`chunk${i}.cdn.example`))?.rcode);
    expect(answers.filter((rcode) => rcode === "NOERROR")).toHaveLength(4);
    expect(answers.slice(4).every((rcode) => rcode === "SERVFAIL")).toBe(true);
    expect(say(r, dnsQuery(`${"d".repeat(60)}.cdn.example`))?.rcode).toBe("NXDOMAIN");
    expect(say(r, dnsQuery("a.b.cdn.example"))?.rcode).toBe("NXDOMAIN");
  });

  test("what the search list makes of a name is NXDOMAIN, and told apart from a denial", () => {
    const r = rig();
    for (const name of ["billing.example.agents.svc.cluster.local", "billing.example.cluster.local", "cluster.local"])
      expect(say(r, dnsQuery(name, "A", EDNS))).toMatchObject({ rcode: "NXDOMAIN", additionals: [{ options: [] }] });
    expect(r.seen.map((q) => q.answer)).toEqual(["search", "search", "search"]);
    expect(say(r, dnsQuery("notcluster.local"))?.rcode).toBe("NXDOMAIN");
    expect(r.seen.at(-1)?.answer).toBe("nxdomain");
  });

  test("what cannot be read is FORMERR, an answer sent to us is dropped, and nothing throws", () => {
    const r = rig();
    expect(say(r, Uint8Array.from([...dnsQuery("billing.example"), 1]))?.rcode).toBe("FORMERR");
    expect(say(r, encodeDns({ type: "response", questions: [{ name: "billing.example", type: "A" }] }))).toBeNull();
    const answer = createAnswerer(r);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat({ max: 33 }), (noise, cut) => {
        answer(Uint8Array.from([...dnsQuery("billing.example").subarray(0, cut), ...noise]), null, (bytes) => {
          expect(bytes.length).toBeLessThanOrEqual(512);
          decodeDns(bytes);
        });
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("under observation", () => {
  test("a name that nobody lists has an address, and is told apart; nothing is asked upstream", () => {
    const r = rig({ observe: true });
    expect(say(r, dnsQuery("new.example"))?.answers).toMatchObject([{ data: "240.240.0.1" }]);
    expect(say(r, dnsQuery("new.example", "AAAA"))?.answers).toMatchObject([{ data: "fd53:6467:6174:6500::1" }]);
    expect(say(r, dnsQuery("new.example", "MX"))).toMatchObject({ rcode: "NOERROR", answers: [] });
    expect(say(r, dnsQuery("new.example", "TXT"))?.rcode).toBe("REFUSED");
    expect(r.seen.map((q) => q.answer)).toEqual(["observed", "observed", "observed", "refused"]);
    expect(r.asked).toEqual([]);
  });

  test("the search list's names still do not exist, or a client would take the first of them", () => {
    const r = rig({ observe: true });
    expect(say(r, dnsQuery("new.example.svc.cluster.local"))?.rcode).toBe("NXDOMAIN");
    expect(r.seen.map((q) => q.answer)).toEqual(["search"]);
  });
});

describe("a target that answers with the upstream's addresses", () => {
  test("is answered what was resolved, each family its own", () => {
    const r = rig();
    expect(say(r, dnsQuery("up.example"))?.answers).toMatchObject([{ data: "93.184.216.34" }]);
    expect(say(r, dnsQuery("up.example", "AAAA"))?.answers).toMatchObject([{ data: "2606:2800::1" }]);
    expect(say(r, dnsQuery("up.example", "SRV"))?.answers).toEqual([]);
    expect(r.asked).toEqual(["up.example", "up.example"]);
    expect(r.seen.map((q) => q.answer)).toEqual(["upstream", "upstream", "nodata"]);
  });

  test("fails when nothing usable was found, and when too many wait", () => {
    expect(say(rig({ resolve: (_h, _t, then) => then(["127.0.0.1"]) }), dnsQuery("up.example"))?.rcode).toBe(
      "SERVFAIL",
    );
    const waiting: (() => void)[] = [];
    const r = rig({ resolve: (_h, _t, then) => waiting.push(() => then(["93.184.216.34"])) });
    const answer = createAnswerer(r);
    const said: string[] = [];
    for (let i = 0; i < 200; i++) answer(dnsQuery("up.example"), null, (bytes) => said.push(decodeDns(bytes).rcode));
    expect(said).toEqual(Array.from({ length: 72 }, () => "SERVFAIL"));
    for (const go of waiting) go();
    expect(said.filter((rcode) => rcode === "NOERROR")).toHaveLength(128);
  });
});

describe("over real sockets", () => {
  const open: Resolver[] = [];
  const clients: (UdpSocket | Socket)[] = [];
  afterEach(() => {
    for (const resolver of open.splice(0)) resolver.close();
    for (const client of clients.splice(0)) {
      if ("destroy" in client) client.destroy();
      else client.close();
    }
  });

  /** UDP and TCP on the same free port of 127.0.0.1. */
  async function serve(options: AnswerOptions): Promise<number> {
    const resolver = createResolver({ ...options, onFault: (error) => expect.fail(error.message) });
    open.push(resolver);
    for (let tries = 0; ; tries++) {
      const server = createServer();
      server.listen({ port: 0, host: "127.0.0.1" });
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      const socket = createSocket("udp4");
      try {
        socket.bind({ port, address: "127.0.0.1", exclusive: true });
        await once(socket, "listening");
      } catch (error) {
        server.close();
        if (tries > 20) throw error;
        continue;
      }
      resolver.serveTcp(server);
      resolver.serveUdp(socket);
      return port;
    }
  }

  async function tcp(port: number): Promise<Socket> {
    const socket = connect({ port, host: "127.0.0.1" });
    clients.push(socket);
    socket.on("error", () => {});
    await once(socket, "connect");
    return socket;
  }
  const framed = (message: Uint8Array): Buffer =>
    Buffer.concat([Buffer.of(message.length >> 8, message.length & 255), message]);
  async function readTcp(socket: Socket, count: number): Promise<DnsPacket[]> {
    let bytes = Buffer.alloc(0);
    const read: DnsPacket[] = [];
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      bytes = Buffer.concat([bytes, chunk as Buffer]);
      while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
        read.push(decodeDns(bytes.subarray(2, 2 + bytes.readUInt16BE(0))));
        bytes = bytes.subarray(2 + bytes.readUInt16BE(0));
      }
      if (read.length >= count) return read;
    }
    return read;
  }

  test("a real client resolves an allowed name and is told that a denied one does not exist", async () => {
    const port = await serve(rig());
    const client = new CaresResolver({ timeout: 5_000, tries: 1 });
    client.setServers([`127.0.0.1:${port}`]);
    expect(await client.resolve4("billing.example")).toEqual(["240.240.0.1"]);
    expect(await client.resolve6("billing.example")).toEqual(["fd53:6467:6174:6500::1"]);
    await expect(client.resolve4("attacker.example")).rejects.toMatchObject({ code: "ENOTFOUND" });
    await expect(client.resolveMx("billing.example")).rejects.toMatchObject({ code: "ENODATA" });
    await expect(client.resolveTxt("billing.example")).rejects.toMatchObject({ code: "EREFUSED" });
  });

  test("garbage over UDP does not stop the next query from being answered", async () => {
    const port = await serve(rig());
    const socket = createSocket("udp4");
    clients.push(socket);
    for (const junk of [new Uint8Array(0), new Uint8Array(5), new Uint8Array(600).fill(0xc0), new Uint8Array(60_000)])
      socket.send(junk, port, "127.0.0.1");
    socket.send(dnsQuery("billing.example"), port, "127.0.0.1");
    for (;;) {
      const [message] = (await once(socket, "message")) as [Buffer];
      const read = decodeDns(message);
      if (read.id !== 77) continue;
      expect(read.answers).toMatchObject([{ data: "240.240.0.1" }]);
      return;
    }
  });

  test("TCP queries are answered in order, also when they come byte by byte or all at once", async () => {
    const port = await serve(rig());
    const socket = await tcp(port);
    socket.setNoDelay(true);
    for (const byte of framed(dnsQuery("billing.example"))) socket.write(Buffer.of(byte));
    socket.write(Buffer.concat([framed(dnsQuery("a.cdn.example")), framed(dnsQuery("nope.example"))]));
    const read = await readTcp(socket, 3);
    expect(read.map((r) => [r.questions[0]?.name, r.rcode])).toEqual([
      ["billing.example", "NOERROR"],
      ["a.cdn.example", "NOERROR"],
      ["nope.example", "NXDOMAIN"],
    ]);
  });

  test("a TCP message longer than any query ends its connection; others go on", async () => {
    const port = await serve(rig());
    const greedy = await tcp(port);
    greedy.write(Buffer.of(0xff, 0xff, 0, 0));
    await once(greedy, "close");
    const other = await tcp(port);
    other.write(framed(dnsQuery("billing.example")));
    expect((await readTcp(other, 1))[0]?.rcode).toBe("NOERROR");
  });

  test("binds loopback of both families on one port", async () => {
    const resolver = await listening();
    for (const server of [`127.0.0.1:${resolver.port}`, `[::1]:${resolver.port}`]) {
      const client = new CaresResolver({ timeout: 5_000, tries: 1 });
      client.setServers([server]);
      expect(await client.resolve4("billing.example")).toEqual(["240.240.0.1"]);
    }
  });

  /** A port that is free for TCP may be taken for UDP: the next one then. */
  async function listening(): Promise<{ readonly port: number }> {
    for (let tries = 0; ; tries++) {
      const resolver = createResolver({ ...rig(), onFault: () => {} });
      open.push(resolver);
      try {
        return { port: await resolver.listen(0) };
      } catch (error) {
        if (tries > 20) throw error;
      }
    }
  }
});
