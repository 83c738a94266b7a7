import * as fc from "fast-check";
import { expect, test } from "vitest";
import { quote } from "#core/json-text.ts";
import { committed, MemoryDisk, op, recorderOn } from "../../test/support/record.ts";
import { redact, replaceSecrets } from "./redact.ts";

// Not one of these is, or ever was, anybody's secret. Glued together, so that no scanner takes this file for a leak.
const b64 = (text: string): string => Buffer.from(text).toString("base64url");
const MARK = "Zq7Vw2Kp9Tn4";
const JWT = `${b64('{"alg":"HS256","typ":"JWT"}')}.${b64('{"sub":"x"}')}.${MARK}${MARK}`;
const KEY = ["PRIVATE", "KEY"].join(" ");
const AWS = ["AKIA", "QWERTYUIOPASDFGH"].join("");
const PEM = `-----BEGIN ${KEY}-----\nMIG${MARK}\n${MARK}\n-----END ${KEY}-----\n`;
const TWELVE: readonly (readonly [what: string, secret: string, members: string])[] = [
  ["a bearer token in a header", MARK, `"headers":{"authorization":${quote(`Bearer ${MARK}`)}}`],
  ["basic credentials in a text", b64(`u:${MARK}`), `"note":${quote(`sent Basic ${b64(`u:${MARK}`)} along`)}`],
  ["a JWT in a query", JWT, `"http":{"query":{"q":[${quote(JWT)}]}}`],
  ["a JWT in a path", JWT, `"http":{"path":${quote(`/v1/${JWT}/x`)}}`],
  ["an AWS key id", AWS, `"x":"${AWS}"`],
  ["a GitHub token", `ghp_${MARK}${MARK}`, `"x":${quote(`ghp_${MARK}${MARK}`)}`],
  ["a private key in a body", MARK, `"body":${quote(PEM)}`],
  ["a password in a query string", MARK, `"url":${quote(`/login?user=x&password=${MARK}&next=/`)}`],
  ["a password member", `${MARK}"\\quoted`, `"form":{"user":"x","password":${quote(`${MARK}"\\quoted`)}}`],
  ["a password in SQL", MARK, `"text":${quote(`ALTER ROLE app PASSWORD '${MARK}'`)}`],
  ["a password in a URL", MARK, `"url":${quote(`https://user:${MARK}@host.example/x`)}`],
  ["an API key in nested JSON", MARK, `"body":${quote(JSON.stringify({ api_key: MARK, n: 1 }))}`],
];

test.each(TWELVE)("leaves nothing of %s, and leaves JSON", (_what, secret, members) => {
  const out = redact(members, "name");
  expect(out).not.toContain(secret);
  expect(out).not.toContain(MARK);
  expect(out).toContain("[redacted");
  expect(() => JSON.parse(`{${out}}`) as unknown).not.toThrow();
});

test("THREATS E10: twelve planted secrets never reach the spool, wherever a lane forgets them", async () => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  for (const [, , members] of TWELVE) {
    recorder.op(op({ facts: members, detail: "" }));
    recorder.op(op({ facts: "", detail: members }));
    recorder.note("finding", members);
  }
  await committed(recorder);
  for (const [, secret] of TWELVE) {
    expect(disk.text()).not.toContain(secret);
    expect(disk.text()).not.toContain(MARK);
  }
});

test("what looks like a secret by itself does not reach the core either", async () => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  recorder.op(
    op({ preamble: `"v":1,"run":{"intent":${quote(`use ${JWT}`)}}`, decision: `"message":${quote(`Bearer ${MARK}`)}` }),
  );
  recorder.session({ client: "a:1", destination: "b:2", target: null, host: `x.${JWT}`, port: 1 });
  await committed(recorder);
  expect(disk.text()).not.toContain(MARK);
});

