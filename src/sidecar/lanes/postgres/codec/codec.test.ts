import { describe, expect, test } from "vitest";
import { KeptChunk } from "#core/kept-chunk.ts";
import * as backend from "./backend.ts";
import type { WireFault } from "./fault.ts";
import * as frontend from "./frontend.ts";
import { MessageReader, type MessageTaker } from "./reader.ts";
import { readOpening, startupText } from "./startup.ts";
import { fromUtf8, int16, int32, isLexedAlike, message, utf8 } from "./text.ts";

/** `SIDEGATE_FUZZ` sets how many inputs are tried; CI tries a million. */
const RUNS = Number(process.env["SIDEGATE_FUZZ"] ?? (process.env["CI"] === "true" ? 1_000_000 : 20_000));
const SEED = Number(process.env["SIDEGATE_FUZZ_SEED"] ?? 1);
const BOUND = 512;

/** Gathers what is short, lets the rest by in pieces, and writes everything down. */
class Taker implements MessageTaker {
  readonly seen: string[] = [];
  #piece = "";
  begins(_type: number, length: number): "gather" | "pieces" {
    return length <= BOUND ? "gather" : "pieces";
  }
  whole(_type: number, chunk: KeptChunk, from: number, to: number): null {
    this.seen.push(chunk.latin1(from, to));
    return null;
  }
  piece(_type: number, chunk: KeptChunk, from: number, to: number, left: number): null {
    this.#piece += chunk.latin1(from, to);
    if (left > 0) return null;
    this.seen.push(this.#piece);
    this.#piece = "";
    return null;
  }
}

/** What the reader makes of bytes in pieces of this size; and the fault that ended it. */
function cut(bytes: string, size: number): { readonly seen: readonly string[]; readonly fault: WireFault | null } {
  const taker = new Taker();
  const reader = new MessageReader(taker, BOUND);
  for (let start = 0; start < bytes.length; start += size) {
    const chunk = new KeptChunk(Buffer.from(bytes.slice(start, start + size), "latin1"));
    for (let at = 0; at < chunk.length; ) {
      const next = reader.read(chunk, at);
      if (typeof next === "string") return { seen: taker.seen, fault: next };
      if (next <= at) throw new Error("the reader stands still");
      at = next;
    }
  }
  return { seen: taker.seen, fault: null };
}

const MESSAGES = [
  frontend.queryText("select 1"),
  frontend.parseText("s", "select $1", int16(1) + int32(23)),
  frontend.bindText("p", "s", int16(0) + int16(1) + int32(2) + "42" + int16(1) + int16(1)),
  frontend.describeText({ what: "S", name: "s" }),
  frontend.executeText("p", 10),
  frontend.SYNC,
  frontend.saslInitialText("SCRAM-SHA-256", "n,,n=,r=abc"),
  backend.noticeText("E", [
    ["S", "ERROR"],
    ["C", "42501"],
    ["M", "no"],
  ]),
  backend.keyDataText(7, "abcd"),
  backend.saslRequestText(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]),
  message("T", `${int16(1)}name\0${int32(16_385)}${int16(2)}${int32(25)}${int16(-1)}${int32(-1)}${int16(0)}`),
  message("D", int16(2) + int32(-1) + int32(3) + "abc"),
  message("S", "client_encoding\0UTF8\0"),
  message("H", `\0${int16(2)}${int16(0)}${int16(0)}`),
  message("d", "x".repeat(2 * BOUND)),
];

const READERS: readonly ((body: string) => unknown)[] = [
  frontend.readQuery,
  frontend.readParse,
  frontend.readBind,
  frontend.readParameters,
  frontend.readNamed,
  frontend.readExecute,
  frontend.readSaslInitial,
  backend.readAuthentication,
  backend.readKeyData,
  backend.readParameterStatus,
  backend.readReady,
  backend.readCommandTag,
  backend.readNegotiation,
  backend.readRowDescription,
  backend.readDataRow,
  backend.readCopyOut,
  backend.readNotice,
  readOpening,
  fromUtf8,
];

