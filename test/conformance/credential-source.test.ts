/** What every source of credentials owes the sidecar: one suite for the parent of a run and for a controller. */
import https from "node:https";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { CredentialFault, type CredentialSource, type WantedCredential } from "#contract/credential.ts";
import type { CredentialReply, CredentialRequest } from "#contract/credential-messages.ts";
import { createChannelSource } from "#sidecar/credentials/channel-source.ts";
import { createHttpSource } from "#sidecar/credentials/http-source.ts";
import { certificateFor } from "../support/sidecar-upstream.ts";

const VALUE = "a-value-of-this-test";
const GOOD = { kind: "bearer", secret: VALUE, expiresInMs: 60_000, refreshInMs: 30_000 };

const wanted = (name: string): WantedCredential => ({ name, target: "billing", binding: "b1", fresh: false });
const after = (ms: number, fire: () => void): { cancel(): void } => {
  const timer = setTimeout(fire, ms);
  timer.unref();
  return { cancel: () => clearTimeout(timer) };
};

/** What is said to whoever asks for a name: a value, or why there is none; undefined: nothing, ever. */
type Store = (name: string) => { readonly value: unknown } | { readonly why: CredentialFault["why"] } | undefined;

interface World {
  readonly source: CredentialSource;
  /** Names that were asked for. */
  readonly asked: string[];
  /** Whoever has the credentials goes away. */
  readonly leave: () => Promise<void>;
}

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function channel(store: Store): Promise<World> {
  const asked: string[] = [];
  let heard: ((message: unknown) => void) | null = null;
  let there = true;
  const source = createChannelSource({
    send(message: CredentialRequest) {
      if (!there) return false;
      asked.push(message.name);
      const said = store(message.name);
      const { id } = message;
      const reply: CredentialReply | null =
        said === undefined
          ? null
          : "value" in said
            ? { kind: "credential", id, ok: true, value: said.value }
            : { kind: "credential", id, ok: false, why: said.why, message: "no" };
      if (reply !== null) queueMicrotask(() => heard?.(reply));
      return true;
    },
    listen: (then) => {
      heard = then;
    },
  });
  return { source, asked, leave: async () => void (there = false) };
}

