import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Profile } from "#contract/policy-port.ts";
import { ASTERISK, readTarget } from "#core/request-target.ts";
import type { Dialect, Head } from "#sidecar/seam/exchange.ts";
import type { Operation } from "#sidecar/seam/verdict.ts";
import { createHttpDialect } from "./http.ts";

const reading = (...paths: string[]): Profile => ({
  revision: paths.join(),
  reads: (path) => paths.some((p) => path === p || p.startsWith(`${path}.`) || path.startsWith(`${p}.`)),
  mayHold: false,
  mayMask: false,
});
const ALL = reading("http");
const NOTHING = reading();

function head(method: string, raw: string, fields: readonly (readonly [string, string])[] = []): Head {
  const target = raw === "*" ? ASTERISK : readTarget(raw);
  if (typeof target === "string") throw new Error(target);
  return { method, scheme: "https", authority: "billing.test", path: raw, target, fields, field: () => null };
}

type Members = Record<string, unknown>;
const factsOf = (operation: Operation): Members => (JSON.parse(`{${operation.facts}}`) as { http: Members }).http;
const restOf = (operation: Operation): Members =>
  (JSON.parse(`{${operation.detail}}`) as { rest?: { http: Members } }).rest?.http ?? {};

/** Facts and rest laid over each other. */
function whole(operation: Operation): Members {
  const facts = factsOf(operation);
  const rest = restOf(operation);
  const both: Members = { ...rest, ...facts };
  for (const map of ["headers", "query"])
    if (facts[map] !== undefined || rest[map] !== undefined)
      both[map] = { ...(rest[map] as object | undefined), ...(facts[map] as object | undefined) };
  return both;
}

const ask = (h: Head, profile: Profile, dialect: Dialect = createHttpDialect()): Operation =>
  dialect.operation(h, null, profile);

describe("an exchange as policies read it", () => {
  test("has every member that the loaded policy reads", () => {
    const operation = ask(
      head("POST", "/v1/a%20b?x=1&x=2&y=%C3%A4+z", [
        ["Host", "billing.test"],
        ["Content-Type", "application/json"],
        ["Content-Length", "17"],
        ["Accept", "a"],
        ["accept", "b"],
        ["Cookie", "s=1"],
      ]),
      ALL,
    );
    expect(factsOf(operation)).toEqual({
      method: "POST",
      scheme: "https",
      host: "billing.test",
      path: "/v1/a b",
      segments: ["v1", "a b"],
      query: { x: ["1", "2"], y: ["ä z"] },
      headers: {
        host: "billing.test",
        "content-type": "application/json",
        "content-length": "17",
        accept: "a, b",
        cookie: "[redacted]",
      },
      contentType: "application/json",
      contentLength: 17,
      truncated: false,
    });
    expect(operation).toMatchObject({ protocol: "http", action: "write", complete: true, detail: "" });
  });

  test("leaves the rest to the record, in the same shape", () => {
    const h = head("GET", "/a?x=1", [["Accept", "*/*"]]);
    expect(factsOf(ask(h, reading("http.method", "http.path")))).toEqual({ method: "GET", path: "/a" });
    expect(restOf(ask(h, reading("http.method", "http.path")))).toEqual({
      scheme: "https",
      host: "billing.test",
      query: { x: ["1"] },
      headers: { accept: "*/*" },
    });
    expect(factsOf(ask(h, NOTHING))).toEqual({});
  });

  test("takes only the fields and parameters that a rule names, so that a request's own id spoils no cache", () => {
    const profile = reading("http.headers.x-team", "http.query.page");
    const operation = ask(
      head("GET", "/?page=2&nonce=77&odd%2Ename=1", [
        ["X-Team", "a"],
        ["X-Request-Id", "0815"],
      ]),
      profile,
    );
    expect(factsOf(operation)).toEqual({ headers: { "x-team": "a" }, query: { page: ["2"], "odd.name": ["1"] } });
    expect(whole(operation)).toMatchObject({ headers: { "x-request-id": "0815" }, query: { nonce: ["77"] } });
  });

  test("an empty map is there where the policy reads it: nothing is undefined", () => {
    expect(factsOf(ask(head("GET", "/"), reading("http.headers.x", "http.query.y")))).toEqual({
      headers: {},
      query: {},
    });
  });

  test("is the same whole for every policy", () => {
    const name = fc.constantFrom("Host", "X-A", "x-a", "Accept", "X-Long-Name-Of-A-Field", "Content-Type", "__proto__");
    const value = fc.string({ unit: fc.constantFrom("a", "b", '"', "\\", "\t", "\xff", " ", "%", ","), maxLength: 20 });
    const query = fc.string({ unit: fc.constantFrom("a", "b", "=", "&", "+", "%41", "%22", "_", "."), maxLength: 20 });
    const some = fc.subarray(["method", "scheme", "host", "path", "segments", "query", "headers.x-a", "truncated"]);
    const dialect = createHttpDialect();
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 6 }), query, some, (fields, text, paths) => {
        const h = head("GET", `/p/${text.replaceAll(/[^a-b]/g, "")}x?${text}`, fields);
        const all = whole(ask(h, ALL, dialect));
        const pruned = whole(ask(h, reading(...paths.map((p) => `http.${p}`)), dialect));
        for (const [member, said] of Object.entries(pruned)) expect(said, member).toEqual(all[member]);
        expect(pruned).toMatchObject({ method: "GET", host: "billing.test", path: all["path"] });
      }),
      { numRuns: 500 },
    );
  });
});

