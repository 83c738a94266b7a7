/**
 * Twelve secrets on the wire, in every place where an agent or an upstream puts one: allowed, denied, malformed and misdirected
 * requests. Afterwards none of them is in any file of the gateway (spool, record, write-ahead log, logs, state), on the metrics
 * page, in a decision line, or in a refusal. Values are made at run time, so that no file of ours looks like it held one.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Gateway, startGateway } from "../support/sidecar.ts";
import { ask, HOST, raw } from "../support/sidecar-client.ts";
import { httpsUpstream, httpUpstream, targetTo, type Upstream } from "../support/sidecar-upstream.ts";

const letters = (count: number): string =>
  randomBytes(count).toString("base64url").replaceAll(/[-_]/g, "x").slice(0, count);
const capitals = (count: number): string =>
  Array.from(randomBytes(count), (byte) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[byte % 32]).join("");
const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** The secret itself, without what stands around it: that is what must be nowhere. */
const SECRETS = {
  bearer: letters(40),
  basic: letters(24),
  cookie: letters(32),
  apiKey: letters(32),
  query: letters(32),
  aws: `AKIA${capitals(16)}`,
  github: `ghp_${letters(36)}`,
  jwt: `${encoded({ alg: "HS256", typ: "JWT" })}.${encoded({ sub: letters(12) })}.${letters(43)}`,
  privateKey: letters(64),
  sqlPassword: letters(20),
  userinfo: letters(18),
  setCookie: letters(32),
  presigned: randomBytes(32).toString("hex"),
} as const;
type Name = keyof typeof SECRETS;

/** RFC 7468, in two words: no file of ours shall look as if it held one. */
const KEY = ["PRIVATE", "KEY"].join(" ");

/** Where each is put in a request: path with query, headers, body. */
const PLACES: Readonly<
  Record<Exclude<Name, "setCookie">, { path?: string; headers?: Record<string, string>; body?: string }>
> = {
  bearer: { headers: { authorization: `Bearer ${SECRETS.bearer}` } },
  basic: { headers: { authorization: `Basic ${Buffer.from(`agent:${SECRETS.basic}`).toString("base64")}` } },
  cookie: { headers: { cookie: `theme=dark; session=${SECRETS.cookie}` } },
  apiKey: { headers: { "x-api-key": SECRETS.apiKey } },
  query: { path: `/search?q=shoes&token=${SECRETS.query}&page=2` },
  aws: {
    path: `/bucket/${SECRETS.aws}/object`,
    headers: { "x-note": `key ${SECRETS.aws}` },
    body: `aws_access_key_id = ${SECRETS.aws}`,
  },
  github: { path: `/clone/${SECRETS.github}`, headers: { "user-agent": `git/2 ${SECRETS.github}` } },
  jwt: { path: `/callback/${SECRETS.jwt}`, headers: { "x-forwarded-user": SECRETS.jwt } },
  privateKey: {
    headers: { "x-key": `-----BEGIN ${KEY}-----${SECRETS.privateKey}-----END ${KEY}-----` },
    body: `-----BEGIN ${KEY}-----\n${SECRETS.privateKey}\n-----END ${KEY}-----\n`,
  },
  sqlPassword: {
    path: `/run?sql=${encodeURIComponent(`ALTER ROLE app PASSWORD '${SECRETS.sqlPassword}'`)}`,
    headers: { "x-dsn": `host=db user=app password=${SECRETS.sqlPassword}` },
    body: `ALTER ROLE app PASSWORD '${SECRETS.sqlPassword}'`,
  },
  userinfo: {
    path: `/fetch?url=${encodeURIComponent(`https://me:${SECRETS.userinfo}@other.example/x`)}`,
    headers: { referer: `https://me:${SECRETS.userinfo}@other.example/` },
  },
  presigned: { path: `/object?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=${SECRETS.presigned}&X-Amz-Expires=60` },
};
const PLACED = Object.entries(PLACES);

let gateway: Gateway;
const upstreams: Upstream[] = [];
/** What reached the upstreams: the gateway redacts its record, not the traffic. */
let arrived = "";
/** All that agents were answered by the gateway itself. */
const refusals: string[] = [];

beforeAll(async () => {
  const plain = await httpUpstream((request, response) => {
    arrived += `${request.url}\n${request.rawHeaders.join("\n")}\n`;
    request.setEncoding("utf8").on("data", (text: string) => {
      arrived += text;
    });
    request.on("end", () => {
      const location = `https://me:${SECRETS.userinfo}@next.example/?token=${SECRETS.query}`;
      response.writeHead(302, { "set-cookie": `session=${SECRETS.setCookie}; HttpOnly`, location });
      response.end(`{"access_token":"${SECRETS.bearer}"}`);
    });
  });
  const secure = await httpsUpstream("secure.test", (_request, response) => response.end("ok"));
  upstreams.push(plain, secure);
  gateway = await startGateway({
    policy: {
      policies: {
        // Reads everything that can be read, so that all of it is judged, and recorded as facts.
        reads: [
          'allow if { input.action == "connect" }',
          'allow if { input.target.name in {"api", "secure"} }',
          'deny contains {"code": "closed", "message": $"{input.http.path} at {input.http.host} is closed."} if { input.target.name == "closed"; input.http.method }',
          'deny contains {"code": "never", "message": "never"} if { input.http.headers["x-never"] }',
          'deny contains {"code": "never", "message": "never"} if { input.http.query["never"] }',
        ].join("\n\n"),
      },
      targets: [
        targetTo(plain, { name: "api", hosts: [HOST] }),
        targetTo(plain, { name: "closed", hosts: ["closed.test"], protocol: "http" }),
        targetTo(secure, { name: "secure", hosts: ["secure.test"], ports: [443], upstream: { ca: secure.caPem } }),
      ],
    },
  });
});

