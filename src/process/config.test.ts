import { describe, expect, test } from "vitest";
import {
  absolutePath,
  address,
  boolean,
  duration,
  endpoint,
  httpUrl,
  integer,
  type Kind,
  list,
  oneOf,
  port,
  problemText,
  readConfig,
  setting,
  text,
} from "./config.ts";

const SHAPE = {
  level: setting("X_LEVEL", oneOf("info", "debug"), { fallback: "info" }),
  port: setting("X_PORT", port()),
  wait: setting("X_WAIT", duration(100, 60_000), { fallback: 5_000 }),
  key: setting("X_KEY", text({ pattern: /^[a-f0-9]+$/, says: "hexadecimal" }), { secret: true, fallback: "" }),
};

test("reads every setting, and falls back where nothing or an empty string is given", () => {
  const reading = readConfig({ X_PORT: "8443", X_WAIT: "" }, SHAPE);
  expect(reading).toEqual({ ok: true, config: { level: "info", port: 8443, wait: 5_000, key: "" } });
  expect(reading.ok && Object.isFrozen(reading.config)).toBe(true);
});

test("reports all problems together, each with the variable and what to write", () => {
  const reading = readConfig({ X_LEVEL: "loud", X_WAIT: "1 week", X_KEY: "hunter2!" }, SHAPE);
  expect(reading).toEqual({
    ok: false,
    problems: [
      { variable: "X_LEVEL", message: 'X_LEVEL must be one of info, debug (it is "loud").' },
      { variable: "X_PORT", message: "X_PORT is missing: it must be a whole number from 1 to 65535." },
      { variable: "X_WAIT", message: 'X_WAIT must be a duration such as 10s, from 100ms to 60000ms (it is "1 week").' },
      { variable: "X_KEY", message: "X_KEY must be hexadecimal." },
    ],
  });
  expect(reading.ok ? "" : problemText(reading.problems).split("\n")).toHaveLength(4);
});

test("a value in a problem is escaped and cut; a secret one is not shown", () => {
  const shown = readConfig({ X_LEVEL: `\u001b[31m${"x".repeat(100)}`, X_PORT: "1" }, SHAPE);
  expect(shown).toMatchObject({ problems: [{ message: expect.stringMatching(/\(it is "\\u001b\[31mx{55}…"\)/) }] });
  const hidden = readConfig({ X_KEY: "hunter2!", X_PORT: "1" }, SHAPE);
  expect(JSON.stringify(hidden)).not.toContain("hunter2");
});

test("a value of unreasonable length is refused, whatever its kind", () => {
  expect(readConfig({ X_KEY: "a".repeat(65_537), X_PORT: "1" }, SHAPE)).toMatchObject({
    problems: [{ message: "X_KEY must be at most 65536 characters long." }],
  });
});

describe("kinds", () => {
  test.each<[string, Kind<unknown>, string, unknown]>([
    ["integer", integer(-5, 10), "-5", -5],
    ["boolean", boolean(), "false", false],
    ["path", absolutePath(), "/var/run/x", "/var/run/x"],
    ["duration", duration(0, 1e9), "250ms", 250],
    ["duration", duration(0, 1e9), "2h", 7_200_000],
    ["url", httpUrl(), "https://collector.example:8443/x", "https://collector.example:8443/x"],
    ["url", httpUrl({ insecure: true }), "http://127.0.0.1:1", "http://127.0.0.1:1"],
    ["address", address(), "fd00::1", "fd00::1"],
    ["endpoint", endpoint(), "[fd00::1]:53", "[fd00::1]:53"],
    ["endpoint", endpoint(), "10.0.0.1", "10.0.0.1"],
    ["list", list(port(), 3), "1, 2,3", [1, 2, 3]],
    ["text", text(), "ä b", "ä b"],
  ])("%s takes %#", (_, kind, value, expected) => {
    expect(kind.parse(value)).toEqual({ ok: true, value: expected });
  });

  test.each<[string, Kind<unknown>, string]>([
    ["integer", integer(0, 10), "11"],
    ["integer", integer(0, 10), "1e1"],
    ["integer", integer(0, 10), "0x1"],
    ["integer", integer(0, 10), " 1"],
    ["integer", integer(0, 10), "1.5"],
    ["integer", integer(0, 10), "١"],
    ["port", port(), "0"],
    ["port", port(), "65536"],
    ["boolean", boolean(), "yes"],
    ["path", absolutePath(), "relative"],
    ["path", absolutePath(), "/a/../b"],
    ["path", absolutePath(), "/a//b"],
    ["path", absolutePath(), "/"],
    ["path", absolutePath(), "/a\0b"],
    ["duration", duration(0, 1000), "2s"],
    ["duration", duration(0, 1000), "1"],
    ["duration", duration(0, 1000), "-1s"],
    ["url", httpUrl(), "http://x.example"],
    ["url", httpUrl(), "https://user:secret@x.example"],
    ["url", httpUrl(), "https://x.example/#a"],
    ["url", httpUrl(), "file:///etc/passwd"],
    ["url", httpUrl(), "x"],
    ["address", address(), "localhost"],
    ["endpoint", endpoint(), "10.0.0.1:"],
    ["list", list(port(), 2), "1,2,3"],
    ["list", list(port(), 2), "1,"],
    ["one of", oneOf("a", "b"), "A"],
    ["text", text(), "a\nb"],
    ["text", text({ maxLength: 2 }), "abc"],
  ])("%s refuses %#", (_, kind, value) => {
    expect(kind.parse(value).ok).toBe(false);
  });
});
