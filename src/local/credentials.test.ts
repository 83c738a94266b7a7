import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CredentialReply } from "#contract/credential-messages.ts";
import { certificateFor } from "../../test/support/sidecar-upstream.ts";
import { type LocalCredentials, openCredentials } from "./credentials.ts";

const SECRET = `value-${randomBytes(12).toString("hex")}`;
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-local-credentials-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string): string => path.join(folder, name);

function file(name: string, text: string, mode = 0o600): string {
  writeFileSync(at(name), text);
  chmodSync(at(name), mode);
  return name;
}

const surroundings = { env: { TOKEN: SECRET, PATH: process.env["PATH"] }, home: null, uid: process.getuid?.() ?? 0 };

async function problems(yaml: string): Promise<readonly string[]> {
  file("credentials.yaml", yaml);
  const opened = await openCredentials(folder, surroundings);
  return opened.kind === "problems" ? opened.lines : [];
}

async function open(yaml: string): Promise<LocalCredentials> {
  file("credentials.yaml", yaml);
  const opened = await openCredentials(folder, surroundings);
  if (opened.kind === "problems") throw new Error(opened.lines.join("\n"));
  return opened.credentials;
}

function ask(credentials: LocalCredentials, name: string): Promise<CredentialReply> {
  return new Promise((resolve) => credentials.answer({ kind: "credential", id: 7, name }, resolve));
}

const one = (text: string): string => `credentials:\n  x: { ${text} }\n`;

describe("credentials.yaml", () => {
  test.each([
    ["a variable", "kind: bearer, from: { env: TOKEN }", () => {}],
    ["a file of mode 0600", "kind: bearer, from: { file: secret }", () => file("secret", `${SECRET}\n`)],
    ["what a command prints", `kind: bearer, from: { command: [printf, "%s", ${SECRET}] }`, () => {}],
  ])("gives a secret out of %s", async (_what, text, prepare) => {
    prepare();
    const reply = await ask(await open(one(text)), "x");
    expect(reply).toMatchObject({ kind: "credential", id: 7, ok: true, value: { kind: "bearer", secret: SECRET } });
  });

  test("says what each kind needs on the wire", async () => {
    const value = async (text: string): Promise<unknown> => {
      const reply = await ask(await open(one(`${text}, from: { env: TOKEN }`)), "x");
      return "value" in reply ? reply.value : reply;
    };
    expect(await value("kind: header, header: X-Key, prefix: 'v1 '")).toMatchObject({ field: "X-Key", prefix: "v1 " });
    expect(await value("kind: basic, user: ada")).toMatchObject({ user: "ada" });
    expect(await value("kind: query, parameter: key")).toMatchObject({ field: "key" });
    expect(await value("kind: password, user: app, database: shop")).toMatchObject({ user: "app", database: "shop" });
  });

  test.each<[string, string, RegExp]>([
    ["a file that others can read", "kind: bearer, from: { file: open }", /can be read by others/],
    ["a file that is not there", "kind: bearer, from: { file: nowhere }", /is no file/],
    ["an empty file", "kind: bearer, from: { file: empty }", /is empty/],
    ["a variable that is not set", "kind: bearer, from: { env: NOT_SET }", /NOT_SET is not set/],
    ["a command that fails", "kind: bearer, from: { command: [sh, -c, 'echo leaked; exit 3'] }", /sh failed \(3\)/],
    ["a kind that nobody knows", "kind: magic, from: { env: TOKEN }", /credentials\.x\.kind: one of bearer, header/],
    ["a member that nobody knows", "kind: bearer, secret: y, from: { env: TOKEN }", /credentials\.x/],
    ["two origins", "kind: bearer, from: { env: TOKEN, file: secret }", /credentials\.x/],
    [
      "a token endpoint without TLS",
      "kind: oauth2ClientCredentials, tokenUrl: 'http://x', clientId: a, from: { env: TOKEN }",
      /credentials\.x\.tokenUrl/,
    ],
    ["a field that frames the request", "kind: header, header: Host, from: { env: TOKEN }", /cannot|can carry/],
  ])("is a problem with %s, and says no value", async (_what, text, says) => {
    file("open", SECRET, 0o644);
    file("empty", "\n");
    const told = (await problems(one(text))).join("\n");
    expect(told).toMatch(says);
    expect(told).not.toContain(SECRET);
    expect(told).not.toContain("leaked");
  });

  test("names a name that cannot be one, and a file that is none of these", async () => {
    expect(await problems("credentials:\n  Up_Per: { kind: bearer, from: { env: TOKEN } }\n")).toHaveLength(1);
    expect(await problems("other: 1\n")).toHaveLength(1);
  });
});

test("whoever asks for another name hears that there is none", async () => {
  const credentials = await open(one("kind: bearer, from: { env: TOKEN }"));
  expect(await ask(credentials, "y")).toMatchObject({ ok: false, why: "unknown" });
});

