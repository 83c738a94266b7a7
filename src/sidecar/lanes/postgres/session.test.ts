/** Sessions without a network: what is said in which order, and what is a fault. Real servers: test/integration/postgres-*.test.ts. */
import { beforeAll, describe, expect, test } from "vitest";
import type { Credential } from "#contract/credential.ts";
import type { Target } from "#contract/target.ts";
import { Bench, type Setting } from "../../../../test/conformance/ports.ts";
import {
  AUTHENTICATION_OK,
  keyDataText,
  md5RequestText,
  readNotice,
  readyText,
  saslRequestText,
} from "./codec/backend.ts";
import { executeText, parseText, queryText, SYNC, TERMINATE } from "./codec/frontend.ts";
import { SSL_REQUEST, startupText } from "./codec/startup.ts";
import { int16, int32, message } from "./codec/text.ts";
import { createPostgresLane } from "./lane.ts";
import { readParserFile } from "./sql/parser-file.ts";
import { createSqlReader } from "./sql/reader.ts";

const reader = createSqlReader({ parserFile: readParserFile });
beforeAll(() => reader.load());

const TARGET: Target = { name: "db", hosts: ["db.test"], ports: [5_432] };
const STARTUP = startupText({
  minor: 0,
  parameters: [
    ["user", "agent"],
    ["database", "shop"],
  ],
});

function bench(setting: Partial<Setting> = {}): Bench {
  return new Bench((clock) => createPostgresLane({ reader, clock }), {
    host: "db.test",
    port: 5_432,
    target: TARGET,
    ...setting,
  });
}

/** Lets a leg be secured: what it was told to do is written down, and `secured` is the test's to call. */
function securable(leg: object): { started: number } {
  const seen = { started: 0 };
  Object.assign(leg, { startTls: () => void seen.started++ });
  return seen;
}

function isSecured(leg: object): void {
  Object.defineProperty(leg, "tls", { value: { sni: "db.test", alpn: null, endPoint: new Uint8Array(32) } });
}

function secret(): Credential & { readonly reveals: () => number } {
  let count = 0;
  return {
    name: "db",
    version: 1,
    kind: "password",
    user: "svc",
    field: null,
    prefix: null,
    database: null,
    certificate: null,
    reveal: () => {
      count++;
      return "the-password";
    },
    toJSON: () => "[credential]",
    reveals: () => count,
  };
}

const fatal = (text: string): string | undefined => {
  const at = text.indexOf("E\0");
  return at < 0 ? undefined : readNotice(text.slice(at + 5))?.get("M");
};

function login(b: Bench): void {
  b.say(STARTUP);
  b.upstream.events.opened();
  b.upstream.answer(AUTHENTICATION_OK + keyDataText(1, "key!") + readyText("I"));
  b.forget();
}

