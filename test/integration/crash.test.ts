/**
 * kill -9 in the middle of 1,000 requests: of the sidecar, which is started again with the same sockets, and of the collector.
 * Whatever reached the upstream is on record, once; the agent sees broken connections and nothing else.
 */
import type { RequestListener } from "node:http";
import { afterEach, expect, test } from "vitest";
import { openSqlite } from "../../src/collector/store/sqlite.ts";
import { verifyStore } from "../../src/collector/verify.ts";
import { eventually, type Gateway, startGateway } from "../support/sidecar.ts";
import { ask, HOST, Kept } from "../support/sidecar-client.ts";
import { httpsUpstream, httpUpstream, targetTo, type Upstream } from "../support/sidecar-upstream.ts";

const REQUESTS = 1_000;
const AGENTS = 8;

let gateway: Gateway;
const upstreams: Upstream[] = [];
/** Path → how often it reached the upstream. */
let reached: Map<string, number>;
let atCount: (count: number) => void;

afterEach(async () => {
  await gateway?.close();
  for (const upstream of upstreams.splice(0)) await upstream.close();
});

async function begin(): Promise<void> {
  reached = new Map();
  atCount = () => {};
  const answer: RequestListener = (request, response) => {
    const path = request.url ?? "";
    reached.set(path, (reached.get(path) ?? 0) + 1);
    response.end("ok");
    atCount(reached.size);
  };
  const plain = await httpUpstream(answer);
  const secure = await httpsUpstream(HOST, answer);
  upstreams.push(plain, secure);
  gateway = await startGateway({
    policy: {
      policies: { everything: "allow if true" },
      targets: [
        targetTo(plain, { name: "plain", hosts: [HOST], protocol: "http" }),
        targetTo(secure, {
          name: "secure",
          hosts: [HOST],
          ports: [443],
          protocol: "http",
          upstream: { ca: secure.caPem },
        }),
      ],
    },
  });
}

interface Tried {
  readonly answered: readonly string[];
  readonly broken: readonly string[];
}

/** Eight agents ask 1,000 times together, each path once. A broken connection costs the request on it; the agent goes on. */
async function askAll(): Promise<Tried> {
  const answered: string[] = [];
  const broken: string[] = [];
  let next = 0;
  const agent = async (secure: boolean): Promise<void> => {
    let on: Kept | null = null;
    while (next < REQUESTS) {
      const path = `/r/${next++}/x`;
      try {
        const to = { host: HOST, port: secure ? 443 : 80 };
        on ??= new Kept(secure ? await gateway.secure(to) : await gateway.connect(to));
        const { status } = await ask(gateway, { on, path, headers: { host: HOST } });
        expect(status).toBe(200);
        answered.push(path);
      } catch (fault) {
        if (fault instanceof Error && fault.name === "AssertionError") throw fault;
        broken.push(path);
        on?.socket.destroy();
        on = null;
      }
    }
    on?.socket.destroy();
  };
  await Promise.all(Array.from({ length: AGENTS }, (_, i) => agent(i % 2 === 1)));
  return { answered, broken };
}

/** Recorded paths of permitted requests, each as often as it stands in the store, when all that was reached is there. */
async function recorded(): Promise<string[]> {
  const read = async (): Promise<string[]> =>
    (await gateway.records({ verdict: "allow" })).flatMap((event) => {
      const path = /"path":"([^"]+)"/.exec(JSON.stringify(event.op))?.[1];
      return event.phase === "ask" && path !== undefined ? [path] : [];
    });
  let missing: string[] = [];
  await eventually(
    async () => {
      const on = new Set(await read());
      missing = [...reached.keys()].filter((path) => !on.has(path));
      return missing.length === 0;
    },
    () => `on record: ${missing.join(" ")}`,
  );
  return read();
}

async function findings(): Promise<Set<string>> {
  const store = openSqlite(gateway.at("audit.db"), "read");
  try {
    const nowMs = Date.now() + 3_600_000;
    const report = await verifyStore({ store, nowMs, aliveMs: 1, publicKey: null, expect: null });
    return new Set(report.findings.map((finding) => finding.kind));
  } finally {
    await store.close();
  }
}

function killWhen(counts: readonly number[], kill: (i: number) => void): void {
  let done = 0;
  atCount = (count) => {
    const due = counts[done];
    if (due !== undefined && count >= due) kill(done++);
  };
}

function expectOnce(paths: readonly string[], { answered, broken }: Tried): void {
  expect(paths).toHaveLength(new Set(paths).size);
  // What was answered had reached it; what was not may or may not have.
  expect(answered.filter((path) => !reached.has(path))).toEqual([]);
  expect(answered.length + broken.length).toBe(REQUESTS);
  expect([...reached].filter(([, times]) => times !== 1)).toEqual([]);
}

test("kill -9 of the sidecar, three times in 1,000 requests: each that reached the upstream is on record, once", async () => {
  await begin();
  const pids = new Set([gateway.sidecarPid]);
  killWhen([200, 500, 800], () => {
    pids.add(gateway.sidecarPid);
    gateway.kill("sidecar");
  });
  const tried = await askAll();
  pids.add(gateway.sidecarPid);
  expect(pids.size).toBe(4);
  const paths = await recorded();
  await gateway.stop("sidecar");
  expectOnce(paths, tried);
  expect(tried.answered.length).toBeGreaterThan(900);
  // A killed sidecar cannot say that it ends: that is named. Nothing else is wrong with the record.
  expect(await findings()).toEqual(new Set(["tail"]));
});

test("kill -9 of the collector, three times in 1,000 requests: no agent notices, and each request is on record, once", async () => {
  await begin();
  killWhen([200, 500, 800], () => gateway.kill("collector"));
  const tried = await askAll();
  const paths = await recorded();
  await gateway.stop("sidecar");
  expectOnce(paths, tried);
  expect(tried.broken).toEqual([]);
  expect(paths).toHaveLength(REQUESTS);
  expect(await findings()).toEqual(new Set());
});

test("both killed, one while the other is away: the record is whole", async () => {
  await begin();
  killWhen([150, 151, 600, 601], (i) => gateway.kill(i % 2 === 0 ? "collector" : "sidecar"));
  const tried = await askAll();
  const paths = await recorded();
  await gateway.stop("sidecar");
  expectOnce(paths, tried);
  expect(await findings()).toEqual(new Set(["tail"]));
});