afterAll(async () => {
  await gateway?.close();
  for (const upstream of upstreams) await upstream.close();
});

function requestText(
  host: string,
  version: string,
  { path = "/", headers = {}, body = "" }: (typeof PLACES)[keyof typeof PLACES],
): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST ${path} ${version}\r\nHost: ${host}\r\n${lines.join("")}Content-Length: ${body.length}\r\n\r\n${body}`;
}

test("requests that carry them are allowed, and arrive unchanged", async () => {
  for (const [, { path, headers, body }] of PLACED) {
    const asked = {
      path: path ?? "/",
      headers: headers ?? {},
      ...(body === undefined ? {} : { method: "POST", body }),
    };
    const { headers: answered } = await ask(gateway, asked);
    expect(answered["set-cookie"]).toEqual([`session=${SECRETS.setCookie}; HttpOnly`]);
    expect((await ask(gateway, { ...asked, host: "secure.test", secure: true })).body).toBe("ok");
  }
  for (const name of Object.keys(PLACES)) {
    const secret = name === "basic" ? Buffer.from(`agent:${SECRETS.basic}`).toString("base64") : SECRETS[name as Name];
    expect(arrived, name).toContain(secret);
  }
});

test("requests that carry them are denied by policy, misdirected, malformed, or of a protocol that nobody knows", async () => {
  for (const [, place] of PLACED) {
    refusals.push((await raw(gateway, requestText("closed.test", "HTTP/1.1", place), { host: "closed.test" })).text);
    refusals.push((await raw(gateway, requestText(`${HOST}.evil.example`, "HTTP/1.1", place))).text);
    refusals.push(
      (await raw(gateway, requestText(HOST, "HTTP/1.1", place).replace("Content-Length: ", "Content-Length: 1, ")))
        .text,
    );
    refusals.push((await raw(gateway, requestText(HOST, "HTTP/9.9", place))).text);
    refusals.push((await raw(gateway, `SECRET ${JSON.stringify(place)}\n`)).text);
  }
  refusals.push(
    (await raw(gateway, `GET http://me:${SECRETS.userinfo}@${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)).text,
  );
  refusals.push((await raw(gateway, `GET / HTTP/1.1\r\nHost: ${SECRETS.github}.${HOST}\r\n\r\n`)).text);
  const codes = new Set(refusals.flatMap((text) => /"code":"(\w+)"/.exec(text)?.[1] ?? []));
  expect(codes).toEqual(new Set(["closed", "misdirected", "bad_request"]));
  for (const secret of [SECRETS.github, SECRETS.aws, SECRETS.apiKey])
    await expect(
      gateway.connect({ host: `${secret.toLowerCase().replaceAll("_", "-")}.unknown.test`, port: 80 }),
    ).rejects.toThrow(/ENOTFOUND/);
});

test("none of them is in the spool, the record, a log, a metric, a decision line or a refusal", async () => {
  const metrics = await gateway.metrics();
  // What the spool held before it was shipped is looked at, too: the collector is stopped first, one round goes nowhere.
  await gateway.stop("collector");
  for (const [, { path, headers, body }] of PLACED)
    await ask(gateway, {
      path: path ?? "/",
      headers: headers ?? {},
      ...(body === undefined ? {} : { method: "POST", body }),
    });
  const seen = new Map<string, string>([
    ["metrics", metrics],
    ["decision lines", JSON.stringify(gateway.decisions)],
    ["refusals", refusals.join("\n")],
    ...gateway.files().map((file) => [file, readFileSync(file, "latin1")] as const),
  ]);
  const spool = [...seen.keys()].filter((file) => file.endsWith(".ndjson"));
  expect(spool.length).toBeGreaterThan(0);
  expect([...seen.keys()].filter((file) => /audit\.db(-wal)?$/.test(file)).length).toBeGreaterThan(0);
  expect(seen.get(spool[0] ?? "")).toContain("/bucket/");
  for (const [name, secret] of Object.entries(SECRETS))
    for (const form of forms(secret))
      for (const [where, text] of seen)
        expect(text.includes(form), `${name} as ${form} in ${where}: ${around(text, form)}`).toBe(false);
});

/** As it is, in base64 of the usual pairings, URL-encoded, and in the case of a looked-up name. */
function forms(secret: string): Set<string> {
  const pairs = ["agent", "me"].map((user) => Buffer.from(`${user}:${secret}`).toString("base64"));
  return new Set([secret, ...pairs, encodeURIComponent(secret), Buffer.from(secret).toString("hex")]);
}

function around(text: string, form: string): string {
  const at = text.indexOf(form);
  return at < 0 ? "" : text.slice(Math.max(0, at - 120), at + form.length + 20);
}
