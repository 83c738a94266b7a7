/** One suite for every BundleSource; what is peculiar to one of them follows below. */
import { once } from "node:events";
import { mkdtemp, rename, rm, truncate, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import type { BundleSource } from "#contract/policy-port.ts";
import { createFileBundleSource } from "./file.ts";
import { BundleServerError, createHttpBundleSource, type HttpBundleOptions } from "./http.ts";

interface Offered {
  readonly source: BundleSource;
  /** Null takes the bundle away. */
  readonly offer: (archive: Uint8Array | null) => Promise<void>;
}

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function offeredFile(): Promise<Offered> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sidegate-source-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, "bundle.tar.gz");
  return {
    source: createFileBundleSource(file),
    offer: async (archive) => {
      if (archive === null) return rm(file, { force: true });
      await writeFile(`${file}.new`, archive);
      await rename(`${file}.new`, file);
    },
  };
}

async function listen(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server: Server = createServer(handle);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/bundles/test`;
}

/** Holds a request that has the newest bundle until there is another, as OPA's long poll does. */
async function offeredHttp(): Promise<Offered> {
  let current: Uint8Array | null = null;
  let version = 0;
  let waiting: (() => void)[] = [];
  const url = await listen((request, response) => {
    const answer = (): void => {
      if (current === null) response.writeHead(404).end();
      else if (request.headers["if-none-match"] === `"${version}"`) waiting.push(answer);
      else response.writeHead(200, { etag: `"${version}"` }).end(current);
    };
    answer();
  });
  return {
    source: createHttpBundleSource({ url, token: null }),
    offer: async (archive) => {
      current = archive;
      version++;
      const held = waiting;
      waiting = [];
      for (const answer of held) answer();
    },
  };
}

const never = new AbortController().signal;

describe.each([
  ["a file", offeredFile],
  ["an HTTP server", offeredHttp],
])("bundles from %s", (_what, make) => {
  test("the first bundle is given at once", async () => {
    const { source, offer } = await make();
    await offer(Buffer.from("one"));
    const { archive, etag } = await source.next(null, never);
    expect(Buffer.from(archive).toString()).toBe("one");
    expect(etag).not.toBe("");
  });

  test("with the newest in hand it waits, and gives the next one", async () => {
    const { source, offer } = await make();
    await offer(Buffer.from("one"));
    const { etag } = await source.next(null, never);
    const next = source.next(etag, never);
    await offer(Buffer.from("two"));
    expect(Buffer.from((await next).archive).toString()).toBe("two");
  });

  test("a bundle that came while nobody waited is given at once", async () => {
    const { source, offer } = await make();
    await offer(Buffer.from("one"));
    const { etag } = await source.next(null, never);
    await offer(Buffer.from("two"));
    await offer(Buffer.from("three"));
    expect(Buffer.from((await source.next(etag, never)).archive).toString()).toBe("three");
  });

  test("without a bundle the first request fails", async () => {
    const { source } = await make();
    await expect(source.next(null, never)).rejects.toThrow(Error);
  });

  test("waiting ends when it is aborted, also before it began", async () => {
    const { source, offer } = await make();
    await offer(Buffer.from("one"));
    const { etag } = await source.next(null, never);
    const abort = new AbortController();
    const next = source.next(etag, abort.signal);
    abort.abort();
    await expect(next).rejects.toMatchObject({ name: "AbortError" });
    await expect(source.next(null, abort.signal)).rejects.toMatchObject({ name: "AbortError" });
  });
});

test("a bundle file over the bound is not read", async () => {
  const { source, offer } = await offeredFile();
  await offer(Buffer.from("x"));
  const { etag } = await source.next(null, never);
  const folder = await mkdtemp(path.join(os.tmpdir(), "sidegate-source-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, "large.tar.gz");
  await writeFile(file, "");
  await truncate(file, 40 * 1024 * 1024);
  await expect(createFileBundleSource(file).next(null, never)).rejects.toThrow(RangeError);
  expect(etag).toHaveLength(64);
});

test("a bundle file that goes away is waited out once a bundle is in hand", async () => {
  const { source, offer } = await offeredFile();
  await offer(Buffer.from("one"));
  const { etag } = await source.next(null, never);
  const next = source.next(etag, never);
  await offer(null);
  await offer(Buffer.from("two"));
  expect(Buffer.from((await next).archive).toString()).toBe("two");
});

async function askOnce(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
  options: Partial<HttpBundleOptions> = {},
) {
  const url = await listen(handle);
  return createHttpBundleSource({ url, token: null, ...options }).next(null, never);
}

test("a request carries what OPA's bundle protocol asks for, and a token read for it", async () => {
  const seen: IncomingMessage["headers"][] = [];
  let token = 0;
  const url = await listen((request, response) => {
    seen.push(request.headers);
    response.writeHead(200, { etag: `"${seen.length}"` }).end("bundle");
  });
  const source = createHttpBundleSource({ url, token: async () => `token-${++token}\n`, waitS: 7 });
  const { etag } = await source.next(null, never);
  await source.next(etag, never);
  expect(seen[0]).toMatchObject({ authorization: "Bearer token-1", prefer: "modes=snapshot;wait=7" });
  expect(seen[0]).not.toHaveProperty("if-none-match");
  expect(seen[1]).toMatchObject({ authorization: "Bearer token-2", "if-none-match": '"1"' });
});

test("a redirect, an error and an empty promise are faults", async () => {
  for (const status of [302, 401, 404, 500, 206])
    await expect(
      askOnce((_request, response) => void response.writeHead(status, { location: "http://127.0.0.1:1/" }).end()),
    ).rejects.toThrow(BundleServerError);
});

test("a body that never ends is cut at the bound", async () => {
  const endless = (_request: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(200);
    const more = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(64 * 1024)));
    };
    response.on("drain", more);
    response.on("error", () => {});
    more();
  };
  await expect(askOnce(endless, { maxBytes: 1024 * 1024 })).rejects.toThrow("over 1048576 bytes");
});

test("a body that is cut short is a fault", async () => {
  await expect(
    askOnce((request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("x".repeat(50), () => request.socket.destroy());
    }),
  ).rejects.toThrow(Error);
});

test("a server that holds nothing is asked at intervals, and one without ETags does not make us load the same again", async () => {
  let asked = 0;
  const url = await listen((_request, response) => {
    asked++;
    response.writeHead(200).end(asked < 4 ? "one" : "two");
  });
  const source = createHttpBundleSource({ url, token: null, pollMs: 5 });
  const { etag } = await source.next(null, never);
  expect(Buffer.from((await source.next(etag, never)).archive).toString()).toBe("two");
  expect(asked).toBe(4);
});

test("a token is never sent in the clear to another machine", () => {
  expect(() => createHttpBundleSource({ url: "http://bundles.example/x", token: async () => "t" })).toThrow(
    "https only",
  );
  expect(() => createHttpBundleSource({ url: "ftp://bundles.example/x", token: null })).toThrow(TypeError);
});
