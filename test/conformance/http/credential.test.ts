/** Rows H3, H4 and H5 of the threat model: a credential that the gateway puts in, what an agent brings of its own, what comes back. */
import { describe, expect, test } from "vitest";
import { placeholderOf } from "#contract/credential.ts";
import type { Target } from "#contract/target.ts";
import { createHttpLane } from "#sidecar/lanes/http/lane.ts";
import { madeCredential } from "../../support/credential.ts";
import { Bench, type Setting } from "../ports.ts";

const SECRET = "tok/0123456789+abcdefXYZ=";
const OWN = placeholderOf("billing");
const HOST = "Host: billing.test\r\n";
const TARGET: Target = { name: "billing", hosts: ["billing.test"], ports: [443], credential: "billing" };
const JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYWxsb3J5In0.c2lnbmF0dXJl";

function bench(setting: Partial<Setting> = {}): Bench {
  const credential = madeCredential({ secret: SECRET });
  return new Bench((clock) => createHttpLane({ clock }), {
    port: 443,
    secure: true,
    target: TARGET,
    credential,
    ...setting,
  });
}

const get = (fields = "", target = "/a"): string => `GET ${target} HTTP/1.1\r\n${HOST}${fields}\r\n`;
const linesOf = (text: string): string[] => text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n");

describe("a credential goes into the request", () => {
  const put = (credential: Parameters<typeof madeCredential>[0], request = get()): string[] => {
    const b = bench({ credential: madeCredential(credential) });
    b.say(request);
    return linesOf(b.sent);
  };

  test("bearer, in place of its placeholder; compressed and partial answers are not asked for", () => {
    const fields = `Authorization: Bearer ${OWN}\r\nAccept-Encoding: gzip, br\r\nRange: bytes=0-1\r\nAccept: */*\r\n`;
    expect(put({ secret: SECRET }, get(fields))).toEqual([
      "GET /a HTTP/1.1",
      "Host: billing.test",
      "Accept: */*",
      `Authorization: Bearer ${SECRET}`,
      "Accept-Encoding: identity",
    ]);
  });

  test("header with a prefix, under whatever spelling the agent used", () => {
    expect(put({ kind: "header", field: "X-Api-Key", prefix: "v1 ", secret: SECRET }, get("x-api-key: x\r\n"))).toEqual(
      ["GET /a HTTP/1.1", "Host: billing.test", `X-Api-Key: v1 ${SECRET}`, "Accept-Encoding: identity"],
    );
  });

  test("basic, with its user", () => {
    const login = Buffer.from(`ada:${SECRET}`).toString("base64");
    expect(put({ kind: "basic", user: "ada", secret: SECRET })).toContain(`Authorization: Basic ${login}`);
  });

  test("query, encoded, in place of every parameter of that name", () => {
    const credential = { kind: "query", field: "key", secret: SECRET } as const;
    const encoded = encodeURIComponent(SECRET);
    expect(put(credential, get("", `/a?b=1&key=${OWN}&c=%20`))[0]).toBe(`GET /a?b=1&c=%20&key=${encoded} HTTP/1.1`);
    expect(put(credential, get("", "/a?k%65y=x"))[0]).toBe(`GET /a?key=${encoded} HTTP/1.1`);
    expect(put(credential)[0]).toBe(`GET /a?key=${encoded} HTTP/1.1`);
  });

  test("oauth2ClientCredentials, as a bearer token; clientCertificate, not in the request at all", () => {
    expect(put({ kind: "oauth2ClientCredentials", secret: SECRET })).toContain(`Authorization: Bearer ${SECRET}`);
    expect(put({ kind: "clientCertificate", certificate: "x", secret: "key" })).toEqual([
      "GET /a HTTP/1.1",
      "Host: billing.test",
      "Accept-Encoding: identity",
    ]);
  });

  test("with a body behind it, whole and in pieces", () => {
    for (const cut of [0, 40, 1_000]) {
      const b = bench();
      const request = `POST /a HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nhello`;
      b.say(request.slice(0, cut));
      b.say(request.slice(cut));
      expect(b.sent).toBe(
        `POST /a HTTP/1.1\r\n${HOST}Content-Length: 5\r\nAuthorization: Bearer ${SECRET}\r\nAccept-Encoding: identity\r\n\r\nhello`,
      );
    }
  });

  test("and into nothing that is judged or recorded", () => {
    const b = bench({ credential: madeCredential({ kind: "query", field: "key", secret: SECRET }) });
    b.say(get(`Authorization: Bearer ${OWN}\r\n`));
    expect(JSON.stringify([b.judge.asked, b.judge.finished, b.ports.credential(b.ports.connect)])).not.toContain(
      SECRET,
    );
  });
});

