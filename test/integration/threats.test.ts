/**
 * Rows of the threat model that a hijacked agent tries with bytes, through the whole gateway: H1 to H3, H6, N9, E1, E9. What is
 * refused is on record with its reason, and nothing of it has reached an upstream.
 */
import type net from "node:net";
import tls from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventually, type Gateway, startGateway } from "../support/sidecar.ts";
import { ask, HOST, heard, Kept, raw } from "../support/sidecar-client.ts";
import { httpsUpstream, httpUpstream, rawUpstream, targetTo, type Upstream } from "../support/sidecar-upstream.ts";

const OTHER = "other.test";
const SECURE = "secure.test";
const TWIN = "twin.test";

let gateway: Gateway;
const upstreams: Upstream[] = [];
/** Every byte that the upstream of HOST got. */
let got = "";
/** What it answers next, and does after that. */
let answer: (socket: net.Socket) => void;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

beforeAll(async () => {
  const watched = await rawUpstream((socket) => {
    socket.on("data", (bytes: Buffer) => {
      got += bytes.toString("latin1");
      answer(socket);
    });
    // It ends as a server does, when its client has.
    socket.on("end", () => socket.end());
  });
  const secure = await httpsUpstream(SECURE, (request, response) => {
    response.setHeader("Alt-Svc", 'h3=":443"; ma=86400');
    response.end(`secure ${request.headers.host}`);
  });
  const twin = await httpsUpstream(TWIN, (request, response) => response.end(`twin ${request.headers.host}`));
  const plain = await httpUpstream((_request, response) => {
    response.setHeader("Alt-Svc", 'h2="elsewhere.example:443"');
    response.end("other");
  });
  upstreams.push(watched, secure, twin, plain);
  const soon = { lifted: Date.now() + 365 * 86_400_000 };
  gateway = await startGateway({
    policy: {
      policies: {
        rules: `allow if true

deny contains {"code": "no_writes_here", "message": "no"} if {
	input.http.method == "PUT"
	input.http.path == "/denied"
}

deny contains {"code": "too_late", "message": "no"} if {
	input.http.path == "/timed"
	input.time > to_number(input.http.query.until[0])
}`,
      },
      data: { rules: soon },
      targets: [
        targetTo(watched, { name: "api", hosts: [HOST], protocol: "http" }),
        targetTo(plain, { name: "other", hosts: [OTHER], protocol: "http" }),
        targetTo(secure, { name: "secure", hosts: [SECURE], ports: [443], upstream: { ca: secure.caPem } }),
        targetTo(twin, { name: "twin", hosts: [TWIN], ports: [443], upstream: { ca: twin.caPem } }),
      ],
    },
  });
});

beforeEach(() => {
  got = "";
  answer = (socket) => void socket.write(OK);
});

afterAll(async () => {
  await gateway?.close();
  for (const upstream of upstreams) await upstream.close();
});

/** A denial with this code and fault stands on record. */
async function onRecord(code: string, fault: string): Promise<void> {
  await eventually(
    async () => (await gateway.records({ code, verdict: "deny", text: fault })).length > 0,
    () => `${code} ${fault}`,
  );
}

