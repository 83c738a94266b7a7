import { Buffer } from "node:buffer";
import * as fc from "fast-check";
import { assert, describe, expect, test } from "vitest";
import {
  clientHello,
  encryptedHello,
  extension,
  helloMessage,
  protocols,
  record,
  records,
  serverName,
} from "../../../test/support/client-hello.ts";
import { hidesName, MAX_HEAD_BYTES, MAX_HELLO_BYTES, readClientHello } from "./client-hello.ts";

const HELLO = clientHello({ extensions: [serverName("api.example.com"), protocols("h2", "http/1.1")] });
const hello = { kind: "hello", hello: { sni: "api.example.com", alpn: ["h2", "http/1.1"], ech: false } } as const;

const padding = (length: number) => extension(21, Buffer.alloc(length));
const why = (bytes: Uint8Array): string => {
  const reading = readClientHello(bytes);
  return reading.kind === "malformed" ? reading.why : reading.kind;
};

test("reads the name and the offered protocols", () => {
  expect(readClientHello(HELLO)).toEqual(hello);
});

test("a hello without extensions has no name", () => {
  const none = { kind: "hello", hello: { sni: null, alpn: [], ech: false } };
  expect(readClientHello(clientHello({ block: null }))).toEqual(none);
  expect(readClientHello(clientHello())).toEqual(none);
});

test("every prefix asks for more, and never for less than it has or more than there is", () => {
  for (const whole of [HELLO, records(helloMessage({ extensions: [serverName("a.example")] }), 7)])
    for (let length = 0; length < whole.length; length++) {
      const reading = readClientHello(whole.subarray(0, length));
      assert(reading.kind === "more");
      expect(reading.atLeast).toBeGreaterThan(length);
      expect(reading.atLeast).toBeLessThanOrEqual(whole.length);
      // What it says is not enough is not enough.
      expect(readClientHello(whole.subarray(0, reading.atLeast - 1)).kind).toBe("more");
    }
});

test("one that is split over records reads like one that is not, at every split", () => {
  const message = helloMessage({ extensions: [serverName("api.example.com"), protocols("h2", "http/1.1")] });
  for (let at = 1; at < message.length; at++)
    expect(readClientHello(Buffer.concat([record(message.subarray(0, at)), record(message.subarray(at))]))).toEqual(
      hello,
    );
  for (let size = Math.ceil(message.length / 32); size < message.length; size++)
    expect(readClientHello(records(message, size))).toEqual(hello);
});

test("more than 32 records are refused, however small the hello", () => {
  expect(why(records(helloMessage(), 1))).toBe("ClientHello in too many records");
});

describe("the length of a hello is bounded", () => {
  const fill = (body: number) => {
    const empty = helloMessage({ extensions: [padding(0)] }).length - 4;
    return helloMessage({ extensions: [padding(body - empty)] });
  };

  test("at the cap it is read, over it it is refused at the header", () => {
    expect(readClientHello(records(fill(MAX_HELLO_BYTES), 16_000)).kind).toBe("hello");
    expect(why(records(fill(MAX_HELLO_BYTES + 1), 16_000).subarray(0, 9))).toBe("ClientHello too long");
  });

  test("no head that is still incomplete is longer than the bound that is given to the reader", () => {
    const message = fill(MAX_HELLO_BYTES);
    const most = records(message, Math.ceil(message.length / 32));
    expect(most.length).toBeLessThanOrEqual(MAX_HEAD_BYTES);
    expect(readClientHello(most).kind).toBe("hello");
  });

  test.each([0, 0xffffff])("a message length of %i is refused", (length) => {
    const bytes = Buffer.from(HELLO);
    bytes.writeUIntBE(length, 6, 3);
    expect(readClientHello(bytes).kind).toBe("malformed");
  });

  test.each([
    [0, "malformed"],
    [16_385, "malformed"],
    [0xffff, "malformed"],
  ])("a record length of %i is refused", (length, kind) => {
    const bytes = Buffer.from(HELLO);
    bytes.writeUInt16BE(length, 3);
    expect(readClientHello(bytes).kind).toBe(kind);
  });
});

