import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Clock } from "#core/clock.ts";
import { createLog, type Level, type LogOptions } from "./log.ts";

function setUp(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  let elapsed = 0;
  const clock: Clock = { wallMs: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6), elapsedMs: () => elapsed };
  const log = createLog({ write: (line) => void lines.push(line), level: "info", clock, ...options });
  return {
    log,
    lines,
    parsed: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>),
    pass: (ms: number) => {
      elapsed += ms;
    },
  };
}

test("a line is one JSON object, time first, with its fields", () => {
  const { log, lines } = setUp();
  log.info("bundle loaded", { revision: "r1", targets: 3, fresh: true, none: null, names: ["a", "b"], big: 5n });
  expect(lines).toEqual([
    '{"time":"2026-01-02T03:04:05.006Z","level":"info","event":"bundle loaded","revision":"r1","targets":3,"fresh":true,"none":null,"names":["a","b"],"big":5}\n',
  ]);
});

test("what is below the level is not written", () => {
  const levels: Level[] = ["debug", "info", "warn", "error"];
  const { log, parsed } = setUp({ level: "warn" });
  for (const level of levels) log[level]("x");
  expect(parsed().map((line) => line["level"])).toEqual(["warn", "error"]);
});

test("a child says where it is; nobody can rename time, level or event", () => {
  const { log, parsed } = setUp();
  log.child({ room: "tls" }).warn("x", { level: "none", event: "y" });
  expect(parsed()).toEqual([
    { time: "2026-01-02T03:04:05.006Z", level: "warn", event: "x", room: "tls", _level: "none", _event: "y" },
  ]);
});

describe("repeats", () => {
  test("are counted after the burst, and the count is written in the next minute", () => {
    const { log, parsed, pass } = setUp({ burst: 2 });
    for (let i = 0; i < 5; i++) log.warn("upstream refused", { i });
    log.warn("another");
    expect(parsed().map((line) => line["event"])).toEqual(["upstream refused", "upstream refused", "another"]);
    pass(60_000);
    log.warn("upstream refused");
    expect(parsed().at(-1)).toMatchObject({ event: "upstream refused", folded: 3 });
    pass(60_000);
    log.warn("upstream refused");
    expect(parsed().at(-1)).not.toHaveProperty("folded");
  });

  test("of a debug message that is not written cost nothing of another's", () => {
    const { log, lines } = setUp({ burst: 1 });
    log.debug("x");
    log.info("x");
    expect(lines).toHaveLength(1);
  });
});

describe("secrets", () => {
  test.each(["password", "Authorization", "api_key", "db.password", "clientSecret", "Cookies"])(
    "a field named %s is left out",
    (name) => {
      const { log, lines } = setUp();
      log.info("x", { [name]: "hunter2" });
      expect(lines[0]).toContain(`"${name}":"[redacted]"`);
    },
  );

  test.each([
    "GET https://bob:hunter2@x.example/ failed",
    "header was Bearer hunter2hunter2",
    "postgres://u:hunter2@db/x",
    "connect failed: password=hunter2 host=x",
    '{"api_key": "hunter2"}',
    "eyJhbGciOiJodW50ZXIyIn0.eyJzdWIiOiJodW50ZXIyIn0.hunter2",
    "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY-----\nhunter2",
  ])("in a text: %s", (text) => {
    const { log, lines } = setUp();
    log.error("x", { text, fault: new Error(text), list: [text] });
    expect(lines[0]).not.toContain("hunter2");
  });
});

test("an error is its name, code, message and causes; a bug also says where", () => {
  const { log, parsed } = setUp();
  const cause = Object.assign(new Error("no route"), { code: "EHOSTUNREACH" });
  log.warn("x", {
    fault: Object.assign(new Error("cannot ship", { cause }), { code: "ship" }),
    bug: new TypeError("oops"),
  });
  expect(parsed()[0]).toMatchObject({
    fault: "Error ship: cannot ship; because Error EHOSTUNREACH: no route",
    bug: expect.stringMatching(/^TypeError: oops \(at .*log\.test\.ts/),
  });
});

test("a line cannot be split or steer a terminal, whatever is logged", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 50 }),
    fc.string({
      unit: fc.constantFrom(...Array.from('\0\n\r\t\u001b\u007f\u0085\u009b\u2028\u2029\u202e\u2066\u200e\ufeff"\\a')),
      maxLength: 20,
    }),
  );
  fc.assert(
    fc.property(text, text, (name, value) => {
      const { log, lines } = setUp();
      log.info(value, { [name]: value });
      const [line = ""] = lines;
      expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\u2028\u2029\u200e\u202a-\u202e\u2066-\u2069\ufeff]/u);
      expect(() => JSON.parse(line) as unknown).not.toThrow();
    }),
  );
});

test("a long text is cut, and says how long it was", () => {
  const { log, parsed } = setUp();
  log.info("x", { text: "a".repeat(100_000), list: Array.from({ length: 60 }, () => "b") });
  expect(parsed()[0]?.["text"]).toBe(`${"a".repeat(2000)}… (100000 characters)`);
  expect(parsed()[0]?.["list"]).toContain("and 10 more");
});