describe("row Q10: TLS in-band", () => {
  test("is answered when the upstream has it, and both legs are secured before anything else is said", () => {
    const b = bench();
    const agent = securable(b.agent);
    b.say(SSL_REQUEST);
    const upstream = securable(b.upstream);
    b.upstream.events.opened();
    expect([b.sent, b.agent.text]).toEqual([SSL_REQUEST, ""]);
    b.upstream.answer("S");
    expect([upstream.started, agent.started]).toEqual([1, 0]);
    isSecured(b.upstream);
    b.upstream.events.secured({ sni: null, alpn: null, endPoint: null });
    expect([b.agent.text, agent.started]).toEqual(["S", 1]);
    isSecured(b.agent);
    b.session.secured({ sni: "db.test", alpn: null, endPoint: null });
    b.say(STARTUP);
    expect(b.sent).toContain("user\0agent\0");
    b.session.failed("reset");
  });

  test("plaintext behind an SSLRequest is a fault, in one piece with it or after it", () => {
    for (const pieces of [[SSL_REQUEST + STARTUP], [SSL_REQUEST, STARTUP], [SSL_REQUEST, "x"]]) {
      const b = bench();
      const agent = securable(b.agent);
      for (const piece of pieces) b.say(piece);
      for (const u of b.upstreams) {
        securable(u);
        u.events.opened();
        u.answer("S");
        u.events.secured({ sni: null, alpn: null, endPoint: null });
      }
      expect(agent.started).toBe(0);
      expect(fatal(b.agent.text)).toMatch(/plaintext behind SSLRequest/);
      expect(b.sent).not.toContain("agent");
      expect(b.judge.refused.map((r) => r.code)).toEqual(["protocol_violation"]);
      b.session.failed("reset");
    }
  });

  test("more than one byte for an answer to ours is a fault, and the agent is told inside TLS", () => {
    const b = bench();
    const agent = securable(b.agent);
    b.say(SSL_REQUEST);
    const upstream = securable(b.upstream);
    b.upstream.events.opened();
    b.upstream.answer(`S${AUTHENTICATION_OK}`);
    expect([upstream.started, agent.started, b.agent.text]).toEqual([0, 1, "S"]);
    isSecured(b.agent);
    b.session.secured({ sni: "db.test", alpn: null, endPoint: null });
    b.say(STARTUP);
    expect(fatal(b.agent.text.slice(1))).toMatch(/plaintext before TLS/);
    b.session.failed("reset");
  });

  test("an upstream without it makes the agent decide, unless the target demands it", () => {
    const b = bench();
    b.say(SSL_REQUEST);
    b.upstream.events.opened();
    b.upstream.answer("N");
    expect(b.agent.text).toBe("N");
    b.say(STARTUP);
    expect(b.sent).toContain("user\0agent\0");
    b.session.failed("reset");

    const strict = bench({ target: { ...TARGET, upstream: { tls: true } } });
    strict.say(STARTUP);
    strict.upstream.events.opened();
    strict.upstream.answer("N");
    expect(strict.sent).toBe(SSL_REQUEST);
    expect(fatal(strict.agent.text)).toMatch(/the upstream has no TLS/);
    strict.session.failed("reset");
  });

  test("what an agent said in TLS is not said in the clear to an upstream without it", () => {
    const b = bench({ secure: true });
    isSecured(b.agent);
    b.say(STARTUP);
    b.upstream.events.opened();
    b.upstream.answer("N");
    expect(b.sent).toBe(SSL_REQUEST);
    expect(fatal(b.agent.text)).toMatch(/the upstream has no TLS/);
    b.session.failed("reset");
  });

  test("a second SSLRequest, one in TLS, and one behind GSSENCRequest's are told apart", () => {
    const twice = bench({ target: { ...TARGET, tls: "none" } });
    twice.say(int32(8) + int32(80_877_104));
    twice.say(SSL_REQUEST);
    expect([twice.agent.text, twice.upstreams.length]).toEqual(["NN", 0]);
    twice.say(SSL_REQUEST);
    expect(twice.agent.endedByLane).toBe(true);
    const inside = bench({ secure: true });
    isSecured(inside.agent);
    inside.say(SSL_REQUEST);
    expect(inside.agent.endedByLane).toBe(true);
  });
});

describe("row Q10: a credential", () => {
  test("is not revealed without TLS, to whoever asks for md5, clear text or nothing, or to an unknown mechanism", () => {
    for (const request of [
      md5RequestText("salt"),
      message("R", int32(3)),
      AUTHENTICATION_OK,
      saslRequestText(["OAUTHBEARER"]),
      message("R", int32(7)),
    ]) {
      const credential = secret();
      const b = bench({ credential });
      b.say(STARTUP);
      securable(b.upstream);
      b.upstream.events.opened();
      b.upstream.answer("S");
      isSecured(b.upstream);
      b.upstream.events.secured({ sni: null, alpn: null, endPoint: null });
      expect(b.sent).toContain("user\0svc\0");
      b.upstream.answer(request);
      expect([credential.reveals(), fatal(b.agent.text)]).toEqual([0, expect.stringMatching(/credential_refused/)]);
      expect(b.upstream.resetByLane).toBe(true);
      b.session.failed("reset");
    }
    const credential = secret();
    const b = bench({ credential });
    b.say(STARTUP);
    b.upstream.events.opened();
    b.upstream.answer("N");
    expect([credential.reveals(), b.sent]).toEqual([0, SSL_REQUEST]);
    b.session.failed("reset");
  });

  test("is bound to the upstream's certificate where the upstream can", () => {
    const b = bench({ credential: secret() });
    b.say(STARTUP);
    securable(b.upstream);
    b.upstream.events.opened();
    b.upstream.answer("S");
    isSecured(b.upstream);
    b.upstream.events.secured({ sni: null, alpn: null, endPoint: null });
    b.upstream.answer(saslRequestText(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]));
    expect(b.sent).toContain("SCRAM-SHA-256-PLUS\0");
    expect(b.sent).toContain("p=tls-server-end-point,,");
    expect(b.sent).not.toContain("the-password");
    b.session.failed("reset");
  });

  test("that a target has and no policy puts in keeps the agent out", () => {
    const b = bench({ target: { ...TARGET, credential: "db" } });
    b.say(STARTUP);
    expect([b.upstreams.length, fatal(b.agent.text)]).toEqual([
      0,
      expect.stringMatching(/no policy puts it in|credential_missing/),
    ]);
  });
});

