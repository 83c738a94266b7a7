import { describe, expect, test } from "vitest";
import { createHttpLane } from "#sidecar/lanes/http/lane.ts";
import type { LegFault } from "#sidecar/seam/leg.ts";
import { Bench, type Setting } from "../ports.ts";
import { DESYNC } from "./desync.ts";

const HOST = "Host: billing.test\r\n";
const GET = `GET /a HTTP/1.1\r\n${HOST}\r\n`;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const put = (length: number, body: string): string =>
  `PUT /f HTTP/1.1\r\n${HOST}Content-Length: ${length}\r\n\r\n${body}`;

function bench(setting: Partial<Setting> = {}): Bench {
  return new Bench((clock) => createHttpLane({ clock }), setting);
}

const statusOf = (text: string): string => text.slice(9, 12);

describe("N9: the origin that a request names", () => {
  const ask = (setting: Partial<Setting>, target: string, host: string): string => {
    const b = bench(setting);
    b.say(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    return b.upstreams.length === 1 ? "passed on" : `${statusOf(b.agent.text)} ${b.judge.refused[0]?.code}`;
  };
  const plain = {};
  const odd = { port: 8080 };
  const tls = { port: 443, secure: true };
  const v6 = { host: "fd00::1", port: 8080 };

  test.each([
    [plain, "/", "billing.test"],
    [plain, "/", "billing.test:80"],
    [plain, "/", "BILLING.test"],
    [plain, "http://billing.test/", "billing.test"],
    [plain, "HTTP://Billing.Test:80/", "billing.test"],
    [odd, "/", "billing.test:8080"],
    [tls, "/", "billing.test"],
    [tls, "https://billing.test/", "billing.test:443"],
    [v6, "/", "[fd00::1]:8080"],
  ] as const)("is the connection's: %o %s %s", (setting, target, host) => {
    expect(ask(setting, target, host)).toBe("passed on");
  });

  test.each([
    [plain, "/", "evil.test"],
    [plain, "/", "billing.test:8080"],
    [plain, "/", "billing.test."],
    [plain, "/", "xbilling.test"],
    [plain, "http://evil.test/", "billing.test"],
    [plain, "http://billing.test/", "evil.test"],
    [plain, "https://billing.test/", "billing.test"],
    [odd, "/", "billing.test"],
    [tls, "/", "billing.test:80"],
    [tls, "http://billing.test/", "billing.test"],
    [v6, "/", "[fd00::2]:8080"],
  ] as const)("is another one, and misdirected: %o %s %s", (setting, target, host) => {
    expect(ask(setting, target, host)).toBe("421 misdirected");
  });

  test("is recorded with what was asked when it is misdirected, and the connection goes on", () => {
    const b = bench();
    b.say("GET /secret HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    expect(b.judge.refused[0]?.operation?.facts).toContain('"path":"/secret"');
    expect(b.judge.refused[0]?.detail).toBe("the request is for evil.test");
    b.say(GET);
    expect(b.sent).toBe(GET);
  });

  test("reaches the upstream in origin-form", () => {
    const b = bench();
    b.say(`GET http://billing.test?x=1 HTTP/1.1\r\n${HOST}\r\n`);
    expect(b.sent).toBe(`GET /?x=1 HTTP/1.1\r\n${HOST}\r\n`);
    const options = bench();
    options.say(`OPTIONS http://billing.test HTTP/1.1\r\n${HOST}\r\n`);
    expect(options.sent).toBe(`OPTIONS * HTTP/1.1\r\n${HOST}\r\n`);
  });
});

describe("H1 and H2: nothing before the verdict", () => {
  test("H1: every shape that parsers read differently is a 400, 421 or 431 that closes, and nothing is dialed", () => {
    for (const { name, bytes } of DESYNC) {
      const b = bench();
      b.say(bytes);
      expect(["400", "421", "431"], name).toContain(statusOf(b.agent.text));
      expect([b.upstreams.length, b.agent.endedByLane], name).toEqual([0, true]);
    }
  });

  test("H1: what follows a malformed request on its connection is never read as a request", () => {
    for (const { name, bytes } of DESYNC) {
      const b = bench();
      b.say(bytes);
      b.say(GET);
      expect([b.judge.asked.length, b.upstreams.length], name).toEqual([0, 0]);
    }
  });

  test("H2: no byte of a request leaves, and nothing is dialed, before it is permitted", () => {
    const b = bench();
    b.judge.answers = ["hold"];
    const request = put(300_000, "x".repeat(200));
    for (const byte of request) b.say(byte);
    expect([b.upstreams.length, b.judge.held.length]).toEqual([0, 1]);
    // A body that was declared and never comes holds nothing open upstream.
    b.session.ended();
    expect(b.upstreams.length).toBe(0);
  });

  test("H2: a chunked body is passed on up to its fault, and never ended", () => {
    for (const [bad, passed] of [
      ["3\r\nabc\r\n5;a\nb\r\n", "3\r\nabc\r\n"],
      ["3\r\nabc\r\nzz\r\n", "3\r\nabc\r\n"],
      ["3\r\nabcd", "3\r\nabc"],
    ] as const) {
      const b = bench();
      const head = `PUT /f HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;
      b.say(head);
      for (const byte of bad) b.say(byte);
      expect(b.sent.startsWith(head)).toBe(true);
      expect((head + passed).startsWith(b.sent)).toBe(true);
      expect([b.upstream.resetByLane, b.upstream.endedByLane, statusOf(b.agent.text)]).toEqual([true, false, "400"]);
    }
  });
});

describe("what is not carried", () => {
  test.each([
    ["TRACE", `TRACE / HTTP/1.1\r\n${HOST}\r\n`, true],
    ["CONNECT", `CONNECT billing.test:80 HTTP/1.1\r\n${HOST}\r\n`, false],
    ["CONNECT to elsewhere", "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n", false],
    ["Upgrade", `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`, false],
    ["Upgrade without Connection", `GET / HTTP/1.1\r\n${HOST}Upgrade: websocket\r\n\r\n`, false],
  ])("%s is refused with the operation on record", (_name, request, goesOn) => {
    const b = bench();
    b.say(`${request}${goesOn ? "" : GET}`);
    expect([statusOf(b.agent.text), b.upstreams.length]).toEqual(["501", 0]);
    expect(b.judge.refused.map((r) => r.code)).toEqual(["method_unsupported"]);
    expect(b.judge.refused[0]?.operation?.protocol).toBe("http");
    expect(b.agent.endedByLane).toBe(!goesOn);
  });

  test("H3: TRACE, which would answer with what it got, reaches nobody", () => {
    const b = bench();
    b.say(`TRACE / HTTP/1.1\r\n${HOST}Max-Forwards: 0\r\nAuthorization: x\r\n\r\n`);
    expect([b.upstreams.length, b.judge.asked.length]).toEqual([0, 0]);
    expect(b.agent.text).not.toContain("Max-Forwards");
  });

  test("an offer of h2c is dropped, and the request goes on in HTTP/1.1", () => {
    const b = bench();
    b.say(
      `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n`,
    );
    expect(b.sent).toBe(`GET / HTTP/1.1\r\n${HOST}\r\n`);
  });
});

describe("older versions", () => {
  test("an HTTP/1.0 request gets its Host, and its connection ends behind the answer", () => {
    const b = bench();
    b.say("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(b.sent).toBe("GET /a HTTP/1.0\r\nHost: billing.test\r\nConnection: keep-alive\r\n\r\n");
    b.upstream.answer(OK);
    expect(b.agent.text).toBe("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    expect([b.agent.endedByLane, b.upstream.released]).toEqual([true, false]);
  });

  test("an HTTP/1.0 upstream is answered for in HTTP/1.1, and not used again", () => {
    const b = bench();
    b.say(GET);
    b.upstream.answer("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    expect([b.agent.text, b.agent.endedByLane, b.upstream.released]).toEqual([OK, false, false]);
  });

  test("an answer that ends with its connection ends the agent's too", () => {
    const b = bench();
    b.say(GET);
    b.upstream.answer("HTTP/1.0 200 OK\r\n\r\npart one, ");
    b.upstream.answer("part two");
    expect(b.agent.endedByLane).toBe(false);
    b.upstream.endSide();
    expect(b.agent.text).toBe("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart one, part two");
    expect([b.agent.endedByLane, b.upstream.released, b.judge.statuses]).toEqual([true, false, ["200"]]);
  });

  test("such an answer that breaks off never looks whole", () => {
    const b = bench();
    b.say(GET);
    b.upstream.answer("HTTP/1.0 200 OK\r\n\r\npart one");
    b.upstream.fail("reset");
    expect([b.agent.resetByLane, b.judge.statuses]).toEqual([true, ["upstream_unreachable"]]);
  });
});

describe("Expect: 100-continue", () => {
  const head = `POST /up HTTP/1.1\r\n${HOST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`;

  test("reaches the upstream, and its 100 the agent", () => {
    const b = bench();
    b.say(head);
    expect(b.sent).toBe(head);
    b.upstream.answer("HTTP/1.1 100 Continue\r\n\r\n");
    expect(b.agent.text).toBe("HTTP/1.1 100 Continue\r\n\r\n");
    b.say("hello");
    b.upstream.answer(OK);
    expect(b.agent.text).toBe(`HTTP/1.1 100 Continue\r\n\r\n${OK}`);
    expect(b.upstream.released).toBe(true);
  });

  test("an answer before the body ends both connections: the next bytes could be either", () => {
    const b = bench();
    b.say(head);
    b.upstream.answer("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
    expect(b.agent.text).toBe("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    expect([b.agent.endedByLane, b.upstream.released]).toEqual([true, false]);
  });

  test("a refusal before the body ends the connection", () => {
    const b = bench();
    b.judge.answers = ["deny"];
    b.say(head);
    expect([statusOf(b.agent.text), b.agent.endedByLane]).toEqual(["403", true]);
  });

  test("a 100 that nobody asked for is not passed on", () => {
    const b = bench();
    b.say(GET);
    b.upstream.answer(`HTTP/1.1 100 Continue\r\n\r\n${OK}`);
    expect(b.agent.text).toBe(OK);
  });
});

describe("an upstream that fails", () => {
  test.each([
    ["refused", "502", "upstream_unreachable"],
    ["unreachable", "502", "upstream_unreachable"],
    ["reset", "502", "upstream_unreachable"],
    ["unresolved", "502", "upstream_unresolved"],
    ["tls-bad-upstream", "502", "upstream_tls"],
    ["tls-name", "502", "upstream_tls"],
    ["timeout", "504", "upstream_timeout"],
    ["audit", "503", "audit_failed"],
  ] as const)("before an answer (%s) is a %s, and the connection goes on", (fault, status, code) => {
    for (const when of ["at the dial", "later"] as const) {
      const b = bench(when === "later" ? {} : { dial: fault });
      b.say(GET);
      if (when === "later") b.upstream.fail(fault);
      expect([statusOf(b.agent.text), b.judge.statuses, b.judge.refused.map((r) => r.code)]).toEqual([
        status,
        [code],
        [code],
      ]);
      b.dial = "fresh";
      b.say(GET);
      b.upstream.answer(OK);
      expect(b.agent.text.endsWith(OK)).toBe(true);
    }
  });

  test("in the middle of a request's body leaves the next request readable", () => {
    const b = bench();
    b.say(put(10, "01234"));
    b.upstream.fail("reset");
    expect(statusOf(b.agent.text)).toBe("502");
    b.say(`56789${GET}`);
    expect(b.upstreams.length).toBe(2);
    expect(b.upstream.text).toBe(GET);
  });

  test("in the middle of its answer resets the agent", () => {
    for (const fault of ["reset", "timeout", "audit"] satisfies LegFault[]) {
      const b = bench();
      b.say(GET);
      b.upstream.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
      b.upstream.fail(fault);
      expect(b.agent.resetByLane).toBe(true);
      expect(b.judge.statuses).toEqual([fault === "audit" ? "audit_failed" : "upstream_unreachable"]);
    }
  });

  test("never has its own error answers carry our header", () => {
    const b = bench();
    b.say(GET);
    b.upstream.answer("HTTP/1.1 503 Service Unavailable\r\nSidegate-Event: boot-1\r\nContent-Length: 0\r\n\r\n");
    expect(b.agent.text).toBe("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
  });
});

describe("sending again", () => {
  const closed = (b: Bench, how: "ended" | "reset"): void => {
    if (how === "ended") b.upstream.endSide();
    else b.upstream.fail("reset");
  };

  test.each(["GET", "HEAD", "OPTIONS"])(
    "%s goes once more when a pooled connection turns out to be closed",
    (method) => {
      for (const how of ["ended", "reset"] as const) {
        const b = bench({ dial: "reused" });
        const request = `${method} /a HTTP/1.1\r\n${HOST}\r\n`;
        b.say(request);
        closed(b, how);
        expect(b.upstreams.map((u) => [u.text, u.fresh])).toEqual([
          [request, false],
          [request, true],
        ]);
        b.upstream.answer("HTTP/1.1 204 No Content\r\n\r\n");
        expect(b.judge.finished.map((f) => f.outcome)).toEqual([{ status: "204", masked: 0, attempts: 2 }]);
        expect(b.judge.asked.length).toBe(1);
      }
    },
  );

  test.each([
    ["a POST", `POST /a HTTP/1.1\r\n${HOST}Content-Length: 0\r\n\r\n`, "reused", ""],
    ["a DELETE", `DELETE /a HTTP/1.1\r\n${HOST}\r\n`, "reused", ""],
    ["a GET with a body", `GET /a HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\nx`, "reused", ""],
    ["a GET on a new connection", GET, "fresh", ""],
    ["a GET of whose answer a byte came", GET, "reused", "H"],
    ["a GET that got an interim answer", GET, "reused", "HTTP/1.1 103 Early Hints\r\n\r\n"],
  ] as const)("is never done with %s", (_name, request, dial, heard) => {
    for (const how of ["ended", "reset"] as const) {
      const b = bench({ dial });
      b.say(request);
      if (heard !== "") b.upstream.answer(heard);
      closed(b, how);
      expect(b.upstreams.length).toBe(1);
      expect(b.judge.open).toBe(0);
    }
  });

  test("is done once only", () => {
    const b = bench({ dial: "reused" });
    b.say(GET);
    closed(b, "reset");
    closed(b, "reset");
    expect([b.upstreams.length, statusOf(b.agent.text)]).toEqual([2, "502"]);
    expect(b.judge.finished[0]?.outcome.attempts).toBe(2);
  });
});

describe("an upstream's connection", () => {
  const after = (answer: string): boolean | null => {
    const b = bench();
    b.say(GET);
    b.upstream.answer(answer);
    return b.upstream.released;
  };

  test("is used again only when nothing is left on it", () => {
    expect(after(OK)).toBe(true);
    expect(after(`${OK}x`)).toBe(false);
    expect(after(`${OK}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`)).toBe(false);
    expect(after("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")).toBe(false);
    expect(after("HTTP/1.1 304 Not Modified\r\n\r\n")).toBe(true);
    expect(after("HTTP/1.1 204 No Content\r\n\r\nx")).toBe(false);
  });

  test("takes the rest of a request after an early answer, and is then used again", () => {
    const b = bench();
    b.say(put(10, "01234"));
    b.upstream.answer(OK);
    expect([b.agent.text, b.upstream.open]).toEqual([OK, true]);
    b.say(`56789${GET}`);
    expect(b.upstreams[0]?.text).toBe(put(10, "0123456789"));
    expect([b.upstreams[0]?.released, b.upstreams.length]).toEqual([true, 2]);
  });

  test("takes the rest of an upload after an early answer also where the client ends behind it", () => {
    const b = bench();
    const head = `PUT /f HTTP/1.1\r\n${HOST}Content-Length: 10\r\n`;
    b.say(`${head}Connection: close\r\n\r\n01234`);
    b.upstream.answer(OK);
    expect(b.agent.endedByLane).toBe(false);
    b.say("56789");
    expect([b.sent, b.agent.endedByLane, b.upstream.released]).toEqual([`${head}\r\n0123456789`, true, true]);
  });

  test("that closes behind an early answer ends the agent's, since its request goes nowhere", () => {
    const b = bench();
    b.say(put(10, "01234"));
    b.upstream.answer("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    expect([b.agent.endedByLane, b.upstream.released, b.judge.statuses]).toEqual([true, false, ["413"]]);
  });

  test("is not used again for a client that is gone", () => {
    const b = bench();
    b.say(GET);
    b.session.failed("reset");
    expect([b.upstream.resetByLane, b.judge.statuses]).toEqual([true, ["client-left"]]);
  });
});

describe("a client that ends its side", () => {
  test("still gets the answer to what it asked", () => {
    const b = bench();
    b.say(GET + GET);
    b.session.ended();
    b.upstream.answer(OK);
    b.upstream.answer(OK);
    expect([b.agent.text, b.agent.endedByLane]).toEqual([OK + OK, true]);
  });

  test("in the middle of a body never makes the upstream take it for whole", () => {
    const b = bench();
    b.say(put(10, "01234"));
    b.session.ended();
    expect([b.upstream.resetByLane, b.upstream.endedByLane, statusOf(b.agent.text)]).toEqual([true, false, "400"]);
    expect(b.judge.refused.map((r) => r.detail)).toEqual(["truncated"]);
  });
});

describe("back-pressure", () => {
  test("a slow upstream pauses the agent, a slow agent the upstream", () => {
    const b = bench();
    b.say(put(1_000, "x"));
    b.upstream.full = true;
    b.say("y");
    expect(b.agent.paused).toBe(true);
    b.upstream.full = false;
    b.upstream.events.drained();
    expect(b.agent.paused).toBe(false);
    b.say("z".repeat(998));
    b.agent.full = true;
    b.upstream.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
    expect(b.upstream.paused).toBe(true);
    b.agent.full = false;
    b.session.drained();
    expect(b.upstream.paused).toBe(false);
  });

  test("a connection goes back to its pool with nothing paused", () => {
    const b = bench();
    b.say(GET);
    b.agent.full = true;
    b.upstream.answer(OK);
    expect([b.upstream.paused, b.upstream.released]).toEqual([false, true]);
  });

  test("answers that nobody reads stop further requests from being taken", () => {
    const b = bench();
    b.judge.answers = ["deny"];
    b.agent.full = true;
    for (let i = 0; i < 5_000; i++) b.say(GET);
    expect(b.judge.asked.length).toBe(1);
    expect(b.agent.paused).toBe(true);
    b.agent.full = false;
    b.session.drained();
    while (b.turn());
    expect(b.agent.paused).toBe(false);
    expect(b.judge.asked.length).toBe(5_000);
  });

  test("denied requests that came at once are answered in several turns, so that others have theirs", () => {
    const b = bench();
    b.judge.answers = ["deny"];
    b.hand(GET.repeat(500));
    b.session.ended();
    const asked = [b.judge.asked.length];
    while (b.turn()) asked.push(b.judge.asked.length);
    expect(asked[0]).toBeLessThan(100);
    expect(asked.length).toBeGreaterThan(4);
    expect(asked.at(-1)).toBe(500);
    // The client left behind its last request, and all were answered before that was heard.
    expect(b.agent.text.match(/^HTTP\/1\.1 403 /gm)).toHaveLength(500);
  });

  test("requests sent ahead are kept up to a bound, then the agent is paused", () => {
    const b = bench();
    b.say(GET);
    let said = 0;
    while (!b.agent.paused) {
      b.say(GET);
      said += GET.length;
    }
    expect(said).toBeGreaterThan(60_000);
    expect(said).toBeLessThan(70_000);
    for (let n = said / GET.length; n >= 0; n--) b.upstream.answer(OK);
    expect([b.agent.paused, b.judge.open, b.upstreams.length]).toEqual([false, 0, said / GET.length + 1]);
  });

  test("a leg that does not pause is broken off, not kept without an end", () => {
    const b = bench();
    b.judge.answers = ["hold"];
    b.say(GET);
    for (let i = 0; i < 100 && !b.agent.resetByLane; i++) b.say(Buffer.alloc(65_536));
    expect([b.agent.resetByLane, b.judge.held[0]?.abandoned]).toEqual([true, "client-left"]);
  });
});

describe("time limits", () => {
  const limits = { headerMs: 10_000, idleMs: 60_000, totalMs: 200_000 };

  test("a head that drips in is refused at the header limit, whatever arrives meanwhile", () => {
    const b = bench({ limits });
    for (let i = 0; i < 9; i++) {
      b.say("G"[i] ?? "E");
      b.time.pass(1_000);
    }
    expect(b.agent.text).toBe("");
    b.time.pass(1_100);
    expect([statusOf(b.agent.text), b.judge.refused.map((r) => r.code)]).toEqual(["408", ["header_timeout"]]);
  });

  test("an idle connection is closed without a word", () => {
    const b = bench({ limits });
    b.say(GET);
    b.upstream.answer(OK);
    b.time.pass(75_000);
    expect([b.agent.endedByLane, b.agent.text, b.judge.refused]).toEqual([true, OK, []]);
  });

  test("an upstream that does not answer is a 504", () => {
    const b = bench({ limits });
    b.say(GET);
    b.time.pass(75_000);
    expect([statusOf(b.agent.text), b.judge.statuses]).toEqual(["504", ["upstream_timeout"]]);
  });

  test("a body that stops is a 408", () => {
    const b = bench({ limits });
    b.say(put(10, "0"));
    b.time.pass(75_000);
    expect([statusOf(b.agent.text), b.judge.statuses]).toEqual(["408", ["idle_timeout"]]);
  });

  test("a stream that goes on is ended at the total limit only", () => {
    const b = bench({ limits });
    b.say(GET);
    b.upstream.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (let i = 0; i < 19; i++) {
      b.time.pass(10_000);
      b.upstream.answer("1\r\nx\r\n");
    }
    expect(b.agent.resetByLane).toBe(false);
    b.time.pass(11_000);
    expect([b.agent.resetByLane, b.judge.statuses]).toEqual([true, ["total_timeout"]]);
  });

  test("a stream may last for ever where the target has no total limit", () => {
    const b = bench({ limits: { ...limits, totalMs: 0 } });
    b.say(GET);
    b.upstream.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (let i = 0; i < 1_000; i++) {
      b.time.pass(50_000);
      b.upstream.answer("1\r\nx\r\n");
    }
    expect([b.agent.resetByLane, b.judge.open]).toEqual([false, 1]);
  });

  test("cost one alarm a connection", () => {
    const b = bench({ limits });
    for (let i = 0; i < 50; i++) {
      b.say(GET.slice(0, 10));
      b.say(GET.slice(10));
      b.upstream.answer(OK);
      b.time.pass(100);
    }
    expect(b.time.pending).toBe(1);
    b.session.failed("reset");
    expect(b.time.pending).toBe(0);
  });
});

describe("a refused request with a body", () => {
  test("is read to its end where it is small, and the next one is answered", () => {
    for (const body of [
      put(5, "hello"),
      `PUT /f HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
    ]) {
      const b = bench();
      b.judge.answers = ["deny", "allow"];
      b.say(body.slice(0, -3));
      expect(statusOf(b.agent.text)).toBe("403");
      b.say(body.slice(-3) + GET);
      expect(b.sent).toBe(GET);
    }
  });

  test("ends the connection where it is large", () => {
    const b = bench();
    b.judge.answers = ["deny"];
    b.say(put(300_000, "x"));
    expect([statusOf(b.agent.text), b.agent.endedByLane]).toEqual(["403", true]);
    expect(b.agent.text).toContain("Connection: close\r\n");
    const chunked = bench();
    chunked.judge.answers = ["deny"];
    chunked.say(`PUT /f HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`);
    for (let i = 0; i < 5; i++) chunked.say(`10000\r\n${"x".repeat(65_536)}\r\n`);
    expect(chunked.agent.endedByLane).toBe(true);
  });
});

describe("N14: what floods", () => {
  test("100 MB of zero bytes are one refusal", () => {
    const b = bench();
    const zeros = Buffer.alloc(65_536);
    for (let i = 0; i < 1_600 && !b.agent.resetByLane; i++) b.say(zeros);
    expect(b.judge.refused.map((r) => [r.code, r.detail])).toEqual([["bad_request", "method"]]);
    expect(b.agent.resetByLane).toBe(true);
  });

  test("a header of 1 GB is one refusal", () => {
    const b = bench();
    b.say(`GET / HTTP/1.1\r\n${HOST}X: `);
    const some = Buffer.alloc(65_536, "a");
    for (let i = 0; i < 16_000 && !b.agent.resetByLane; i++) b.say(some);
    expect(b.judge.refused.map((r) => [r.code, r.detail])).toEqual([["header_too_large", "head_too_long"]]);
  });

  test("a chunk that never ends is carried in bounded memory, and ends with its connection", () => {
    const b = bench();
    b.say(`PUT / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n7fffffff\r\n`);
    b.upstream.written.length = 0;
    const some = Buffer.alloc(65_536, "a");
    for (let i = 0; i < 1_000; i++) {
      b.say(some);
      expect(b.upstream.written.splice(0).length).toBe(1);
    }
    b.session.failed("reset");
    expect([b.judge.statuses, b.upstream.resetByLane]).toEqual([["client-left"], true]);
  });

  test("trailing bytes behind a last answer are thrown away up to a bound", () => {
    const b = bench();
    b.say("GET /a//b HTTP/1.1\r\nHost: billing.test\r\n\r\n");
    expect([b.agent.endedByLane, b.agent.resetByLane]).toEqual([true, false]);
    for (let i = 0; i < 17; i++) b.say(Buffer.alloc(65_536));
    expect(b.agent.resetByLane).toBe(true);
  });
});

describe("a drain", () => {
  test("closes what is idle, and lets what is under way finish with Connection: close", () => {
    const idle = bench();
    idle.session.drain();
    expect(idle.agent.endedByLane).toBe(true);
    const busy = bench();
    busy.say(GET + GET);
    busy.session.drain();
    busy.upstream.answer(OK);
    expect(busy.agent.text).toBe("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    expect([busy.agent.endedByLane, busy.judge.asked.length]).toEqual([true, 1]);
  });

  test("gives a held operation up, and says so", () => {
    const b = bench();
    b.judge.answers = ["hold"];
    b.say(GET);
    b.session.drain();
    expect([b.judge.held[0]?.abandoned, statusOf(b.agent.text), b.agent.endedByLane]).toEqual(["drain", "503", true]);
  });
});

describe("H7: another policy in force", () => {
  test("lets an open exchange go on under a new permit when it is still allowed", () => {
    const b = bench();
    b.say(GET);
    b.upstream.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    b.session.revised();
    b.upstream.answer("0\r\n\r\n");
    expect([b.judge.statuses, b.judge.asked.length]).toEqual([["rejudged", "200"], 2]);
  });

  test("ends it at once when it is denied now", () => {
    for (const verdict of ["deny", "hold"] as const) {
      const b = bench();
      b.say(GET);
      b.upstream.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
      b.judge.answers = [verdict];
      b.session.revised();
      expect([b.agent.resetByLane, b.upstream.resetByLane, b.judge.statuses]).toEqual([true, true, ["revoked"]]);
    }
  });

  test("says why where no byte of an answer went out yet", () => {
    const b = bench();
    b.say(GET);
    b.judge.answers = ["deny"];
    b.session.revised();
    expect([statusOf(b.agent.text), b.upstream.resetByLane, b.agent.endedByLane]).toEqual(["403", true, true]);
  });
});

describe("the way of the bytes", () => {
  test("a request and an answer that need no change cost one write each", () => {
    const b = bench();
    b.say(put(5, "hello"));
    b.upstream.answer(OK);
    expect([b.upstream.written.length, b.agent.written.length]).toEqual([1, 1]);
    const chunked = bench();
    const request = `PUT /f HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`;
    chunked.say(request);
    expect([chunked.upstream.written.length, chunked.sent]).toEqual([1, request]);
  });

  test("an answer whose head changes still costs one write where it is small", () => {
    const b = bench();
    b.say(GET);
    b.upstream.answer("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok");
    expect([b.agent.written.length, b.agent.text]).toEqual([1, OK]);
  });

  test("fields that were sent before mean the same with another target", () => {
    const b = bench();
    for (const target of ["/a", "/b?x=1", "/a"]) {
      b.say(`GET ${target} HTTP/1.1\r\n${HOST}X: 1\r\n\r\n`);
      b.upstream.answer(OK);
    }
    expect(b.judge.asked.map((o) => (JSON.parse(`{${o.facts}}`) as { http: { path: string } }).http.path)).toEqual([
      "/a",
      "/b",
      "/a",
    ]);
  });

  test("what goes to the agent is counted for the permit", () => {
    const b = bench();
    b.say(GET);
    b.upstream.answer("HTTP/1.1 200 OK\r\nKeep-Alive: x\r\nContent-Length: 2\r\n\r\nok");
    expect([b.judge.permits[1]?.bytesUp, b.judge.permits[1]?.bytesDown]).toEqual([GET.length, OK.length]);
  });
});

test("without a bundle everything of a request is on record, and it is refused by whoever judges", () => {
  const b = bench({ profile: null });
  b.judge.answers = ["deny"];
  b.say(GET);
  expect(b.judge.asked[0]?.facts).toContain('"headers"');
  expect(b.judge.asked[0]?.detail).toBe("");
});