describe("a field in several spellings", () => {
  test("is one field, whatever was sent before", () => {
    const dialect = createHttpDialect();
    const spelt = (n: number): string =>
      Array.from("x-team-of-the-agent")
        .map((c, i) => ((n >> i) & 1 ? c.toUpperCase() : c))
        .join("");
    for (let n = 0; n < 2_000; n++) {
      const operation = ask(
        head("GET", "/", [
          [spelt(n), "a"],
          [spelt(n * 7 + 1), "b"],
          [`x-${n}`, "c"],
        ]),
        ALL,
        dialect,
      );
      expect(operation.facts).toContain(`"headers":{"x-team-of-the-agent":"a, b","x-${n}":"c"}`);
    }
  });

  test("is one field where its name is very long", () => {
    const name = `X-${"y".repeat(1_000)}`;
    const operation = ask(
      head("GET", "/", [
        [name, "a"],
        [name.toLowerCase(), "b"],
      ]),
      ALL,
    );
    expect(factsOf(operation)["headers"]).toEqual({ [name.toLowerCase()]: "a, b" });
  });
});

describe("what a request does", () => {
  test.each([
    ["GET", "read", true],
    ["HEAD", "read", true],
    ["OPTIONS", "read", true],
    ["POST", "write", true],
    ["PUT", "write", true],
    ["PATCH", "write", true],
    ["DELETE", "write", true],
    ["PURGE", "unknown", false],
    ["get", "unknown", false],
    ["constructor", "unknown", false],
  ])("%s is %s", (method, action, complete) => {
    expect(ask(head(method, "/"), ALL)).toMatchObject({ action, complete });
  });

  test.each([
    "X-HTTP-Method-Override",
    "x-http-method",
    "X-Method-Override",
    "X_HTTP_METHOD_OVERRIDE",
    "X-Original-URL",
    "X-Rewrite-Url",
    "X-Forwarded-Host",
  ])("is not known for sure where %s may change it", (name) => {
    expect(ask(head("GET", "/", [[name, "DELETE"]]), NOTHING)).toMatchObject({ action: "unknown", complete: false });
  });

  test.each(["/a;b", "/a%252fb"])("is not known for sure where servers read the path differently: %s", (path) => {
    expect(ask(head("GET", path), NOTHING)).toMatchObject({ action: "read", complete: false });
  });

  test.each(["a=1;b=2", "a=%ff"])("is not known for sure where servers read the query differently: %s", (query) => {
    expect(ask(head("GET", `/?${query}`), ALL).complete).toBe(false);
    expect(ask(head("GET", `/?${query}`), NOTHING).complete, "no rule reads it").toBe(true);
  });

  test("more parameters than can be told apart are truncated, and say so", () => {
    const many = (n: number): Operation =>
      ask(head("GET", `/?${Array.from({ length: n }, (_, i) => `p${i}=1`).join("&")}`), NOTHING);
    expect(many(256)).toMatchObject({ complete: true });
    expect(many(257)).toMatchObject({ complete: false });
    expect(restOf(many(257))["truncated"]).toBe(true);
  });

  test("carries a trace only where it is one", () => {
    const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    expect(ask(head("GET", "/", [["traceparent", trace]]), ALL).traceparent).toBe(trace);
    expect(ask(head("GET", "/", [["Traceparent", 'x","y']]), ALL).traceparent).toBe(null);
    expect(
      ask(
        head("GET", "/", [
          ["traceparent", trace],
          ["traceparent", trace],
        ]),
        ALL,
      ).traceparent,
    ).toBe(null);
  });
});

