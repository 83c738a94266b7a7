/** Sessions without a network: what is said in which order, and what is a fault. Real servers: test/integration/postgres-*.test.ts. */
import { beforeAll, describe, expect, test } from "vitest";
import type { Credential } from "#contract/credential.ts";
import type { Target } from "#contract/target.ts";
import { Bench, type Setting } from "../../../../test/conformance/ports.ts";
import {
  AUTHENTICATION_OK,
  keyDataText,
  md5RequestText,
  noticeText,
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

const errorMessage = (state: string, text: string): string =>
  noticeText("E", [
    ["S", "FATAL"],
    ["V", "FATAL"],
    ["C", state],
    ["M", text],
  ]);

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

describe("startup settings", () => {
  const withSetting = (name: string, value: string): string =>
    startupText({
      minor: 0,
      parameters: [
        ["user", "agent"],
        ["database", "shop"],
        [name, value],
      ],
    });

  test("that are harmless ask nobody", () => {
    const b = bench();
    b.say(withSetting("statement_timeout", "5s"));
    expect(b.judge.asked).toEqual([]);
    b.upstream.events.opened();
    expect(b.sent).toContain("statement_timeout\u00005s\u0000");
    b.session.failed("reset");
  });

  test("that are not are judged before the upstream is dialled: denied, the client reads why", () => {
    const b = bench();
    b.judge.answers.splice(0, Infinity, "deny");
    b.say(withSetting("options", "-c myapp.tenant=7 -c role=owner"));
    expect(b.upstreams).toHaveLength(0);
    expect(fatal(b.agent.text)).toMatch(/A policy denies this/);
    expect(b.judge.asked).toHaveLength(1);
    const [asked] = b.judge.asked;
    expect([asked?.action, asked?.complete]).toEqual(["write", false]);
    expect(asked?.facts).toContain(`"text":"SET myapp.tenant TO '7'"`);
  });

  test("allowed, they go on, and each permit is finished", () => {
    const b = bench();
    b.judge.answers.splice(0, Infinity, "allow");
    b.say(withSetting("options", "-c myapp.tenant=7 -c role=owner"));
    expect(b.judge.asked.map(({ action }) => action)).toEqual(["write", "credential"]);
    b.upstream.events.opened();
    expect(b.sent).toContain("myapp.tenant\u00007\u0000role\u0000owner\u0000");
    b.session.failed("reset");
    expect(b.judge.open).toBe(0);
  });

  test("that a person would have to decide on are refused: nobody waits for a session", () => {
    const b = bench();
    b.judge.answers.splice(0, Infinity, "hold");
    b.say(withSetting("myapp.tenant", "7"));
    expect(b.upstreams).toHaveLength(0);
    expect(fatal(b.agent.text)).toMatch(/myapp.tenant needs an approval: SET it in the session/);
  });
});

describe("a credential that the upstream no longer takes", () => {
  const wrong = errorMessage("28P01", 'password authentication failed for user "svc"');
  const started = (): Bench => {
    const b = bench({
      credential: secret(),
      target: { ...TARGET, credential: "db", insecureCredential: true },
    });
    b.say(STARTUP);
    b.upstream.events.opened();
    b.upstream.answer("N");
    return b;
  };

  test("is asked for anew, once, and the client notices nothing", () => {
    const b = started();
    b.upstream.answer(wrong);
    expect([b.agent.text, b.upstreams.length, b.renewing.length]).toEqual(["", 1, 1]);
    b.renewing[0]?.({ ...secret(), user: "svc2", version: 2 });
    expect(b.upstreams).toHaveLength(2);
    b.upstream.events.opened();
    b.upstream.answer("N");
    expect(b.sent).toContain("user\u0000svc2\u0000");
    b.upstream.answer(AUTHENTICATION_OK + keyDataText(1, "key!") + readyText("I"));
    expect(b.agent.text).toContain(readyText("I"));
    b.session.failed("reset");
  });

  test("is not asked for a second time: the client reads what the upstream says", () => {
    const b = started();
    b.upstream.answer(wrong);
    b.renewing[0]?.({ ...secret(), version: 2 });
    b.upstream.events.opened();
    b.upstream.answer("N");
    b.upstream.answer(wrong);
    expect(b.renewing).toHaveLength(1);
    expect(fatal(b.agent.text)).toMatch(/password authentication failed/);
  });

  test("and for which there is no other is told; so is every other refusal, at once; and nothing happens once the client has left", () => {
    const none = started();
    none.upstream.answer(wrong);
    none.renewing[0]?.(null);
    expect(fatal(none.agent.text)).toMatch(/password authentication failed/);

    const other = started();
    other.upstream.answer(errorMessage("3D000", 'database "shop" does not exist'));
    expect(other.renewing).toHaveLength(0);
    expect(fatal(other.agent.text)).toMatch(/does not exist/);

    const left = started();
    left.upstream.answer(wrong);
    left.session.failed("reset");
    left.renewing[0]?.({ ...secret(), version: 2 });
    expect(left.upstreams).toHaveLength(1);
  });
});

describe("the database", () => {
  test("is the credential's where it names one, else the agent's", () => {
    for (const [database, expected] of [
      ["ledger", "ledger"],
      [null, "shop"],
    ] as const) {
      const b = bench({
        credential: { ...secret(), database },
        target: { ...TARGET, credential: "db", insecureCredential: true },
      });
      b.say(STARTUP);
      b.upstream.events.opened();
      b.upstream.answer("N");
      expect(b.sent).toContain(`user\u0000svc\u0000database\u0000${expected}\u0000`);
      b.session.failed("reset");
    }
  });
});

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

test("statements that came at once are judged in several turns, so that others have theirs, and all of them although their client left", () => {
  const b = bench();
  login(b);
  b.judge.answers = ["deny"];
  b.hand(queryText("drop table t").repeat(500));
  b.session.ended();
  const asked = [b.judge.asked.length];
  while (b.turn()) asked.push(b.judge.asked.length);
  expect(asked[0]).toBeLessThan(100);
  expect(asked.length).toBeGreaterThan(4);
  expect(asked.at(-1)).toBe(500);
  expect([b.agent.text.match(/42501/g)?.length, b.agent.endedByLane]).toEqual([500, true]);
});

test("a client that says nothing is told so when its time for the start-up is over", () => {
  const b = bench();
  b.say(STARTUP.slice(0, 5));
  b.time.pass(10_100);
  expect([b.agent.endedByLane, b.judge.refused.map((r) => r.code)]).toEqual([true, ["header_timeout"]]);
});

test("Syncs that nobody answers wait: what is remembered of each is many times its five bytes", () => {
  const b = bench();
  login(b);
  b.say(SYNC.repeat(10_000));
  expect(b.sent).toBe(SYNC.repeat(4_096));
  b.forget();
  b.upstream.answer(readyText("I").repeat(4_096));
  while (b.turn());
  expect(b.sent).toContain(SYNC.repeat(4_096));
});