async function controller(store: Store, token = "the-pods-token"): Promise<World> {
  const asked: string[] = [];
  const { cert, key, caPem } = certificateFor("localhost");
  const server = https.createServer({ cert, key }, (request, response) => {
    const name = decodeURIComponent((request.url ?? "").split("/").at(-1) ?? "");
    if (request.headers.authorization !== "Bearer the-pods-token") return response.writeHead(401).end();
    asked.push(name);
    const said = store(name);
    if (said === undefined) return response;
    if ("value" in said) return response.end(JSON.stringify(said.value));
    return response.writeHead(said.why === "unknown" ? 404 : 503).end(VALUE);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const leave = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  ends.push(leave);
  const source = createHttpSource({
    url: `https://localhost:${port}/v1/credentials`,
    token: async () => `${token}\n`,
    ca: caPem,
    after,
  });
  return { source, asked, leave };
}

async function faultOf(fetching: Promise<unknown>): Promise<CredentialFault> {
  try {
    await fetching;
  } catch (fault) {
    if (fault instanceof CredentialFault) return fault;
    throw fault;
  }
  throw new Error("it was fetched");
}

describe.each([
  ["the parent of a run, by channel", channel],
  ["a controller, by HTTPS", controller],
])("%s", (_what, make) => {
  const { signal } = new AbortController();

  test("gives the credential of that name, with how long it is good", async () => {
    const { source, asked } = await make(() => ({ value: GOOD }));
    const issued = await source.fetch(wanted("billing"), signal);
    expect(issued.secret.reveal()).toBe(VALUE);
    expect(issued).toMatchObject({ kind: "bearer", expiresInMs: 60_000, refreshInMs: 30_000 });
    expect(asked).toEqual(["billing"]);
  });

  test("tells what nobody has from what cannot be had now", async () => {
    const { source } = await make((name) => ({ why: name === "none" ? "unknown" : "unavailable" }));
    expect((await faultOf(source.fetch(wanted("none"), signal))).why).toBe("unknown");
    expect((await faultOf(source.fetch(wanted("later"), signal))).why).toBe("unavailable");
  });

  test("takes nothing that is not whole, and says nothing of it", async () => {
    for (const value of [{ ...GOOD, secret: `${VALUE}\n` }, { ...GOOD, more: VALUE }, [VALUE], VALUE, null]) {
      const { source } = await make(() => ({ value }));
      const fault = await faultOf(source.fetch(wanted("billing"), signal));
      expect(fault.why).toBe("unavailable");
      expect(`${fault.message} ${String(fault.stack)}`).not.toContain(VALUE);
    }
  });

  test("can be given up", async () => {
    const { source } = await make(() => undefined);
    const abort = new AbortController();
    const fetching = source.fetch(wanted("billing"), abort.signal);
    abort.abort();
    await expect(fetching).rejects.toThrow(/given up|aborted|reached/);
  });

  test("answers several at once, each its own", async () => {
    const { source } = await make((name) => ({ value: { ...GOOD, secret: `${VALUE}-${name}` } }));
    const issued = await Promise.all(["a", "b", "c"].map((name) => source.fetch(wanted(name), signal)));
    expect(issued.map(({ secret }) => secret.reveal())).toEqual(["a", "b", "c"].map((name) => `${VALUE}-${name}`));
  });

  test("is unavailable when whoever has them is gone", async () => {
    const { source, leave } = await make(() => ({ value: GOOD }));
    await leave();
    expect((await faultOf(source.fetch(wanted("billing"), signal))).why).toBe("unavailable");
  });
});

test("a controller that does not know the pod hands nothing out, and one without TLS is never asked", async () => {
  const { source } = await controller(() => ({ value: GOOD }), "another-pods-token");
  expect((await faultOf(source.fetch(wanted("billing"), new AbortController().signal))).why).toBe("unknown");
  expect(() => createHttpSource({ url: "http://localhost/x", token: async () => "t", ca: null, after })).toThrow(
    "https only",
  );
});

test("a channel tells of what has changed, and leaves others' messages alone", async () => {
  let heard: ((message: unknown) => void) | null = null;
  const source = createChannelSource({ send: () => true, listen: (then) => void (heard = then) });
  const changed: string[] = [];
  source.onChanged((name) => changed.push(name));
  const say = heard as unknown as (message: unknown) => void;
  for (const message of [null, "x", { kind: "ready" }, { kind: "credential", id: 99, ok: true, value: GOOD }])
    say(message);
  say({ kind: "credential-changed", name: "billing" });
  expect(changed).toEqual(["billing"]);
});

/** A controller that holds a watch until it is told of a change; `status`: what it then answers. */
async function watched(status: number): Promise<{
  readonly source: CredentialSource;
  readonly change: () => void;
  readonly watches: () => number;
}> {
  const { cert, key, caPem } = certificateFor("localhost");
  const held: (() => void)[] = [];
  let count = 0;
  const server = https.createServer({ cert, key }, (request, response) => {
    if (request.method === "GET") return response.writeHead(200, { etag: '"1"' }).end(JSON.stringify(GOOD));
    count++;
    expect([request.headers["if-none-match"], request.headers["sidegate-binding"]]).toEqual(['"1"', "b1"]);
    held.push(() => response.writeHead(status).end());
    return response;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const url = `https://localhost:${port}/credentials`;
  const source = createHttpSource({ url, token: async () => "t", ca: caPem, after });
  ends.push(async () => {
    source.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const change = (): void => {
    for (const answer of held.splice(0)) answer();
  };
  return { source, change, watches: () => count };
}

test.each([
  ["another value", 200],
  ["none any more", 404],
  ["not for this pod any more", 403],
])("what a controller handed out is watched: %s is told, for its target", async (_what, status) => {
  const { source, change, watches } = await watched(status);
  const heard = new Promise<readonly unknown[]>((resolve) => {
    source.onChanged((...what) => resolve(what));
  });
  await source.fetch(wanted("db"), new AbortController().signal);
  await expect.poll(watches, { timeout: 5_000 }).toBe(1);
  change();
  expect(await heard).toEqual(["db", "billing"]);
});

test("a controller's reason for refusing is passed on, cut and escaped; anything else of its answer is not", async () => {
  const said = async (body: string): Promise<string> => {
    const { cert, key, caPem } = certificateFor("localhost");
    const server = https.createServer({ cert, key }, (_request, response) => response.writeHead(403).end(body));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    ends.push(async () => void server.close());
    const { port } = server.address() as AddressInfo;
    const source = createHttpSource({ url: `https://localhost:${port}/c`, token: async () => "t", ca: caPem, after });
    return (await faultOf(source.fetch(wanted("db"), new AbortController().signal))).message;
  };
  expect(await said('{"why":"Secret shop/db does not exist"}')).toBe("Secret shop/db does not exist");
  expect(await said(JSON.stringify({ why: `\u001b[31m${"x".repeat(1_000)}` }))).toMatch(
    /^\\x1b\[31mx{300,}.*\(\+\d+\)$/,
  );
  for (const body of [VALUE, `{"why":{"secret":"${VALUE}"}}`, `{"message":"${VALUE}"}`, "null"])
    expect(await said(body)).toBe("the credential db is not handed out here");
});