describe("a secret", () => {
  // Made of parts, so that nothing here looks like a real one.
  const S = "s3cr3t".concat("Value0123456789");
  const fields: [string, string][] = [
    ["Authorization", `Bearer ${S}`],
    ["Proxy-Authorization", `Basic ${S}`],
    ["Cookie", `session=${S}`],
    ["Set-Cookie", `session=${S}`],
    ["X-Api-Key", S],
    ["Ocp-Apim-Subscription-Key", S],
    ["X-Vault-Token", S],
    ["X-Amz-Security-Token", S],
    ["X-Client-Secret", S],
    ["X-Note", `bearer ${S}`],
    ["X-Form", `password=${S}&x=1`],
    ["Referer", `https://user:${S}@billing.test/`],
    ["X-Jwt", `eyJ${"a".repeat(20)}.${S}.${S}`],
  ];
  const queries = [
    "token",
    "key",
    "api_key",
    "apikey",
    "secret",
    "password",
    "sig",
    "signature",
    "access_token",
    "client_secret",
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "refresh_token",
  ];

  test.each(fields)("in the field %s is neither judged nor recorded", (name, value) => {
    for (const profile of [ALL, NOTHING]) {
      const operation = ask(head("GET", "/", [[name, value]]), profile);
      expect(operation.facts + operation.detail).not.toContain(S);
      expect(operation.facts + operation.detail).toContain("[redacted]");
    }
  });

  test.each(queries)("in the parameter %s is neither judged nor recorded", (name) => {
    for (const profile of [ALL, NOTHING]) {
      const operation = ask(head("GET", `/?a=1&${name}=${S}`), profile);
      expect(operation.facts + operation.detail).not.toContain(S);
      expect(whole(operation)["query"]).toEqual({ a: ["1"], [name]: ["[redacted]"] });
    }
  });

  test.each([
    ["an AWS key", `AKIA${"B".repeat(16)}`],
    ["a GitHub token", `ghp_${"b".repeat(36)}`],
    ["a JWT", `eyJ${"c".repeat(20)}.${"d".repeat(20)}.${"e".repeat(20)}`],
  ])("%s is recognised in values, parameters and paths", (_name, secret) => {
    for (const profile of [ALL, NOTHING]) {
      const operation = ask(head("GET", `/u/${secret}/x?q=${secret}`, [["X-Note", `see ${secret}.`]]), profile);
      expect(operation.facts + operation.detail).not.toContain(secret);
      expect(whole(operation)["path"]).toBe("/u/[redacted]/x");
    }
  });

  test("of one request is not told with the next one's fields", () => {
    const dialect = createHttpDialect();
    ask(head("GET", "/", [["X-A", "one"]]), ALL, dialect);
    expect(factsOf(ask(head("GET", "/", [["X-A", "two"]]), ALL, dialect))["headers"]).toEqual({ "x-a": "two" });
    expect(factsOf(ask(head("GET", "/", [["x-a", "three"]]), ALL, dialect))["headers"]).toEqual({ "x-a": "three" });
  });

  test("is not suspected in ordinary requests", () => {
    const operation = ask(
      head("GET", "/v1/tokens/count?page=2&sort=name", [
        ["User-Agent", "python-requests/2.31.0"],
        ["Accept", "application/json"],
        ["Idempotency-Key", "4711"],
        ["If-None-Match", '"abc"'],
      ]),
      ALL,
    );
    expect(operation.facts).not.toContain("[redacted]");
  });
});