describe("what two readers could read differently is refused", () => {
  test.each<[string, Uint8Array, string]>([
    [
      "the name extension twice",
      clientHello({ extensions: [serverName("a.example"), serverName("b.example")] }),
      "extension given twice",
    ],
    [
      "an unknown extension twice",
      clientHello({ extensions: [extension(77, Buffer.of(1)), extension(77, Buffer.of(1))] }),
      "extension given twice",
    ],
    ["two names in one list", clientHello({ extensions: [serverName("a.example", "b.example")] }), "server name"],
    ["a name list without a name", clientHello({ extensions: [extension(0, Buffer.of(0, 0))] }), "server name"],
    ["a name extension without a list", clientHello({ extensions: [extension(0, Buffer.alloc(0))] }), "server name"],
    [
      "a name of another type",
      clientHello({ extensions: [extension(0, Buffer.from("00040100016100", "hex").subarray(0, 6))] }),
      "server name",
    ],
    [
      "bytes after the name list",
      clientHello({ extensions: [extension(0, Buffer.concat([serverName("a.example").data, Buffer.of(0)]))] }),
      "server name",
    ],
    ["an empty protocol name", clientHello({ extensions: [protocols("")] }), "protocol list"],
    ["an empty protocol list", clientHello({ extensions: [protocols()] }), "protocol list"],
    ["an inner hello in the open", clientHello({ extensions: [extension(0xfe0d, Buffer.of(1))] }), "encrypted hello"],
    ["an empty encrypted hello", clientHello({ extensions: [extension(0xfe0d, Buffer.alloc(0))] }), "encrypted hello"],
    ["bytes after the extensions", clientHello({ after: Buffer.of(0) }), "ClientHello length"],
    ["an extension block longer than the message", clientHello({ block: Buffer.of(0, 9, 0, 0) }), "ClientHello length"],
    ["an extension longer than the block", clientHello({ block: Buffer.of(0, 4, 0, 0, 0, 9) }), "extension length"],
    ["half an extension header", clientHello({ block: Buffer.of(0, 3, 0, 0, 0) }), "extension length"],
    ["an odd cipher list", clientHello({ ciphers: Buffer.of(1, 2, 3) }), "cipher suites"],
    ["no cipher", clientHello({ ciphers: Buffer.alloc(0) }), "cipher suites"],
    ["no compression method", clientHello({ compression: Buffer.alloc(0) }), "compression methods"],
    ["a session id of 33 bytes", clientHello({ sessionId: Buffer.alloc(33) }), "session id"],
    ["SSL 3.0", clientHello({ version: 0x0300 }), "protocol version"],
    ["a version from the future", clientHello({ version: 0x0304 }), "protocol version"],
    [
      "a second message in the same record",
      record(Buffer.concat([helloMessage(), helloMessage()])),
      "bytes after the ClientHello",
    ],
    [
      "a record of another kind in between",
      Buffer.concat([
        record(helloMessage().subarray(0, 9)),
        record(Buffer.of(1), 20),
        record(helloMessage().subarray(9)),
      ]),
      "another record inside the ClientHello",
    ],
    [
      "an empty record in between",
      Buffer.concat([record(helloMessage().subarray(0, 9)), record(Buffer.alloc(0))]),
      "record length",
    ],
  ])("%s", (_, bytes, reason) => {
    expect(why(bytes)).toBe(reason);
  });

  test.each([
    "a b",
    "a\0.example",
    "a.example\0.evil",
    "evil.example/x",
    "-a.example",
    "a-.example",
    "a..example",
    ".example",
    ".",
    "",
    "ä.example",
    "a.example:443",
    "*.example",
    "x".repeat(64),
    `${"a.".repeat(127)}a`,
    "a\r\nb",
    "1.2.3",
    "127.1",
    "0x7f.1",
    "010.0.0.1",
    "::1",
  ])("the name %j", (name) => {
    expect(why(clientHello({ extensions: [serverName(name)] }))).toBe("server name");
  });
});

test.each([
  ["API.Example.COM", "api.example.com"],
  ["a.example.", "a.example"],
  ["xn--bcher-kva.example", "xn--bcher-kva.example"],
  ["_dmarc.a_b.example", "_dmarc.a_b.example"],
  [`${"a.".repeat(126)}a`, `${"a.".repeat(126)}a`],
])("the name %s is read as %s", (said, name) => {
  expect(readClientHello(clientHello({ extensions: [serverName(said)] }))).toMatchObject({ hello: { sni: name } });
});

test("GREASE values are no protocols", () => {
  const reading = readClientHello(clientHello({ extensions: [protocols("\x2a\x2a", "h2", "\x2a\x3a")] }));
  expect(reading).toMatchObject({ hello: { alpn: ["h2", "\x2a\x3a"] } });
});

test("an encrypted hello hides the name from whoever does not answer TLS; where we answer, nobody can open it", () => {
  const reading = readClientHello(clientHello({ extensions: [serverName("public.example"), encryptedHello()] }));
  expect(reading).toMatchObject({ hello: { sni: "public.example", ech: true } });
  assert(reading.kind === "hello");
  expect(hidesName(reading.hello, false)).toBe(true);
  expect(hidesName(reading.hello, true)).toBe(false);
});

test("what is no handshake record is left to the lanes", () => {
  for (const text of [
    "GET / HTTP/1.1\r\n",
    "\x15\x03\x01\x00\x02\x01\x00",
    "\x16\x02",
    "\x16\x03\x00\x00\x01\x00\x00\x00",
  ])
    expect(readClientHello(Buffer.from(text, "latin1")).kind).toBe("no");
});

describe("whatever the bytes", () => {
  const same = (bytes: Uint8Array): void => {
    const whole = readClientHello(bytes);
    // Reading less first must not lead elsewhere: once it is decided, more bytes of the same head change nothing, but for
    // bytes that come after a complete hello in further records.
    for (let length = 0; length <= bytes.length; length++) {
      const part = readClientHello(bytes.subarray(0, length));
      if (part.kind !== "more" && part.kind !== "no") {
        expect(part).toEqual(whole);
        return;
      }
    }
  };

  test("garbage is never an exception, and a decision is never taken back", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), same), { numRuns: 300 });
  });

  test("nor is a hello with one byte changed", () => {
    fc.assert(
      fc.property(fc.nat(HELLO.length - 1), fc.nat(255), (at, value) => {
        const bytes = Buffer.from(HELLO);
        bytes[at] = value;
        same(bytes);
      }),
      { numRuns: 300 },
    );
  });

  test("nor one that begins rightly and goes on at random", () => {
    fc.assert(
      fc.property(fc.nat(HELLO.length), fc.uint8Array({ maxLength: 200 }), (keep, rest) => {
        same(Buffer.concat([HELLO.subarray(0, keep), rest]));
      }),
      { numRuns: 300 },
    );
  });
});