describe("H4: an authenticator of the agent's own, at a target with a credential", () => {
  const brought = (request: string, target = TARGET): unknown => {
    const b = bench({ target });
    b.say(request);
    return b.judge.asked[0]?.brought;
  };

  test.each([
    ["Authorization: Bearer mallory", "header authorization"],
    ["Authorization: Basic bWFsbG9yeTpz", "header authorization"],
    ["Cookie: session=1", "header cookie"],
    ["X-Api-Key: mallory", "header x-api-key"],
    ["X-Amz-Security-Token: x", "header x-amz-security-token"],
    ["PRIVATE-TOKEN: x", "header private-token"],
    [`X-Anything: ${JWT}`, "header x-anything"],
    [`Referer: https://x/?t=ghp_${"a".repeat(36)}`, "header referer"],
  ])("in a field: %s", (field, where) => {
    expect(brought(get(`${field}\r\n`))).toEqual({ foreign: [where], misplaced: [] });
  });

  test.each([
    ["/b?access_token=mallory", "query access_token"],
    ["/b?X-Amz-Algorithm=x&X-Amz-Credential=y&X-Amz-Signature=z", "query X-Amz-Credential, query X-Amz-Signature"],
    ["/b?se=2030&sp=r&sig=abc", "query sig"],
    ["/b?GoogleAccessId=x&Signature=y", "query GoogleAccessId, query Signature"],
    ["/b?a=1;api%5Fkey=x", "query api_key"],
    [`/b?q=${JWT}`, "query q"],
    [`/bot${JWT}/send`, "path"],
  ])("in the target: %s", (target, where) => {
    expect((brought(get("", target)) as { foreign: string[] }).foreign.join(", ")).toBe(where);
  });

  test.each([
    [`Authorization: Bearer ${OWN}`, "/a"],
    [`Authorization: ${OWN}`, "/a"],
    [`Authorization: Basic ${Buffer.from(`ada:${OWN}`).toString("base64")}`, "/a"],
    [`Authorization: Basic ${Buffer.from(`${OWN}:`).toString("base64")}`, "/a"],
    [`X-Api-Key: ${OWN}`, "/a"],
    [`Cookie: a=${OWN}; b=${OWN}`, "/a"],
    ["Accept: */*", `/a?key=${OWN}`],
    ["X-Ratelimit-Tokens: 1", "/a?page_token=abc&key=color"],
  ])("is not the placeholder, nor what only looks alike: %s %s", (field, target) => {
    expect(brought(get(`${field}\r\n`, target))).toBeUndefined();
  });

  test("is nobody's affair at a target without one", () => {
    const { credential: _, ...plain } = TARGET;
    expect(brought(get("Authorization: Bearer mine\r\n"), plain)).toBeUndefined();
  });

  test("with the request line: user and password in an absolute target are malformed", () => {
    const b = bench();
    b.say(`GET https://mallory:x@billing.test/ HTTP/1.1\r\n${HOST}\r\n`);
    expect(b.judge.refused[0]?.detail).toBe("userinfo");
    expect(b.upstreams).toHaveLength(0);
  });

  test("goes on without it where the gateway says so, fields and parameters", () => {
    const b = bench({ credential: null });
    b.judge.strip = true;
    b.say(get(`Cookie: a=1\r\nX-Note: ${JWT}\r\nAccept: */*\r\n`, "/a?sig=1&b=2"));
    expect(b.sent).toBe(get("Accept: */*\r\n", "/a?b=2"));
  });
});

