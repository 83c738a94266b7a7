import { createHmac, createPublicKey, generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { makeRunKey } from "./assemble.ts";
import { type BundleClaims, SIGNATURES, signFiles, verifyFiles } from "./signature.ts";

const CLAIMS: BundleClaims = { scope: "local", sequence: 5, notAfterMs: null };
const key = makeRunKey();

function files(entries: Record<string, string>): Map<string, Uint8Array> {
  return new Map(Object.entries(entries).map(([name, text]) => [name, Buffer.from(text)]));
}

function signed(claims = CLAIMS): Map<string, Uint8Array> {
  const content = files({ "data.json": '{"a":1}', "policy.wasm": "wasm", ".manifest": '{"revision":"r"}' });
  content.set(SIGNATURES, Buffer.from(signFiles(content, claims, key.signing)));
  return content;
}

/** A token of one's own over a payload of one's own. */
function forge(header: object, payload: object, sign: (text: string) => Buffer): string {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${encode(header)}.${encode(payload)}`;
  return JSON.stringify({ signatures: [`${text}.${sign(text).toString("base64url")}`] });
}

test("what was signed is verified, with its scope, sequence and end", () => {
  expect(verifyFiles(signed(), [key.trusted])).toEqual({ kind: "verified", claims: CLAIMS });
  const end = { ...CLAIMS, notAfterMs: 1_800_000_000_000 };
  expect(verifyFiles(signed(end), [key.trusted])).toEqual({ kind: "verified", claims: end });
});

test("a signature that `opa sign` made is verified", () => {
  const publicKey = createPublicKey(
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA2+8pB8gtdLaEfWOFVipKNLcItgBrADPcWWSeyhKNKxE=\n-----END PUBLIC KEY-----\n",
  );
  const content = files({
    "sg/data.json": '{"sidegate":{"data":{"billing":{"bad":["x-a\\u003cb"],"n":1e3,"s":"\\u2028\\u0001é\\b"}}}}',
    "sg/.manifest": '{"revision":"r1","roots":["sidegate"],"metadata":{"sidegate":{"x":1.50}}}',
    [SIGNATURES]:
      '{"signatures":["eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJleHAiOjE5OTk5OTk5OTksImZpbGVzIjpbeyJuYW1lIjoic2cvLm1hbmlmZXN0IiwiaGFzaCI6ImYwYTUzM2JmZTRkODM1Yzg1YWJhOGMwMzNlZTk2MzAxNjQwMDk4ZDBhMjhkOWZjYTc1ZjFiZGQwNDFmODk0ZTQiLCJhbGdvcml0aG0iOiJTSEEtMjU2In0seyJuYW1lIjoic2cvZGF0YS5qc29uIiwiaGFzaCI6IjdiZDIzNmZlNDdlN2UyMGI1N2FjYjNlZDE4YzA1ZWNlNThiMjZjOGVlNGU5MjE1Nzg3ZDkyNjExOGQ1MDcyMGYiLCJhbGdvcml0aG0iOiJTSEEtMjU2In1dLCJzY29wZSI6ImxvY2FsIiwic2VxdWVuY2UiOjV9.ht9DuHiAKOqu9mHsbWZ9Ji4Nvd-d2Y9bdhwGqmrO69IzohjrrsdjErdvflPGBYhAJiXi94FqCW7G9j6hiYKJDw"]}',
  });
  expect(verifyFiles(content, [{ id: "k", publicKey }])).toEqual({
    kind: "verified",
    claims: { scope: "local", sequence: 5, notAfterMs: 1_999_999_999_000 },
  });
});

test("E3: another key's signature is refused", () => {
  expect(verifyFiles(signed(), [makeRunKey().trusted])).toMatchObject({ kind: "refused", code: "bundle_signature" });
  expect(verifyFiles(signed(), [])).toMatchObject({ kind: "refused", code: "bundle_signature" });
});

test("E3: a swapped, an added and a missing file are refused, and named", () => {
  const swapped = signed();
  swapped.set("policy.wasm", Buffer.from("evil"));
  expect(verifyFiles(swapped, [key.trusted])).toMatchObject({
    code: "bundle_file",
    message: expect.stringContaining("policy.wasm"),
  });
  const added = signed();
  added.set("more.json", Buffer.from("{}"));
  expect(verifyFiles(added, [key.trusted])).toMatchObject({
    code: "bundle_file",
    message: expect.stringContaining("more.json"),
  });
  const missing = signed();
  missing.delete("data.json");
  expect(verifyFiles(missing, [key.trusted])).toMatchObject({
    code: "bundle_file",
    message: expect.stringContaining("data.json"),
  });
});

test("E3: no signature, two signatures and an unreadable one are refused", () => {
  const none = signed();
  none.delete(SIGNATURES);
  expect(verifyFiles(none, [key.trusted])).toMatchObject({ code: "bundle_unsigned" });
  for (const text of [
    "",
    "{}",
    '{"signatures":[]}',
    '{"signatures":["a","b"]}',
    '{"signatures":["a.b"]}',
    '{"signatures":["a.b.c"]}',
    "null",
  ]) {
    const broken = signed();
    broken.set(SIGNATURES, Buffer.from(text));
    expect(verifyFiles(broken, [key.trusted]), text).toMatchObject({ kind: "refused", code: "bundle_signature" });
  }
});

test("E3: a token that names another algorithm is refused: none, and a shared secret made of our public key", () => {
  const payload = { files: [], ...CLAIMS };
  const pem = key.trusted.publicKey.export({ format: "pem", type: "spki" });
  const tokens = [
    forge({ alg: "none" }, payload, () => Buffer.alloc(0)),
    forge({ alg: "HS256" }, payload, (text) => createHmac("sha256", pem).update(text).digest()),
  ];
  for (const token of tokens)
    expect(verifyFiles(files({ [SIGNATURES]: token }), [key.trusted])).toMatchObject({
      kind: "refused",
      code: "bundle_signature",
    });
});

test("a signature without scope or sequence is refused", () => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const content = files({ "data.json": "{}" });
  for (const claims of [
    { sequence: 1 },
    { scope: "local" },
    { scope: "local", sequence: -1 },
    { scope: "local", sequence: 1.5 },
  ]) {
    content.delete(SIGNATURES);
    content.set(SIGNATURES, Buffer.from(signFiles(content, claims as BundleClaims, { id: "k", privateKey })));
    expect(verifyFiles(content, [{ id: "k", publicKey }])).toMatchObject({ kind: "refused" });
  }
});
