/**
 * The life of policies as a running gateway feels it: none yet, a good one, bad ones in its place, a newer one under load, one that
 * runs wild, one that takes back what an open stream was allowed. All seen by requests, and by what an operator looks at.
 */
import { once } from "node:events";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { assembleBundle, type BundleParts, makeRunKey } from "#policy/assemble.ts";
import { readArchive, writeArchive } from "#policy/tar.ts";
import { compileTexts, pack, type Texts } from "../support/policy-texts.ts";
import { eventually, type Gateway, startGateway } from "../support/sidecar.ts";
import { type Answered, ask, HOST, heard, Kept } from "../support/sidecar-client.ts";
import { httpUpstream, targetTo, type Upstream } from "../support/sidecar-upstream.ts";

let gateway: Gateway | null = null;
let upstream: Upstream | null = null;
afterEach(async () => {
  await gateway?.close();
  await upstream?.close();
  gateway = null;
  upstream = null;
});

const CONNECTS = 'allow if input.action == "connect"';
const OPEN = { open: "allow if true" };
/** Reads only, as the second policy of many tests here. */
const READS = { open: `${CONNECTS}\n\nallow if input.action == "read"` };

/** An upstream that answers "ok" after reading, and one target that leads to it. */
async function begin(
  policies: Texts["policies"] | null,
): Promise<{ gateway: Gateway; texts: (p: Texts["policies"]) => Texts }> {
  upstream = await httpUpstream((request, response) => {
    request.resume();
    request.on("end", () => response.end("ok"));
  });
  const targets = [targetTo(upstream, { name: "api", hosts: [HOST], protocol: "http" })];
  const texts = (wanted: Texts["policies"]): Texts => ({ policies: wanted, targets });
  gateway = await startGateway({ policy: policies === null ? null : texts(policies) });
  return { gateway, texts };
}

function codeOf({ body }: Answered): string {
  return (JSON.parse(body) as { code: string }).code;
}

/** The record, by verdict and code. */
async function codes(gateway: Gateway): Promise<Set<string>> {
  return new Set((await gateway.records()).map((event) => `${event.verdict} ${event.code}`));
}

const ready = async (port: number): Promise<number> => (await fetch(`http://127.0.0.1:${port}/ready`)).status;

test("without any bundle everything is denied with no_bundle, and said; the first one acts without a restart", async () => {
  const { gateway, texts } = await begin(null);
  // No target is known either: what is reached by address is refused, and no name resolves.
  await expect(gateway.connect({ host: HOST, port: 80 })).rejects.toThrow(/ENOTFOUND/);
  const refused = await ask(gateway, { host: "198.51.100.7", headers: { host: HOST } });
  expect([refused.status, codeOf(refused)]).toEqual([503, "no_bundle"]);
  expect(await gateway.metrics()).not.toContain("sidegate_policy_info{");
  expect(await ready(gateway.adminPort)).toBe(503);
  await gateway.recordsUntil((events) => events.length === 2);
  expect(await codes(gateway)).toEqual(new Set(["deny no_bundle"]));
  await gateway.enforce(texts(OPEN));
  await gateway.logged(/"policy in force".*"sequence":1,/);
  expect((await ask(gateway)).status).toBe(200);
  expect(await ready(gateway.adminPort)).toBe(200);
});

/** A signed bundle, taken apart and put together again without one of its files. */
function without(archive: Uint8Array, name: string): Uint8Array {
  const files = readArchive(archive);
  if (!files.delete(name)) throw new Error(`there is no ${name}`);
  return writeArchive(files);
}

function forged(parts: BundleParts): Uint8Array {
  return assembleBundle(parts, { scope: "test", sequence: 1_000, notAfterMs: null }, makeRunKey("test").signing)
    .archive;
}

test("E3: a wrong signature, a missing or changed file, an older bundle, a torn archive: refused, named, and the last good one serves on", async () => {
  const { gateway, texts } = await begin(OPEN);
  const older = await gateway.enforce(texts(OPEN));
  await gateway.logged(/"sequence":2,/);
  const current = await gateway.enforce(texts(READS));
  await gateway.logged(/"sequence":3,/);
  const { parts } = await compileTexts(texts(OPEN));
  const torn = gzipSync(gunzipSync(Buffer.from(current)).subarray(0, 2_000));
  const bad: [string, Uint8Array, RegExp][] = [
    ["another key", forged(parts), /./],
    ["no policy.wasm", without(pack(parts, 1_001), "policy.wasm"), /./],
    ["no data.json", without(pack(parts, 1_002), "data.json"), /./],
    ["no signature", without(pack(parts, 1_003), ".signatures.json"), /./],
    ["another pod's", pack(parts, 1_004, "another"), /./],
    ["an older one", older, /./],
    ["torn", torn, /./],
    ["nonsense", Buffer.from("not a bundle at all"), /./],
  ];
  const noted = async (): Promise<number> =>
    (await gateway.records({ kinds: ["note"] })).filter((e) => JSON.stringify(e.rest).includes("policy-refused"))
      .length;
  for (const [i, [what, archive]] of bad.entries()) {
    gateway.offer(archive);
    await eventually(
      async () => (await noted()) === i + 1,
      () => `refused: ${what}\n${gateway.log()}`,
    );
    // Writing would be allowed by any of them, and is denied by the good one.
    expect((await ask(gateway)).status, what).toBe(200);
    expect((await ask(gateway, { method: "POST", body: "x" })).status, what).toBe(403);
  }
  const said = gateway
    .log()
    .split("\n")
    .filter((line) => line.includes('"bundle refused"'));
  expect(said).toHaveLength(bad.length);
  expect(new Set(said.map((line) => /"code":"(\w+)"/.exec(line)?.[1])).size).toBeGreaterThan(2);
  // Nor does any of them come in by a restart.
  gateway.offer(older);
  await gateway.stop("sidecar");
  await gateway.restart("sidecar");
  expect((await ask(gateway)).status).toBe(200);
  expect((await ask(gateway, { method: "POST", body: "x" })).status).toBe(403);
});