describe("messages", () => {
  test("are cut the same whole, byte by byte and in any pieces", () => {
    const bytes = MESSAGES.join("");
    for (let size = 1; size <= bytes.length; size++)
      expect(cut(bytes, size), String(size)).toEqual({ seen: MESSAGES, fault: null });
  });

  test("whose length cannot be are a fault, wherever it stands", () => {
    for (const length of [0, 3, -1, 0x7fff_ffff, 0x4000_0001])
      for (const size of [1, 5, 100])
        expect(cut(`${MESSAGES[0]}Q${int32(length)}xxxx`, size), String(length)).toEqual({
          seen: [MESSAGES[0]],
          fault: "length",
        });
  });

  test("are read as they were written", () => {
    expect(frontend.readParse("s\0select $1\0\0\x01\0\0\0\x17")).toEqual({
      name: "s",
      text: "select $1",
      types: "\0\x01\0\0\0\x17",
    });
    const rest = int16(2) + int16(0) + int16(1) + int16(2) + int32(-1) + int32(2) + "\0\x07" + int16(0);
    expect(frontend.readParameters(rest)).toEqual([
      { binary: false, value: null },
      { binary: true, value: "\0\x07" },
    ]);
    expect(frontend.readExecute("p\0\0\0\0\x0a")).toEqual({ portal: "p", rows: 10 });
    expect(frontend.readNamed("Pname\0")).toEqual({ what: "P", name: "name" });
    expect(backend.readDataRow(int16(2) + int32(-1) + int32(3) + "abc")).toEqual([null, "abc"]);
    expect(backend.readCopyOut(`\x01${int16(1)}${int16(1)}`)).toEqual({ binary: true, columns: 1 });
    expect(backend.readRowDescription((MESSAGES[10] ?? "").slice(5))).toEqual([
      { name: "name", table: 16_385, column: 2, type: 25, size: -1, modifier: -1, format: 0 },
    ]);
    expect(readOpening(startupText({ minor: 2, parameters: [["user", "a"]] }))).toEqual({
      kind: "startup",
      startup: { minor: 2, parameters: [["user", "a"]] },
    });
  });

  test("with a field too few or too many are refused", () => {
    for (const body of ["", "x", "select 1", "a\0b\0"]) expect(frontend.readQuery(body), body).toBe("text");
    for (const body of ["", "\0", "\0x\0", "\0x\0\0\x01", "\0x\0\0\0x"])
      expect(typeof frontend.readParse(body)).toBe("string");
    for (const rest of [
      "",
      "\0\0",
      "\0\0\0\x01",
      `${int16(0)}${int16(1)}${int32(5)}abc`,
      `${int16(3)}${int16(0).repeat(3)}${int16(2)}`,
      `${int16(0)}${int16(1)}${int32(-2)}${int16(0)}`,
      `${int16(0)}${int16(0)}${int16(0)}x`,
    ])
      expect(frontend.readParameters(rest), JSON.stringify(rest)).toBe("count");
    for (const body of ["", "a", "a\0", "a\0b", "a\0b\0c"]) expect(backend.readParameterStatus(body), body).toBe(null);
    for (const body of ["", "\0\x01", "\0\x01a\0", "\0\0x"]) expect(backend.readRowDescription(body)).toBe(null);
    for (const body of ["", "SERROR", "SERROR\0", "\0x"]) expect(backend.readNotice(body), body).toBe(null);
  });
});

describe("text", () => {
  test("that is no UTF-8 is not read as something else", () => {
    expect(fromUtf8(utf8("grün 😀"))).toBe("grün 😀");
    expect(fromUtf8("\ufeffx".slice(1))).toBe("x");
    for (const bytes of ["\xff", "\xc0\x80", "\xed\xa0\x80", "\xf8\x88\x80\x80\x80", "a\xc3"])
      expect(fromUtf8(bytes)).toBe(null);
    expect(utf8("a\0b")).toBe("ab");
  });

  test("is lexed alike under every setting where it is ASCII without a backslash", () => {
    expect(isLexedAlike("select 'a' -- b")).toBe(true);
    for (const text of ["select 'a\\'", "select 'ü'", "\x83\x5c"]) expect(isLexedAlike(text)).toBe(false);
  });
});

test(`${RUNS} hostile inputs end in messages or a fault, never in an exception`, { timeout: 1_200_000 }, () => {
  let state = SEED >>> 0;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const pick = <T>(of: readonly T[]): T => of[random(of.length)] as T;
  const noise = (length: number): string => Array.from({ length }, () => String.fromCharCode(random(256))).join("");
  for (let i = 0; i < RUNS; i++) {
    let bytes = random(4) === 0 ? noise(random(40)) : pick(MESSAGES) + (random(2) === 0 ? pick(MESSAGES) : "");
    for (let changes = random(4); changes > 0 && bytes.length > 0; changes--) {
      const at = random(bytes.length);
      if (random(3) === 0) bytes = bytes.slice(0, at);
      else if (random(2) === 0) bytes = bytes.slice(0, at) + noise(1) + bytes.slice(at + 1);
      else bytes = bytes.slice(0, at) + noise(random(8)) + bytes.slice(at);
    }
    const whole = cut(bytes, Math.max(1, bytes.length));
    const pieces = cut(bytes, 1 + random(6));
    if (whole.fault !== pieces.fault || whole.seen.join("|") !== pieces.seen.join("|"))
      throw new Error(`read differently in pieces: ${JSON.stringify(bytes)}`);
    for (const seen of whole.seen) pick(READERS)(seen.slice(5));
    pick(READERS)(bytes);
  }
});