describe("a placeholder where it does not belong", () => {
  const misplaced = (request: string, target: Partial<Target> = {}): unknown => {
    const b = bench({ target: { ...TARGET, ...target } });
    b.say(request);
    return b.judge.asked[0]?.brought?.misplaced;
  };
  test.each([
    [get(`User-Agent: ${OWN}\r\n`), "header user-agent"],
    [get(`Authorization: Bearer ${OWN}, Bearer mallory\r\n`), "header authorization"],
    [get("", `/x/${OWN}`), "path"],
    [get("", `/x?q=say+${OWN}`), "query q"],
    [get(`Authorization: Bearer ${placeholderOf("other")}\r\n`), "header authorization"],
    [
      get(`Authorization: Basic ${Buffer.from(`a:${placeholderOf("other")}`).toString("base64")}\r\n`),
      "header authorization",
    ],
  ])("at its own target: %j", (request, where) => expect(misplaced(request)).toEqual([where]));

  test("at another target", () => {
    const { credential: _, ...plain } = TARGET;
    const b = bench({ target: plain, credential: null });
    b.say(get(`Authorization: Bearer ${OWN}\r\n`));
    b.say(get(`Authorization: Basic ${Buffer.from(`${OWN}:x`).toString("base64")}\r\n`));
    expect(b.judge.asked[0]?.brought).toEqual({ foreign: [], misplaced: ["header authorization"] });
  });
});

describe("H5: what an upstream hands out stays here", () => {
  test("Set-Cookie and tokens in fields are taken out, with a credential put in or not, and counted", () => {
    for (const credential of [null, madeCredential({ secret: SECRET })]) {
      const b = bench({ credential });
      b.say(get());
      b.upstream.answer(
        "HTTP/1.1 200 OK\r\nSet-Cookie: s=1\r\nX-Auth-Token: t\r\nX-Ratelimit-Remaining-Tokens: 7\r\nset-cookie: u=2\r\nContent-Length: 2\r\n\r\nok",
      );
      expect(b.agent.text).toBe("HTTP/1.1 200 OK\r\nX-Ratelimit-Remaining-Tokens: 7\r\nContent-Length: 2\r\n\r\nok");
      expect(b.judge.finished[0]?.outcome).toEqual({
        status: "200",
        masked: 3,
        attempts: 1,
        findings: ["authenticator-withheld"],
      });
    }
  });

  test("also in interim answers and trailers", () => {
    const b = bench();
    b.say(get());
    b.upstream.answer(`HTTP/1.1 103 Early Hints\r\nSet-Cookie: s=1\r\nLink: <${SECRET}>\r\n\r\n`);
    b.upstream.answer(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nSet-Cookie: s=1\r\nX-Sum: 7\r\n\r\n",
    );
    expect(b.agent.text).toBe(
      `HTTP/1.1 103 Early Hints\r\nLink: <${"*".repeat(SECRET.length)}>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n`,
    );
  });

  test("an act on authenticators is named as one, so that no policy allows it by the way", () => {
    const b = bench();
    b.say(get("", "/oauth/token"));
    b.say(get());
    expect(b.judge.asked[0]?.action).toBe("credential");
    const { credential: _, ...plain } = TARGET;
    const other = bench({ target: plain, credential: null });
    other.say(get("", "/oauth/token"));
    expect(other.judge.asked[0]?.action).toBe("read");
  });
});