const H = `Host: ${HOST}\r\n`;
const CHUNKED = "Transfer-Encoding: chunked\r\n";
/** Each can be read in two ways by two parsers, or hides a second request. What follows is the second request that nobody may see. */
const SMUGGLED = `GET /smuggled HTTP/1.1\r\n${H}\r\n`;
const DESYNC: readonly [string, string, number, string][] = [
  [
    "a length and chunks",
    `POST / HTTP/1.1\r\n${H}Content-Length: 4\r\n${CHUNKED}\r\n0\r\n\r\n`,
    400,
    "length_and_chunked",
  ],
  [
    "chunks and a length",
    `POST / HTTP/1.1\r\n${H}${CHUNKED}Content-Length: 4\r\n\r\n0\r\n\r\n`,
    400,
    "length_and_chunked",
  ],
  ["two lengths", `POST / HTTP/1.1\r\n${H}Content-Length: 0\r\nContent-Length: 40\r\n\r\n`, 400, "duplicate_field"],
  ["a list of lengths", `POST / HTTP/1.1\r\n${H}Content-Length: 0, 0\r\n\r\n`, 400, "content_length"],
  ["a signed length", `POST / HTTP/1.1\r\n${H}Content-Length: +0\r\n\r\n`, 400, "content_length"],
  [
    "another transfer coding",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
    400,
    "transfer_coding",
  ],
  [
    "a coding behind a vertical tab",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`,
    400,
    "control_byte",
  ],
  [
    "a space before the colon",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
    400,
    "space_before_colon",
  ],
  ["an underscore for a dash", `POST / HTTP/1.1\r\n${H}Transfer_Encoding: chunked\r\n\r\n`, 400, "look_alike_field"],
  ["a folded line", `GET / HTTP/1.1\r\n${H}X: a\r\n ${CHUNKED}\r\n`, 400, "obs_fold"],
  ["a bare line feed", `GET / HTTP/1.1\r\n${H}X: a\n${CHUNKED}\r\n`, 400, "bare_lf"],
  ["a bare carriage return", `GET / HTTP/1.1\r\n${H}X: a\r${CHUNKED}\r\n`, 400, "bare_cr"],
  ["a zero byte in a value", `GET / HTTP/1.1\r\n${H}X: a\0b\r\n\r\n`, 400, "control_byte"],
  ["HTTP/1.0 with chunks", `POST / HTTP/1.0\r\n${H}${CHUNKED}\r\n0\r\n\r\n`, 400, "chunked_before_1_1"],
  [
    "a line feed in a chunk extension",
    `POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n2;\nab\r\nzz\r\n0\r\n\r\n`,
    400,
    "chunk_extension",
  ],
  ["a chunk size with a sign", `POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n+2\r\nzz\r\n0\r\n\r\n`, 400, "chunk_size"],
  ["no line end behind a chunk", `POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n2\r\nzzX\r\n0\r\n\r\n`, 400, "chunk_end"],
  ["two Hosts", `GET / HTTP/1.1\r\n${H}Host: ${OTHER}\r\n\r\n`, 400, "duplicate_field"],
  ["no Host", "GET / HTTP/1.1\r\n\r\n", 400, "host_missing"],
  ["two slashes", `GET //admin HTTP/1.1\r\n${H}\r\n`, 400, "double_slash"],
  ["an encoded slash", `GET /v1%2fadmin HTTP/1.1\r\n${H}\r\n`, 400, "encoded_slash"],
  ["dot segments", `GET /v1/../admin HTTP/1.1\r\n${H}\r\n`, 400, "dot_segment"],
  ["encoded dot segments", `GET /v1/%2e%2e/admin HTTP/1.1\r\n${H}\r\n`, 400, "dot_segment"],
  ["an encoded zero byte", `GET /v1%00 HTTP/1.1\r\n${H}\r\n`, 400, "encoded_control"],
  ["an absolute form for another host", `GET http://${OTHER}/ HTTP/1.1\r\n${H}\r\n`, 421, "api.test"],
  ["an absolute form beside another Host", `GET http://${HOST}/ HTTP/1.1\r\nHost: ${OTHER}\r\n\r\n`, 421, OTHER],
  ["another Host", `GET / HTTP/1.1\r\nHost: ${OTHER}\r\n\r\n`, 421, OTHER],
  ["another port in Host", `GET / HTTP/1.1\r\nHost: ${HOST}:8080\r\n\r\n`, 421, "8080"],
  ["userinfo", `GET http://${OTHER}@${HOST}/ HTTP/1.1\r\n${H}\r\n`, 400, "userinfo"],
  [
    "Upgrade with leftovers",
    `GET / HTTP/1.1\r\n${H}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nleftover`,
    501,
    "Upgrade",
  ],
  ["CONNECT", `CONNECT ${OTHER}:443 HTTP/1.1\r\nHost: ${OTHER}:443\r\n\r\n`, 501, "CONNECT"],
];

describe("H1: what two parsers could read differently is refused, on record, and nothing of it reaches the upstream", () => {
  test.each(DESYNC)("%s", async (_what, bytes, status, fault) => {
    const { text } = await raw(gateway, bytes + SMUGGLED);
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    // A misdirected request is whole, so the one behind it is a request of its own. Of anything else nothing has gone on.
    expect(got).toBe(status === 421 ? SMUGGLED : "");
    await onRecord(status === 421 ? "misdirected" : status === 501 ? "method_unsupported" : "bad_request", fault);
  });
});

test("H1: HTTP/2 by prior knowledge is not taken for HTTP/1: no answer, on record, nothing reaches the upstream", async () => {
  const { text, ended } = await raw(gateway, `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${SMUGGLED}`);
  expect([text, ended, got]).toEqual(["", "reset", ""]);
  await onRecord("protocol_unknown", HOST);
});

describe("H2: nothing goes on before the verdict", () => {
  test("a head that does not end, and a denied request whose body is still to come, send nothing", async () => {
    const half = await gateway.connect({ host: HOST, port: 80 });
    half.write(`GET /half HTTP/1.1\r\n${H}X: `);
    const denied = await gateway.connect({ host: HOST, port: 80 });
    const refusal = heard(denied);
    denied.write(`PUT /denied HTTP/1.1\r\n${H}Content-Length: 1000000\r\n\r\n${"x".repeat(100_000)}`);
    expect((await refusal).text).toMatch(/^HTTP\/1\.1 403 [^]*"code":"no_writes_here"/);
    half.destroy();
    // Another request has gone all the way meanwhile.
    expect((await ask(gateway)).body).toBe("ok");
    expect(got).toMatch(/^GET \/ HTTP\/1\.1\r\n[^]*\r\n\r\n$/);
  });

  test("with Expect: 100-continue the body is asked for only after the verdict", async () => {
    const denied = await gateway.connect({ host: HOST, port: 80 });
    const refusal = heard(denied);
    denied.write(`PUT /denied HTTP/1.1\r\n${H}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`);
    expect((await refusal).text).toMatch(/^HTTP\/1\.1 403 /);
    expect(got).toBe("");
  });
});

test("H3: TRACE is not carried, and the connection goes on", async () => {
  const on = new Kept(await gateway.connect({ host: HOST, port: 80 }));
  const refused = await ask(gateway, { on, method: "TRACE", headers: { "x-secret": "1" } });
  expect(refused.status).toBe(501);
  expect(refused.body).not.toContain("x-secret");
  expect(got).toBe("");
  expect((await ask(gateway, { on })).body).toBe("ok");
  on.socket.destroy();
});

describe("H6: an upstream connection that is idle", () => {
  test("is closed by any byte on it, and what it said is nobody's answer", async () => {
    const idle = Promise.withResolvers<net.Socket>();
    answer = (socket) => {
      socket.write(OK);
      idle.resolve(socket);
    };
    expect((await ask(gateway, { path: "/first" })).body).toBe("ok");
    const socket = await idle.promise;
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    await closed;
    answer = (other) => void other.write(OK);
    expect((await ask(gateway, { path: "/second" })).body).toBe("ok");
  });

  test("is not shared by two targets, nor by plain and TLS", async () => {
    const [api, other] = upstreams.map((upstream) => upstream.connections());
    for (let i = 0; i < 3; i++) {
      expect((await ask(gateway)).body).toBe("ok");
      expect((await ask(gateway, { host: OTHER })).body).toBe("other");
      expect((await ask(gateway, { host: SECURE, secure: true })).body).toBe(`secure ${SECURE}`);
      expect((await ask(gateway, { host: TWIN, secure: true })).body).toBe(`twin ${TWIN}`);
    }
    // Each was used again for its own.
    expect(upstreams[0]?.connections()).toBeLessThanOrEqual((api ?? 0) + 1);
    expect(upstreams[1]?.connections()).toBeLessThanOrEqual((other ?? 0) + 1);
  });
});

describe("N9: domain fronting", () => {
  test("a Host inside TLS that is not the name: 421, also for a name that is allowed by itself", async () => {
    const refused = await ask(gateway, { host: SECURE, secure: true, headers: { host: TWIN } });
    expect(refused.status).toBe(421);
    await onRecord("misdirected", TWIN);
  });

  test("an SNI that is not the name of the connection is refused before any upstream is dialled", async () => {
    const before = upstreams[2]?.connections();
    const socket = await gateway.connect({ host: SECURE, port: 443 });
    const fronted = tls.connect({ socket, servername: TWIN, ca: gateway.caPem });
    fronted.write(`GET / HTTP/1.1\r\nHost: ${TWIN}\r\n\r\n`);
    expect((await heard(fronted)).text).toMatch(/^HTTP\/1\.1 421 [^]*"code":"name_mismatch"/);
    expect(upstreams[2]?.connections()).toBe(before);
    await onRecord("name_mismatch", TWIN);
  });

  test("each name has an address of its own, so that neither stands for the other", async () => {
    const one = await gateway.connect({ host: SECURE, port: 443 });
    const two = await gateway.connect({ host: TWIN, port: 443 });
    expect(one.remoteAddress).not.toBe(two.remoteAddress);
    one.destroy();
    two.destroy();
  });

  test("Alt-Svc, which would send the agent elsewhere, is taken out of answers", async () => {
    for (const asked of [{ host: OTHER }, { host: SECURE, secure: true }]) {
      const { status, headers } = await ask(gateway, asked);
      expect([status, headers["alt-svc"]]).toEqual([200, undefined]);
    }
  });
});

describe("E1: what was not understood completely is denied, whatever else a policy allows", () => {
  test.each([
    ["a method that nobody knows", { method: "FROBNICATE" }],
    ["a method in another field", { method: "POST", headers: { "x-http-method-override": "DELETE" } }],
    ["a path in another field", { headers: { "x-original-url": "/admin" } }],
    ["a query that is too long to be read", { path: `/?${"a=1&".repeat(3_000)}` }],
  ])("%s", async (_what, asked) => {
    // Node's client does not know every method.
    const lines = Object.entries("headers" in asked ? asked.headers : {}).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    );
    const method = "method" in asked ? asked.method : "GET";
    const path = "path" in asked ? asked.path : "/";
    const { text } = await raw(
      gateway,
      `${method} ${path} HTTP/1.1\r\n${H}${lines.join("")}Content-Length: 0\r\nConnection: close\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1\.1 403 [^]*"code":"incomplete"/);
    expect(got).toBe("");
  });
});

test("E9: a decision that depends on the time is not remembered: what was allowed is denied when its time has passed", async () => {
  const on = new Kept(await gateway.connect({ host: HOST, port: 80 }));
  const path = `/timed?until=${Date.now() + 1_000}`;
  const first = await ask(gateway, { on, path });
  expect(first.status).toBe(200);
  let last = first;
  for (const end = Date.now() + 10_000; last.status === 200 && Date.now() < end; )
    last = await ask(gateway, { on, path });
  expect(last.body).toContain('"code":"too_late"');
  on.socket.destroy();
});