/** A thousand times a thousand rounds, for requests to /wild only. */
const WILD = `${CONNECTS}

allow if {
	input.http.path == "/wild"
	count([1 | some a in numbers.range(1, 2000); some b in numbers.range(1, 2000); a * b == 7]) > 0
}

allow if input.http.path == "/tame"`;

test("E2: a policy that would run for seconds is a denial, policy_out_of_fuel, and the next decision works", async () => {
  const { gateway } = await begin({ wild: WILD });
  const on = new Kept(await gateway.connect({ host: HOST, port: 80 }));
  for (let i = 0; i < 5; i++) {
    const wild = await ask(gateway, { on, path: "/wild" });
    expect([wild.status, codeOf(wild)]).toEqual([403, "policy_out_of_fuel"]);
    expect((await ask(gateway, { on, path: "/tame" })).status).toBe(200);
  }
  on.socket.destroy();
  await gateway.recordsUntil((events) => events.length === 5, { code: "policy_out_of_fuel", verdict: "deny" });
});

test("a newer policy takes over under load: no connection is dropped, no request is lost", async () => {
  const { gateway, texts } = await begin(OPEN);
  const over = new AbortController();
  const statuses = new Map<number, number>();
  const agents = Array.from({ length: 6 }, async () => {
    const on = new Kept(await gateway.connect({ host: HOST, port: 80 }));
    do {
      const { status } = await ask(gateway, { on, method: "PUT", body: "x".repeat(2_000) });
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    } while (!over.signal.aborted);
    expect(on.socket.destroyed).toBe(false);
    on.socket.destroy();
  });
  // Each differs, so that each is compiled and loaded anew; all allow what is asked.
  for (let i = 2; i < 7; i++) {
    await gateway.enforce(
      texts({
        open: `allow if true\n\ndeny contains {"code": "v${i}", "message": "no"} if input.http.path == "/v${i}"`,
      }),
    );
    await gateway.logged(new RegExp(`"sequence":${i},`));
  }
  over.abort();
  await Promise.all(agents);
  expect([...statuses.keys()]).toEqual([200]);
  const on = new Kept(await gateway.connect({ host: HOST, port: 80 }));
  expect(codeOf(await ask(gateway, { on, path: "/v6" }))).toBe("v6");
  on.socket.destroy();
});

test.each([
  ["the connection", { open: "allow if false" }],
  ["the request", { open: CONNECTS }],
])(
  "H7: an open stream ends within 2 s when a newer policy takes back %s, and the record says so",
  async (_what, narrower) => {
    const events: ((text: string) => void)[] = [];
    upstream = await httpUpstream((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: 1\n\n");
      events.push((text) => response.write(text));
    });
    const targets = [targetTo(upstream, { name: "api", hosts: [HOST], protocol: "http" })];
    gateway = await startGateway({ policy: { policies: OPEN, targets } });
    const socket = await gateway.connect({ host: HOST, port: 80 });
    socket.write(`GET /stream HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await once(socket, "data");
    const ended = heard(socket);
    // A policy that allows it still leaves it alone.
    await gateway.enforce({ policies: { open: 'allow if input.target.name == "api"' }, targets });
    await gateway.logged(/"sequence":2,/);
    events[0]?.("data: 2\n\n");
    await once(socket, "data");
    await gateway.enforce({ policies: narrower, targets });
    await gateway.logged(/"sequence":3,/);
    const since = performance.now();
    expect((await ended).ended).toBe("reset");
    expect(performance.now() - since).toBeLessThan(2_000);
    const [event] = await gateway.recordsUntil((all) => all.some((e) => e.outcome !== null), {
      text: '"/stream"',
      verdict: "allow",
    });
    expect(JSON.stringify(event?.outcome)).toMatch(/rejudged|revoked|client-left/);
    await gateway.recordsUntil((all) =>
      all.some((e) => e.verdict === "deny" && /not_allowed|revoked/.test(e.code ?? "")),
    );
  },
);
