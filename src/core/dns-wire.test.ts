import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dnsQuery as ask, decodeDns as decode, EDNS, encodeDns as packet } from "../../test/support/dns-packet.ts";
import {
  DNS_TYPE,
  type DnsQuery,
  RCODE,
  readQuery,
  readResponse,
  readTarget,
  writeBareReply,
  writeQuery,
  writeReply,
} from "./dns-wire.ts";

const queryOf = (message: Uint8Array): DnsQuery => {
  const reading = readQuery(message);
  if (reading.kind !== "query") throw new Error(reading.kind);
  return reading.query;
};

describe("a query", () => {
  test("is read as dns-packet writes it, with its name in lower case", () => {
    const message = ask("API.Example.com", "AAAA", {
      additionals: [{ type: "OPT", name: ".", udpPayloadSize: 4096, flags: 0, options: [] }],
    });
    expect(queryOf(message)).toMatchObject({
      id: 77,
      opcode: 0,
      recursion: true,
      question: { name: "api.example.com", type: 28, class: 1 },
      edns: { payload: 4096, version: 0 },
    });
  });

  test("with a dot or an odd byte inside a label is no other name", () => {
    const message = Uint8Array.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0x61, 0x2e, 0x2a, 1, 0x62, 0, 0, 1, 0, 1]);
    expect(queryOf(message).question.name).toBe("a\\046\\042.b");
  });

  test.each([
    [
      "two questions",
      packet({
        type: "query",
        questions: [
          { name: "a", type: "A" },
          { name: "b", type: "A" },
        ],
      }),
    ],
    ["no question", packet({ type: "query", questions: [] })],
    ["an answer in it", ask("a", "A", { answers: [{ name: "a", type: "A", data: "1.2.3.4" }] })],
    ["bytes after it", Uint8Array.from([...ask("a"), 0])],
    ["a name cut short", ask("abcdef").subarray(0, 16)],
    ["no type", ask("a").subarray(0, 16)],
    ["a compressed name", Uint8Array.from([...ask("a").subarray(0, 12), 0xc0, 12, 0, 1, 0, 1])],
    ["a label of a reserved kind", Uint8Array.from([...ask("a").subarray(0, 12), 0x40, 0x61, 0, 0, 1, 0, 1])],
    ["a name of 256 bytes", packet({ type: "query", questions: [{ name: "a".repeat(63), type: "A" }] })],
  ])("with %s is malformed", (what, message) => {
    const long = [...message.subarray(0, 12), ...Array.from({ length: 4 }, () => [...message.subarray(12, 76)]).flat()];
    const bytes = what === "a name of 256 bytes" ? Uint8Array.from([...long, 0, 0, 1, 0, 1]) : message;
    expect(readQuery(bytes).kind).toBe("malformed");
  });

  test("that is an answer, or no header at all, is dropped", () => {
    expect(readQuery(packet({ type: "response", questions: [{ name: "a", type: "A" }] })).kind).toBe("drop");
    expect(readQuery(new Uint8Array(11)).kind).toBe("drop");
  });

  test("of random bytes never throws", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat({ max: 40 }), (noise, cut) => {
        readQuery(noise);
        readResponse(noise);
        const mixed = Uint8Array.from([...ask("a.example").subarray(0, cut), ...noise]);
        readQuery(mixed);
        readResponse(mixed);
      }),
      { numRuns: 2_000 },
    );
  });

  test("of ours is what dns-packet reads, and odd names are not asked", () => {
    const read = decode(writeQuery(4_660, "api.example.com", DNS_TYPE.A)!);
    expect(read).toMatchObject({ id: 4_660, flags: 0x100, questions: [{ name: "api.example.com", type: "A" }] });
    for (const bad of ["", ".", "a..b", "a.", "A.b", "a b", "é.b", `${"a".repeat(64)}.b`, "a.".repeat(127) + "abc"])
      expect(writeQuery(1, bad, 1), bad).toBeNull();
  });
});