describe("a held statement", () => {
  test("of a batch goes on with everything that waited for it, in order", () => {
    const b = bench();
    login(b);
    b.judge.answers = ["hold"];
    b.say(parseText("", "select 1", int16(0)) + message("B", `\0\0${int16(0).repeat(3)}`) + executeText("", 0) + SYNC);
    expect(b.sent).toBe("");
    b.time.pass(31_000);
    expect(b.agent.text.match(/waiting for approval \(held-\d+\)/g)?.length).toBe(2);
    const [entry] = b.judge.held;
    if (entry === undefined) throw new Error("nothing is held");
    entry.abandoned = "settled";
    entry.waiter.settled(entry.held, b.judge.permit("ask"));
    expect(b.sent.replaceAll(/[^A-Z]/g, "")).toBe("PBES");
    b.upstream.answer(message("1", "") + message("2", "") + message("C", "SELECT 1\0") + readyText("I"));
    expect(b.judge.statuses).toEqual(["SELECT 1"]);
  });

  test("of a Query is given up with those before it when its client leaves", () => {
    const b = bench();
    login(b);
    b.judge.answers = ["allow", "hold"];
    b.say(queryText("select 1; select 2"));
    expect(b.judge.held.length).toBe(1);
    b.session.ended();
    expect([b.sent, b.judge.held[0]?.abandoned, b.judge.statuses]).toEqual(["", "client-left", ["not-sent"]]);
  });

  test("covers text, parameters and what the session did before", () => {
    const bodyOf = (before: readonly string[], text: string, parameter: string): string | null => {
      const b = bench();
      login(b);
      for (const sql of before) {
        b.say(queryText(sql));
        b.upstream.answer(message("C", "OK\0") + readyText("I"));
      }
      b.judge.answers = ["hold"];
      b.say(
        parseText("", text, int16(0)) +
          message("B", `\0\0${int16(0)}${int16(1)}${int32(parameter.length)}${parameter}${int16(0)}`) +
          executeText("", 0) +
          SYNC,
      );
      const body = b.judge.asked.at(-1)?.body ?? null;
      b.session.failed("reset");
      return body;
    };
    const base = bodyOf([], "delete from t where a = $1", "1");
    expect(base).toMatch(/^[0-9a-f]{64}$/);
    expect(bodyOf([], "delete from t where a = $1", "1")).toBe(base);
    const others = [
      bodyOf([], "delete from t where a = $1", "2"),
      bodyOf([], "delete from t where  a = $1", "1"),
      bodyOf(["set search_path = other"], "delete from t where a = $1", "1"),
      bodyOf(["create temp table t (a int)"], "delete from t where a = $1", "1"),
    ];
    expect(new Set([base, ...others]).size).toBe(5);
    expect(bodyOf(["select 1"], "delete from t where a = $1", "1")).toBe(base);
  });
});

test("a Terminate goes on, and both legs end", () => {
  const b = bench();
  login(b);
  b.say(TERMINATE);
  expect([b.sent, b.upstream.endedByLane, b.upstream.released, b.agent.endedByLane]).toEqual([
    TERMINATE,
    true,
    false,
    true,
  ]);
});

test("a client that says nothing is told so when its time for the start-up is over", () => {
  const b = bench();
  b.say(STARTUP.slice(0, 5));
  b.time.pass(10_100);
  expect([b.agent.endedByLane, b.judge.refused.map((r) => r.code)]).toEqual([true, ["header_timeout"]]);
});