test.each([
  `curl -sS -H Authorization: Bearer ${MARK} https://x.example/`,
  `curl -u erika:${MARK} https://x.example/`,
  `psql --user=erika:${MARK}`,
  `tool --password ${MARK} --out x`,
  `tool --api-key=${MARK}`,
  `tool --github-token ${MARK}`,
  `env API_TOKEN=${MARK} agent`,
  `PGPASSWORD=${MARK} psql`,
])("a command line as the intent of a run loses its secret: %s", async (intent) => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  recorder.op(op({ preamble: `"v":1,"run":{"intent":${quote(intent)}}` }));
  await committed(recorder);
  expect(disk.text()).not.toContain(MARK);
  expect(disk.text()).toContain(intent.slice(0, 4));
});

test.each([
  "COOKIE: ",
  "X-API-KEY=",
  "AUTHORIZATION: Basic ",
  "X-Amz-SIGNATURE=",
  "access_KEY=",
  "privateKey: ",
  "Pwd=",
  "?CODE=x&Key=",
])("finds %s in any case", (name) => {
  expect(redact(`"x":"${name}${MARK}"`, "name")).not.toContain(MARK);
});

test("ordinary operations stay as they are", () => {
  const ordinary = [
    '"http":{"method":"GET","scheme":"https","host":"tokens.example","path":"/v1/passwords/policy","segments":["v1"],"query":{},"headers":{"accept":"*/*"}}',
    '"decision":{"credential":"billing-key"}',
    '"sql":{"text":"select id, token_count from usage where n > 5"}',
    '"max_tokens":1024,"usage":{"total_tokens":17}',
    '"url":"https://host.example:8443/a@b"',
    '"action":"credential"',
    '"intent":"curl -sS --user-agent x/1 https://billing.example/"',
  ];
  for (const text of [ordinary[0], ordinary[2], ordinary[3], ordinary[4], ordinary[5], ordinary[6]])
    expect(redact(text ?? "", "name")).toBe(text);
  expect(redact(ordinary[1] ?? "", "shape")).toBe(ordinary[1]);
});

test("whatever the text, JSON stays JSON", () => {
  const piece = fc.oneof(
    fc.uint16Array({ maxLength: 12 }).map((codes) => String.fromCharCode(...codes)),
    fc.constantFrom(
      "password=",
      "Bearer ",
      "://a:",
      "a://b:c",
      "-u ",
      " ",
      "sk-",
      "pwd",
      "=",
      "@",
      "'",
      '"',
      "\\",
      "eyJhbGciOi",
      ".",
      "-----BEGIN X-----",
      "token",
      ": ",
      "%3D",
      "secret",
      "[redacted]",
      "AKIA1234567890ABCDEF",
      "COOKIE: ",
      "X-Api-Key",
      "ACCESS_KEY",
      "Authorization=",
      "SIGNATURE",
      "?code=",
      "--user ",
    ),
  );
  const text = fc.array(piece, { maxLength: 12 }).map((p) => p.join(""));
  const json = fc.oneof(
    text.map((t) => JSON.stringify({ a: t, password: t })),
    fc.tuple(text, text).map(([k, v]) => JSON.stringify({ [k]: v, list: [v, { token: [v, v] }], n: { secret: 12 } })),
    text.map((t) => JSON.stringify({ body: JSON.stringify({ password: t, x: [t] }) })),
  );
  fc.assert(
    fc.property(json, (value) => {
      const members = value.slice(1, -1);
      expect(() => JSON.parse(`{${redact(members, "name")}}`) as unknown).not.toThrow();
      expect(() => JSON.parse(`{${redact(members, "shape")}}`) as unknown).not.toThrow();
      // The quick looks miss nothing.
      expect(redact(members, "name")).toBe(replaceSecrets(members, "name"));
    }),
    { numRuns: Number(process.env["FUZZ_RUNS"] ?? 1_000) },
  );
}, 60_000);

test("redacting twice changes nothing more", () => {
  for (const [, , members] of TWELVE) {
    const once = redact(members, "name");
    expect(redact(once, "name")).toBe(once);
  }
});