test("E10: the agent's environment has placeholders, and no variable that holds a secret under another name", async () => {
  file("secret", SECRET);
  const credentials = await open(
    "credentials:\n  a: { kind: bearer, from: { env: TOKEN } }\n  b: { kind: header, header: X-K, from: { file: secret }, placeholder: { env: B_KEY } }\n",
  );
  const { env, notes } = credentials.agentEnvironment({
    TOKEN: SECRET,
    COPY: `Bearer ${SECRET}`,
    HOME: "/home/ada",
  });
  expect(env).toEqual({ TOKEN: "sidegate-placeholder-a", B_KEY: "sidegate-placeholder-b", HOME: "/home/ada" });
  expect(notes).toEqual(["COPY holds a credential and is not there for the command"]);
  expect(credentials.hide).toEqual([at("secret")]);
  expect(credentials.redacted(`curl -H 'x: ${SECRET}'`)).toBe("curl -H 'x: [credential]'");
});

test("a secret file that is replaced is told of, and its new value given", async () => {
  file("secret", SECRET);
  const credentials = await open(one("kind: bearer, from: { file: secret }"));
  const changed = new Promise<CredentialReply>((resolve) => {
    const close = credentials.follow((message) => {
      close();
      resolve(message);
    });
  });
  file("secret", "another-value");
  expect(await changed).toEqual({ kind: "credential-changed", name: "x" });
  expect(await ask(credentials, "x")).toMatchObject({ value: { secret: "another-value" } });
});

describe("oauth2ClientCredentials", () => {
  const TOKEN = `token-${randomBytes(8).toString("hex")}`;
  const got: { readonly authorization: string | undefined; readonly form: string }[] = [];
  let answer: { status: number; body: string };
  let server: https.Server;
  let tokenUrl = "";

  beforeAll(async () => {
    const { cert, key, caPem } = certificateFor("localhost");
    file("idp.pem", caPem);
    server = https.createServer({ cert, key }, (request, response) => {
      let form = "";
      request.on("data", (piece: Buffer) => (form += piece.toString()));
      request.on("end", () => {
        got.push({ authorization: request.headers.authorization, form });
        response.writeHead(answer.status, { "content-type": "application/json" }).end(answer.body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    tokenUrl = `https://localhost:${(server.address() as AddressInfo).port}/token`;
  });
  afterAll(() => {
    server.close();
    server.closeAllConnections();
  });

  const entry = (more = ""): string =>
    one(
      `kind: oauth2ClientCredentials, tokenUrl: "${tokenUrl}", clientId: "a b", ca: idp.pem, scope: read${more}, from: { env: TOKEN }`,
    );
  const good = (more: object = {}): { status: number; body: string } => ({
    status: 200,
    body: JSON.stringify({ access_token: TOKEN, token_type: "Bearer", expires_in: 100, ...more }),
  });

  test("gives the token and its time, and keeps the client's own secret", async () => {
    answer = good();
    const reply = await ask(await open(entry()), "x");
    expect(reply).toMatchObject({
      ok: true,
      value: { kind: "oauth2ClientCredentials", secret: TOKEN, expiresInMs: 100_000, refreshInMs: 80_000 },
    });
    expect(JSON.stringify(reply)).not.toContain(SECRET);
    const login = Buffer.from(`a+b:${SECRET}`).toString("base64");
    expect(got.at(-1)).toEqual({ authorization: `Basic ${login}`, form: "grant_type=client_credentials&scope=read" });
  });

  test("logs in by the form where it is told to", async () => {
    answer = good();
    await ask(await open(entry(", auth: body")), "x");
    expect(got.at(-1)?.authorization).toBeUndefined();
    expect(new URLSearchParams(got.at(-1)?.form).get("client_secret")).toBe(SECRET);
  });

  test.each<[string, () => { status: number; body: string }]>([
    ["an error", () => ({ status: 401, body: SECRET })],
    ["a redirect", () => ({ status: 302, body: "" })],
    ["no JSON", () => ({ status: 200, body: SECRET })],
    ["no token", () => good({ access_token: "" })],
    ["another type of token", () => good({ token_type: "mac" })],
    ["no time", () => good({ expires_in: -1 })],
  ])("is unavailable where the endpoint gives %s, and quotes nothing of it", async (_what, make) => {
    answer = make();
    const reply = await ask(await open(entry()), "x");
    expect(reply).toMatchObject({ ok: false, why: "unavailable" });
    expect(JSON.stringify(reply)).not.toContain(SECRET);
  });

  test("never goes to an endpoint whose certificate does not verify", async () => {
    answer = good();
    file("idp.pem", certificateFor("localhost").caPem);
    const before = got.length;
    expect(await ask(await open(entry()), "x")).toMatchObject({ ok: false, why: "unavailable" });
    expect(got).toHaveLength(before);
  });
});