describe("H3: an answer that shows the credential", () => {
  const stars = "*".repeat(SECRET.length);
  const answered = (text: string, cuts: readonly number[] = [], setting: Partial<Setting> = {}): Bench => {
    const b = bench(setting);
    b.say(get());
    let at = 0;
    for (const cut of [...cuts, text.length]) {
      if (cut > at) b.upstream.answer(text.slice(at, cut));
      at = Math.max(at, cut);
    }
    return b;
  };
  const dechunked = (text: string): string => {
    const [head = "", body = ""] = text.split(/\r\n\r\n(.*)/s);
    let out = "";
    for (let at = 0; ; ) {
      const end = body.indexOf("\r\n", at);
      const size = Number.parseInt(body.slice(at, end), 16);
      if (size === 0) return `${head}\n${out}${body.slice(end)}`;
      out += body.slice(end + 2, end + 2 + size);
      at = end + 4 + size;
    }
  };

  test("in its head: error pages, redirects, echoed fields", () => {
    const b = answered(
      `HTTP/1.1 302 see ${SECRET}\r\nLocation: https://evil.test/?t=${encodeURIComponent(SECRET)}\r\nX-Echo: ${SECRET}\r\nContent-Length: 0\r\n\r\n`,
    );
    expect(b.agent.text).toBe(
      `HTTP/1.1 302 see ${stars}\r\nLocation: https://evil.test/?t=${"*".repeat(encodeURIComponent(SECRET).length)}\r\nX-Echo: ${stars}\r\nContent-Length: 0\r\n\r\n`,
    );
    expect(b.judge.finished[0]?.outcome.findings).toEqual(["credential-echoed"]);
  });

  test("in a body with a length, in every pair of pieces", () => {
    const body = `{"authorization":"Bearer ${SECRET}"}`;
    const text = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    for (let cut = 1; cut < text.length; cut++) {
      const b = answered(text, [cut]);
      const [head = "", out = ""] = b.agent.text.split("\r\n\r\n");
      expect(head).toContain(`Content-Length: ${body.length}`);
      expect(out).toHaveLength(body.length);
      expect(out.replace(/^(\{"authorization":"Bearer )(.{0,3})(\*+)("\})$/, "$1$4")).toBe(
        '{"authorization":"Bearer "}',
      );
      expect(b.judge.statuses).toEqual(["200"]);
      expect(b.upstream.released).toBe(true);
    }
  });

  test("in a chunked body, across its chunks and their pieces, with trailers", () => {
    for (const size of [1, 3, 7, 100]) {
      const content = `got ${SECRET} and ${Buffer.from(`x:${SECRET}`).toString("base64")}`;
      const chunks = content.match(new RegExp(`.{1,${size}}`, "gs")) ?? [];
      const framed = chunks.map((c) => `${c.length.toString(16)}\r\n${c}\r\n`).join("");
      const text = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${framed}0\r\nX-Sum: ${SECRET}\r\n\r\n`;
      for (const step of [5, 13, 1_000]) {
        const cuts = Array.from({ length: Math.floor(text.length / step) }, (_, i) => (i + 1) * step);
        const out = dechunked(answered(text, cuts).agent.text);
        expect(out).not.toContain(SECRET.slice(0, 8));
        expect(out).not.toContain(SECRET.slice(-8));
        expect(Buffer.from(out, "latin1").toString()).not.toContain(
          Buffer.from(SECRET.slice(3, 15)).toString("base64").slice(0, 12),
        );
        expect(out).toContain(`X-Sum: ${stars}`);
        expect(out).toMatch(/got (?:t|to|tok)?\*+ and /);
      }
    }
  });

  test("in a body that ends with the connection, and in one that is cut off in the middle of it", () => {
    const b = answered(`HTTP/1.0 200 OK\r\n\r\nyours is ${SECRET.slice(0, 20)}`);
    b.upstream.endSide();
    expect(b.agent.text.split("\r\n\r\n")[1]).toBe(`yours is ${"*".repeat(20)}`);
  });

  test("compressed although nobody asked for it, is not passed on", () => {
    const b = answered("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx");
    expect(b.agent.text.slice(9, 12)).toBe("502");
    expect(b.judge.refused[0]).toMatchObject({ code: "upstream_malformed", detail: "content_coding" });
    expect(b.upstream.resetByLane).toBe(true);
  });

  test("TRACE is not carried", () => {
    const b = bench();
    b.say(`TRACE / HTTP/1.1\r\n${HOST}\r\n`);
    expect(b.judge.refused[0]).toMatchObject({ code: "method_unsupported", detail: "TRACE" });
    expect(b.upstreams).toHaveLength(0);
  });

  test("a large answer is looked through piece by piece, and what is none of it passes unchanged", () => {
    const piece = "data: nothing to see\n\n".repeat(200);
    const b = bench();
    b.say(get());
    b.upstream.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (let i = 0; i < 20; i++) {
      b.upstream.answer(`${piece.length.toString(16)}\r\n${piece}\r\n`);
      // A stream is not held back: each event goes on as it comes.
      expect(dechunked(`${b.agent.text}0\r\n\r\n`)).toContain(`\n${piece.repeat(i + 1)}\r\n\r\n`);
    }
  });
});

describe("a credential that the upstream refuses", () => {
  const NO = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\nno";
  const YES = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  const other = madeCredential({ secret: "another-value-of-it" });

  test("is renewed, and the request sent once more with the new one; the agent sees the second answer only", () => {
    for (const cut of [NO.length, NO.length - 2, 30]) {
      const b = bench();
      b.say(get());
      b.upstream.answer(NO.slice(0, cut));
      if (cut < NO.length) b.upstream.answer(NO.slice(cut));
      expect(b.agent.text).toBe("");
      b.renewing[0]?.(other);
      expect(b.upstreams).toHaveLength(2);
      expect(b.upstreams[0]?.resetByLane).toBe(true);
      expect(b.upstream.text).toContain("Authorization: Bearer another-value-of-it\r\n");
      b.upstream.answer(YES);
      expect(b.agent.text).toBe(YES);
      expect(b.judge.finished).toMatchObject([{ outcome: { status: "200", attempts: 2 } }]);
    }
  });

  test("is what the agent is told where there is no other, whole, also when it ends meanwhile", () => {
    for (const [cut, ends] of [
      [NO.length, false],
      [NO.length - 1, false],
      [NO.length, true],
    ] as const) {
      const b = bench();
      b.say(get());
      const upstream = b.upstream;
      upstream.answer(NO.slice(0, cut));
      if (ends) upstream.endSide();
      b.renewing[0]?.(null);
      if (cut < NO.length) upstream.answer(NO.slice(cut));
      expect(b.agent.text).toBe(NO);
      expect(b.upstreams).toHaveLength(1);
      expect(b.judge.finished).toMatchObject([{ outcome: { status: "401", attempts: 1 } }]);
    }
  });

  test("is told at once the second time: a request is never sent a third time", () => {
    const b = bench();
    b.say(get());
    b.upstream.answer(NO);
    b.renewing[0]?.(other);
    b.upstream.answer(NO);
    expect(b.agent.text).toBe(NO);
    expect(b.renewing).toHaveLength(1);
    expect(b.upstreams).toHaveLength(2);
  });

  test.each(["POST", "PUT", "PATCH", "DELETE"])(
    "is not tried again with %s, which may have done something",
    (method) => {
      const b = bench();
      b.say(`${method} /a HTTP/1.1\r\n${HOST}\r\n`);
      b.upstream.answer(NO);
      expect(b.agent.text).toBe(NO);
      expect(b.renewing).toHaveLength(0);
    },
  );

  test("nor with a body, nor where none was put in, nor for another status", () => {
    const body = bench();
    body.say(`GET /a HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\nx`);
    body.upstream.answer(NO);
    const none = bench({ credential: null });
    none.say(get());
    none.upstream.answer(NO);
    const forbidden = bench();
    forbidden.say(get());
    forbidden.upstream.answer(NO.replace("401", "403"));
    for (const b of [body, none, forbidden]) {
      expect(b.renewing).toHaveLength(0);
      expect(b.agent.text.slice(9, 10)).toBe("4");
    }
  });

  test("and a client that leaves meanwhile ends it, with one outcome", () => {
    const b = bench();
    b.say(get());
    b.upstream.answer(NO);
    b.session.failed("reset");
    b.renewing[0]?.(other);
    expect(b.upstreams).toHaveLength(1);
    expect(b.judge.statuses).toEqual(["client-left"]);
  });
});

test("H7: an exchange that goes on as somebody whom the policy no longer means is ended", () => {
  const b = bench();
  b.say(get());
  b.upstream.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  b.session.revised();
  expect(b.agent.resetByLane).toBe(false);
  const first = b.judge.permits.at(-1);
  // The policy in force now gives this operation none.
  Object.assign(b.ports, { credential: (permit: unknown) => (permit === first ? b.credential : null) });
  b.session.revised();
  expect(b.agent.resetByLane).toBe(true);
  expect(b.judge.open).toBe(0);
});