describe("an answer of ours", () => {
  const v4 = Uint8Array.of(240, 240, 0, 7);

  test("echoes the question's case and is read by dns-packet", () => {
    const message = ask("aPi.eXample");
    const bytes = writeReply(message, queryOf(message), { rcode: 0, answers: [v4], ttlS: 15, extended: null }, 512);
    const read = decode(bytes);
    expect(read.questions[0]?.name).toBe("aPi.eXample");
    expect(read.answers).toMatchObject([{ name: "aPi.eXample", type: "A", ttl: 15, data: "240.240.0.7" }]);
    expect(read).toMatchObject({ id: 77, type: "response", rcode: "NOERROR", flag_ra: true, flag_rd: true });
    expect(read.additionals).toEqual([]);
  });

  test("says why in an extended error, to who speaks EDNS only", () => {
    const message = ask("evil", "A", EDNS);
    const reply = { rcode: RCODE.nxDomain, answers: [], ttlS: 15, extended: { code: 15, text: "not listed" } };
    const read = decode(writeReply(message, queryOf(message), reply, 512));
    expect(read.rcode).toBe("NXDOMAIN");
    const option = read.additionals[0]?.options[0];
    expect(option?.code).toBe(15);
    expect(option?.data.toString("latin1")).toBe("\u0000\u000fnot listed");
    const plain = ask("evil");
    expect(decode(writeReply(plain, queryOf(plain), reply, 512)).additionals).toEqual([]);
  });

  test("that does not fit is cut at a record and marked", () => {
    const message = ask("many");
    const answers = Array.from({ length: 60 }, () => v4);
    const bytes = writeReply(message, queryOf(message), { rcode: 0, answers, ttlS: 5, extended: null }, 512);
    expect(bytes.length).toBeLessThanOrEqual(512);
    expect(decode(bytes)).toMatchObject({ flag_tc: true });
    expect(decode(bytes).answers.length).toBeGreaterThan(10);
  });

  test("to a malformed query is a header", () => {
    expect(decode(writeBareReply(9, 0, RCODE.formErr))).toMatchObject({ id: 9, rcode: "FORMERR" });
  });
});

describe("an answer from a name server", () => {
  test("is read with its records, CNAMEs and the life of a no", () => {
    const message = packet({
      type: "response",
      id: 5,
      questions: [{ name: "www.example", type: "A" }],
      answers: [
        { name: "www.example", type: "CNAME", ttl: 60, data: "edge.example" },
        { name: "edge.example", type: "A", ttl: 30, data: "192.0.2.1" },
      ],
      authorities: [
        {
          name: "example",
          type: "SOA",
          ttl: 900,
          data: { mname: "a", rname: "b", serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 20 },
        },
      ],
    });
    const response = readResponse(message)!;
    expect(response).toMatchObject({ id: 5, truncated: false, rcode: 0, negativeTtlS: 20 });
    expect(response.answers.map((r) => [r.name, r.type, r.ttl])).toEqual([
      ["www.example", 5, 60],
      ["edge.example", 1, 30],
    ]);
    expect(readTarget(message, response.answers[0]!)).toBe("edge.example");
  });

  test("with a name that points to itself, forwards or in a circle is nothing", () => {
    const head = [0, 5, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0x61, 0, 0, 1, 0, 1];
    const record = (name: number[]): Uint8Array =>
      Uint8Array.from([...head, ...name, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 1, 2, 3, 4]);
    expect(readResponse(record([0xc0, 12]))?.answers[0]?.name).toBe("a");
    for (const name of [
      [0xc0, 19],
      [0xc0, 30],
      [1, 0x62, 0xc0, 19],
      [0xc0, 0],
      [0xc0, 5],
    ])
      expect(readResponse(record(name)), String(name)).toBeNull();
  });

  test("cut anywhere is nothing", () => {
    const message = packet({
      type: "response",
      questions: [{ name: "a.example", type: "A" }],
      answers: [{ name: "a.example", type: "A", ttl: 5, data: "192.0.2.1" }],
    });
    for (let i = 0; i < message.length; i++) expect(readResponse(message.subarray(0, i)), String(i)).toBeNull();
    expect(readResponse(message)).not.toBeNull();
  });
});
