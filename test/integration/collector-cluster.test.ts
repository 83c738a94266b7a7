/**
 * The collector as it runs in a cluster: its own process, TLS, tokens that a real API server signs, its SubjectAccessReviews for
 * readers. What a pod of an author's tries against it; what a reader sees, and leaves behind; what changes while it runs.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import https from "node:https";
import { networkInterfaces, tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { connect } from "node:tls";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { createActs } from "#audit/acts.ts";
import { createHttpSink } from "#audit/http-sink.ts";
import type { RecordSink } from "#contract/record.ts";
import { openSqlite } from "../../src/collector/store/sqlite.ts";
import { ALIVE_MS, verifyStore } from "../../src/collector/verify.ts";
import { bootOf } from "../support/collected.ts";
import { type ControlPlane, findControlPlane, startControlPlane, until } from "../support/control-plane.ts";
import { op, WORKLOAD } from "../support/record.ts";
import { requireThat } from "../support/require.ts";
import { certificateFor } from "../support/sidecar-upstream.ts";

const ROOT = path.join(import.meta.dirname, "../..");
const BIN = findControlPlane();
const NEEDED = "needs the cluster's programs (test/e2e/cluster/build.sh)";
const SHORT: Readonly<Record<string, string>> = { SIDEGATE_RETENTION_SECONDS: "1", SIDEGATE_VERIFY_SECONDS: "1" };

interface PodOf {
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string;
  readonly token: string;
}

let plane: ControlPlane;
let folder: string | undefined;
let ca: string;
let child: ChildProcess | null = null;
let port = 0;
let lines: Record<string, unknown>[] = [];
let a: PodOf;
let b: PodOf;

const at = (name: string): string => path.join(folder ?? "", name);

async function start(more: Readonly<Record<string, string>> = {}, wrap: readonly string[] = []): Promise<void> {
  const args = ["--disable-warning=ExperimentalWarning", path.join(ROOT, "cmd/collector.ts")];
  const [command = process.execPath, ...rest] = [...wrap, process.execPath, ...args];
  lines = [];
  const started = spawn(command, rest, {
    cwd: ROOT,
    env: {
      PATH: process.env["PATH"],
      SIDEGATE_AUDIT_DB: at("data/audit.db"),
      SIDEGATE_LISTEN_ADDRESS: "127.0.0.1",
      SIDEGATE_LISTEN_NUMBER: "0",
      SIDEGATE_CERTIFICATES: at("tls"),
      SIDEGATE_TOKEN_KEYS: at("jwks.json"),
      SIDEGATE_CLUSTER: WORKLOAD.cluster,
      SIDEGATE_ACTORS: "sidegate/sidegate-controller",
      SIDEGATE_KUBECONFIG: plane.kubeconfig,
      ...more,
    },
    stdio: ["ignore", "inherit", "pipe"],
  });
  child = started;
  port = await new Promise<number>((resolve, reject) => {
    createInterface({ input: started.stderr }).on("line", (text) => {
      if (process.env["SHOW"] === "1") console.log(text);
      const line = text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : { text };
      lines.push(line);
      if (line["event"] === "serving") resolve(Number(line["port"]));
    });
    started.once("exit", () => reject(new Error(JSON.stringify(lines))));
  });
}

async function stop(): Promise<void> {
  const running = child;
  child = null;
  if (running === null || running.exitCode !== null) return;
  const ended = new Promise((resolve) => running.once("exit", resolve));
  running.kill("SIGTERM");
  await ended;
}

async function makePod(namespace: string, pod: string, serviceAccountName = "default"): Promise<PodOf> {
  const made = await plane.call("POST", `/api/v1/namespaces/${namespace}/pods`, {
    metadata: { name: pod, annotations: { "sidegate.dev/injected": "yes" } },
    spec: { serviceAccountName, containers: [{ name: "app", image: "app:1" }] },
  });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  const { uid } = made.body["metadata"] as { uid: string };
  const token = await tokenOf(namespace, serviceAccountName, {
    audiences: ["sidegate"],
    boundObjectRef: { apiVersion: "v1", kind: "Pod", name: pod, uid },
  });
  return { namespace, pod, uid, token };
}

async function tokenOf(namespace: string, account: string, spec: object = {}): Promise<string> {
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`;
  const { body } = await plane.call("POST", path, { spec });
  return (body["status"] as { token: string }).token;
}

async function apply(target: string, object: object): Promise<void> {
  const { status, body } = await plane.call("POST", target, object);
  expect(status, JSON.stringify(body)).toBe(201);
}

function sinkOf(who: Pick<PodOf, "token">): RecordSink {
  const address = { kind: "tls", host: "localhost", port, ca } as const;
  return createHttpSink({ address, token: () => who.token });
}

/** A whole boot of that pod's, by hand of a real recorder. `many`: operations. */
async function recordsOf(who: PodOf, many = 1, ended = true): Promise<{ boot: string; lines: Buffer; last: number }> {
  const { boot, lines: bytes } = await bootOf(
    async (recorder) => {
      for (let n = 0; n < many; n++) {
        const seq = recorder.op(op({ facts: `"http":{"path":"/${who.namespace}/${n}","pad":"${"x".repeat(400)}"}` }));
        recorder.end({ op: seq, status: "200", ms: 1, bytesUp: 1, bytesDown: 1, masked: 0, attempts: 1 });
      }
      if (ended) await recorder.stop("done");
    },
    { ...WORKLOAD, namespace: who.namespace, pod: who.pod, uid: who.uid },
  );
  const last = Number(/\{"c":(\d+),[^\n]*\n$/.exec(bytes.toString())?.[1]);
  return { boot, lines: bytes, last };
}

const send = (sink: RecordSink, made: { boot: string; lines: Buffer; last: number }): Promise<number> =>
  sink.send({ boot: made.boot, lines: made.lines, firstSeq: 1, lastSeq: made.last, gap: false });

interface Said {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly text: string;
}

function ask(path: string, token: string | null, question: unknown, method = "POST"): Promise<Said> {
  return new Promise((resolve, reject) => {
    const request = https.request(
      {
        host: "localhost",
        port,
        path,
        ca,
        method,
        headers: token === null ? {} : { authorization: `Bearer ${token}` },
      },
      (response) => {
        let text = "";
        response.on("data", (part: Buffer) => (text += part.toString()));
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            body: text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : {},
            text,
          }),
        );
      },
    );
    request.on("error", reject);
    request.end(method === "GET" ? undefined : JSON.stringify(question));
  });
}

async function metric(series: string): Promise<number> {
  const { text } = await ask("/metrics", null, null, "GET");
  const line = text.split("\n").find((one) => one.startsWith(`${series} `));
  return line === undefined ? Number.NaN : Number(line.slice(series.length + 1).replace("+Inf", "Infinity"));
}

async function actsInStore(): Promise<Record<string, unknown>[]> {
  const store = openSqlite(at("data/audit.db"), "read");
  const found = await store.find({ kinds: ["act"], limit: 1_000 });
  await store.close();
  return found.map(({ core }) => JSON.parse(Buffer.from(core).toString()) as Record<string, unknown>);
}

function mint(): void {
  const made = certificateFor("localhost");
  ca = made.caPem;
  for (const [name, text] of [
    ["tls.crt", made.cert],
    ["tls.key", made.key],
  ] as const) {
    writeFileSync(at(`tls/${name}.new`), text);
    renameSync(at(`tls/${name}.new`), at(`tls/${name}`));
  }
}

beforeAll(async () => {
  if (BIN === null) return;
  plane = await startControlPlane(BIN);
  for (const name of ["team", "other", "sidegate"]) {
    await apply("/api/v1/namespaces", { metadata: { name } });
    for (const account of ["default", "reader", "sidegate-controller"])
      await apply(`/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: account } });
  }
  await apply("/apis/rbac.authorization.k8s.io/v1/clusterroles", {
    metadata: { name: "record-reader" },
    rules: [{ apiGroups: ["sidegate.dev"], resources: ["records"], verbs: ["get", "accept"] }],
  });
  await apply("/apis/rbac.authorization.k8s.io/v1/namespaces/team/rolebindings", {
    metadata: { name: "reader" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "record-reader" },
    subjects: [{ kind: "ServiceAccount", name: "reader", namespace: "team" }],
  });
  a = await makePod("team", "a");
  b = await makePod("other", "b");
}, 60_000);
afterAll(() => plane?.stop());

beforeEach(async () => {
  if (BIN === null) return;
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-collector-"));
  mkdirSync(at("tls"));
  mkdirSync(at("data"));
  mint();
  writeFileSync(at("jwks.json"), JSON.stringify((await plane.call("GET", "/openid/v1/jwks")).body));
});
afterEach(async () => {
  await stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

describe("a pod of an author's", () => {
  test("writes its own records and nobody else's: not as another, not into another's boot, not twice, not without a token", async (context) => {
    requireThat(context, BIN !== null, NEEDED);
    await start();
    const [mine, theirs] = [sinkOf(a), sinkOf(b)];
    const own = await recordsOf(a, 3);
    expect(await send(mine, own)).toBe(own.last);
    expect(await send(mine, own)).toBe(own.last);
    const forged = await recordsOf({ ...b, token: a.token });
    await expect(send(mine, forged)).rejects.toThrow(/403.*another pod/);
    await expect(send(theirs, own)).rejects.toThrow(/403.*another sender/);
    const reborn = await recordsOf({ ...a, uid: "another-uid" });
    await expect(send(mine, reborn)).rejects.toThrow(/403.*another pod/);
    const control = await recordsOf(a);
    await expect(send(mine, { ...control, boot: "controlplane" })).rejects.toThrow(/403.*own/);
    for (const token of ["", "a.b.c", await tokenOf("team", "default")])
      await expect(send(sinkOf({ token: token || "x" }), own)).rejects.toThrow(/401/);
    // Its token lets it read nothing, and put no act on record.
    expect((await ask("/v1/find", a.token, { limit: 10, namespaces: ["team"] })).status).toBe(401);
    const acts = createActs({ url: `https://localhost:${port}`, ca: () => ca, token: () => Promise.resolve(a.token) });
    await expect(acts.record({ key: "k", act: "freeze", members: {} })).rejects.toThrow(/401/);
    await stop();
    const store = openSqlite(at("data/audit.db"), "read");
    expect((await store.boots()).map(({ boot, pod }) => `${boot} ${pod}`)).toEqual([`${own.boot} team/a`]);
    expect((await store.log()).size).toBe(own.last);
    await store.close();
  });

  test("is held to one batch at a time, and what it sends at once is read by nobody before it is known", async (context) => {
    requireThat(context, BIN !== null, NEEDED);
    await start();
    const own = await recordsOf(a, 200);
    const answers = await Promise.allSettled(Array.from({ length: 20 }, () => send(sinkOf(a), own)));
    const refused = answers.filter((one) => one.status === "rejected").map((one) => String(one.reason));
    expect(answers.some((one) => one.status === "fulfilled")).toBe(true);
    expect(refused.every((why) => why.includes("429"))).toBe(true);
    const theirs = await recordsOf(b);
    expect(await send(sinkOf(b), theirs)).toBe(theirs.last);
    // A body of 20 MB from nobody: the answer comes before the body.
    const socket = connect({ host: "localhost", port, ca, servername: "localhost" });
    const head = await new Promise<string>((resolve, reject) => {
      socket.on("error", reject);
      socket.once("data", (bytes: Buffer) => resolve(bytes.toString()));
      socket.write("POST /v1/records/aaaaaaaaaaaa HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n");
    });
    socket.destroy();
    expect(head).toMatch(/^HTTP\/1\.1 401/);
  });

  test("of another cluster is told apart by its issuer's keys, and passes for nobody here", async (context) => {
    requireThat(context, BIN !== null, NEEDED);
    // The same API server plays the other cluster: what counts is which entry its keys stand in.
    const keys = JSON.parse(readFileSync(at("jwks.json"), "utf8")) as object;
    writeFileSync(at("jwks.json"), '{"keys":[]}');
    const issuer = "https://kubernetes.default.svc.cluster.local";
    writeFileSync(at("issuers.json"), JSON.stringify([{ cluster: "blue", issuer, keys }]));
    await start({ SIDEGATE_TOKEN_ISSUERS: at("issuers.json") });
    await expect(send(sinkOf(a), await recordsOf(a))).rejects.toThrow(/403.*another cluster/);
    const { boot, lines: bytes } = await bootOf((recorder) => void recorder.op(op()), {
      ...WORKLOAD,
      cluster: "blue",
      namespace: "team",
      pod: "a",
      uid: a.uid,
    });
    await sinkOf(a).send({ boot, lines: bytes, firstSeq: 1, lastSeq: 2, gap: false });
    // A reader of this cluster's namespace of the same name does not see it.
    const reader = await tokenOf("team", "reader");
    expect((await ask("/v1/find", reader, { limit: 10, namespaces: ["team"] })).body).toEqual({ found: [] });
    expect((await ask("/v1/get", reader, { boot, seq: 2 })).status).toBe(404);
  });
});

describe("a reader", () => {
  test("E8: reads the namespaces that the API server lets it, nothing else, and that it did is on record", async (context) => {
    requireThat(context, BIN !== null, NEEDED);
    await start();
    const [mine, theirs] = [await recordsOf(a, 2), await recordsOf(b, 2, false)];
    await send(sinkOf(a), mine);
    await send(sinkOf(b), theirs);
    const reader = await tokenOf("team", "reader");
    const found = await ask("/v1/find", reader, { limit: 10, namespaces: ["team"] });
    expect([found.status, (found.body["found"] as { pod: string }[]).map(({ pod }) => pod)]).toEqual([
      200,
      ["team/a", "team/a"],
    ]);
    const denied = await ask("/v1/find", reader, { limit: 10, namespaces: ["team", "other"] });
    expect([denied.status, denied.text]).toEqual([403, expect.stringContaining("namespace other")]);
    expect((await ask("/v1/find", reader, { limit: 10 })).status).toBe(403);
    expect((await ask("/v1/find", reader, { limit: 10, namespaces: [] })).status).toBe(400);
    expect((await ask("/v1/find", reader, { limit: 10, namespaces: ["team"], pod: "other/b" })).body).toEqual({
      found: [],
    });
    expect((await ask("/v1/find", null, { limit: 10 })).status).toBe(401);
    expect((await ask("/v1/get", reader, { boot: mine.boot, seq: 2 })).status).toBe(200);
    expect((await ask("/v1/get", reader, { boot: theirs.boot, seq: 2 })).status).toBe(404);
    expect((await ask("/v1/coverage", reader, { sinceMs: 0, namespace: "team" })).body).toMatchObject({
      boots: [
        { boot: mine.boot, pod: "team/a", uid: a.uid, firstSeq: 1, lastSeq: mine.last, missing: 0, end: "stopped" },
      ],
    });
    expect((await ask("/v1/coverage", reader, { sinceMs: 0 })).status).toBe(403);
    expect((await ask("/v1/accept", reader, { boot: theirs.boot, reason: "x" })).status).toBe(403);
    expect(await metric('sidegate_collector_reads_total{outcome="answered"}')).toBeGreaterThan(0);
    expect(await metric('sidegate_collector_reads_total{outcome="denied"}')).toBeGreaterThan(0);
    const acts = await actsInStore();
    const by = "system:serviceaccount:team:reader";
    expect(acts).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ act: "read", by, namespace: "team", what: "find" }),
        expect.objectContaining({ act: "read", by, namespace: "team", what: "get", id: `${mine.boot}-2` }),
        expect.objectContaining({ act: "read", by, namespace: "team", what: "coverage" }),
      ]),
    );
    // Following the record asks again and again: it is one act, counted.
    const before = acts.length;
    for (let n = 0; n < 5; n++)
      await ask("/v1/find", reader, { limit: 10, namespaces: ["team"], verdict: "deny", after: n });
    expect(await actsInStore()).toHaveLength(before + 1);
    await stop();
    expect(await actsInStore()).toEqual(
      expect.arrayContaining([expect.objectContaining({ what: "find", repeats: 4 })]),
    );
  });

  test("uses the command line as it does for a file: query, why, summary, coverage and accept, with its own token", async (context) => {
    requireThat(context, BIN !== null, NEEDED);
    await start();
    const made = await recordsOf(a, 2);
    await send(sinkOf(a), made);
    writeFileSync(at("token"), await tokenOf("team", "reader"));
    writeFileSync(at("ca.pem"), ca);
    const cli = (...args: string[]) => {
      const source = [
        "--collector",
        `https://localhost:${port}`,
        "--collector-ca",
        at("ca.pem"),
        "--token-file",
        at("token"),
      ];
      const run = spawnSync(path.join(ROOT, "bin/sidegate"), [...args, ...source], { encoding: "utf8" });
      return { code: run.status, out: run.stdout, err: run.stderr };
    };
    const query = cli("audit", "query", "-n", "team", "--json");
    expect([query.code, query.err]).toEqual([0, ""]);
    expect(
      query.out
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { pod: string }).pod),
    ).toEqual(["team/a", "team/a"]);
    expect(cli("audit", "query", "-n", "other")).toMatchObject({
      code: 2,
      err: expect.stringContaining("may not get records"),
    });
    expect(cli("audit", "query").code).toBe(2);
    expect(cli("why", `${made.boot}-2`, "-n", "team").out).toContain("team/a");
    expect(cli("audit", "summary", "-n", "team").out).toContain("operations  2");
    // The pod's sidecar has ended, the pod (for the API server) has not: once that is old enough it is a hole.
    const covered = cli("audit", "coverage", "-n", "team", "--kubeconfig", plane.kubeconfig);
    expect(covered.out).toMatch(new RegExp(`team/a +${made.boot} .* stopped +1 +${made.last} +ok`));
    const killed = await recordsOf(a, 1, false);
    await send(sinkOf(a), killed);
    expect(cli("audit", "accept", "-n", "team", "--boot", killed.boot, "--reason", "x")).toMatchObject({
      code: 2,
      err: expect.stringContaining("sign of life"),
    });
  }, 60_000);
});

describe("a reader outside of the cluster", () => {
  const address = Object.values(networkInterfaces())
    .flat()
    .find((one) => one !== undefined && one.family === "IPv4" && !one.internal)?.address;

  test("E8: comes through the API server's proxy with a token of its own, and gets no further than with it", async (context) => {
    requireThat(context, BIN !== null && address !== undefined, `${NEEDED}, and an address that is not loopback`);
    await start({ SIDEGATE_LISTEN_ADDRESS: "0.0.0.0" });
    await send(sinkOf(a), await recordsOf(a, 2));
    const name = "sidegate-collector";
    const base = "/api/v1/namespaces/sidegate";
    await apply(`${base}/services`, { metadata: { name }, spec: { ports: [{ name: "https", port: 8443 }] } });
    const ports = [{ name: "https", port, protocol: "TCP" }];
    // It proxies to addresses of pods only.
    const { uid } = await makePod("sidegate", name);
    const status = { phase: "Running", podIP: address, podIPs: [{ ip: address }] };
    expect((await plane.call("PATCH", `${base}/pods/${name}/status`, { status })).status).toBe(200);
    const targetRef = { kind: "Pod", namespace: "sidegate", name, uid };
    await apply(`${base}/endpoints`, {
      metadata: { name },
      subsets: [{ addresses: [{ ip: address, targetRef }], ports }],
    });
    const door = parseAllDocuments(
      readFileSync(path.join(ROOT, "charts/gateway/templates/collector/reading.yaml"), "utf8").replaceAll(
        /\{\{.*\}\}/g,
        "",
      ),
    )
      .map((document) => document.toJS() as { metadata: { name: string }; rules: object[] })
      .find((object) => object.metadata.name === "sidegate-record-door");
    const roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/sidegate";
    await apply(`${roles}/roles`, { metadata: { name: "door" }, rules: door?.rules });
    await apply(`${roles}/rolebindings`, {
      metadata: { name: "door" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "door" },
      subjects: [{ kind: "ServiceAccount", name: "reader", namespace: "team" }],
    });
    const kubeconfig = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "c",
      contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
      clusters: [
        { name: "c", cluster: { server: plane.url, "certificate-authority": path.join(plane.pki, "ca.crt") } },
      ],
      users: [{ name: "u", user: { token: await tokenOf("team", "reader") } }],
    };
    writeFileSync(at("reader.conf"), JSON.stringify(kubeconfig));
    const cli = (...args: string[]) => {
      const run = spawnSync(path.join(ROOT, "bin/sidegate"), [...args, "--kubeconfig", at("reader.conf")], {
        encoding: "utf8",
      });
      return { code: run.status, out: run.stdout, err: run.stderr };
    };
    const query = cli("audit", "query", "-n", "team", "--json");
    expect([query.code, query.err, query.out.trim().split("\n").length]).toEqual([0, "", 2]);
    expect(cli("audit", "query", "-n", "other")).toMatchObject({
      code: 2,
      err: expect.stringContaining("may not get"),
    });
    // An administrator's certificate says who it is to the API server, not to the collector.
    const admin = spawnSync(
      path.join(ROOT, "bin/sidegate"),
      ["audit", "query", "-n", "team", "--kubeconfig", plane.kubeconfig],
      {
        encoding: "utf8",
      },
    );
    expect([admin.status, admin.stderr]).toEqual([2, expect.stringContaining("--token-file")]);
  }, 60_000);
});

describe("the control plane", () => {
  test("puts acts on record once each; none of the collector's own kinds, and none by other accounts", async (context) => {
    requireThat(context, BIN !== null, NEEDED);
    await start();
    const controller = await makePod("sidegate", "controller", "sidegate-controller");
    const acts = createActs({
      url: `https://localhost:${port}`,
      ca: () => ca,
      token: () => Promise.resolve(controller.token),
    });
    await acts.record({ key: "freeze/1", act: "freeze", members: { by: "ada", seq: 9_999, act: "remove" } });
    await acts.record({ key: "freeze/1", act: "freeze", members: { by: "ada" } });
    for (const act of ["remove", "accept", "erase", "read"])
      await expect(acts.record({ key: act, act, members: { boots: [] } })).rejects.toThrow(/400/);
    expect(await actsInStore()).toMatchObject([
      { seq: 1, act: "freeze", by: "ada", actor: "sidegate/sidegate-controller" },
    ]);
  });
});

describe("while it runs", () => {
  test("another certificate and other token keys are taken over, and what cannot be read is not", async (context) => {
    requireThat(context, BIN !== null, NEEDED);
    const keys = readFileSync(at("jwks.json"), "utf8");
    writeFileSync(at("jwks.json"), '{"keys":[]}');
    await start();
    const own = await recordsOf(a);
    await expect(send(sinkOf(a), own)).rejects.toThrow(/401/);
    const before = ca;
    mint();
    writeFileSync(at("jwks.json"), keys);
    await until(20_000, "the new certificate and keys", async () => (await send(sinkOf(a), own)) === own.last);
    expect(ca).not.toBe(before);
    // Half of a rotation: another's key.
    const refusals = (): number => lines.filter((l) => l["event"] === "not taken over").length;
    const refused = refusals();
    writeFileSync(at("tls/tls.key"), certificateFor("localhost").key);
    await until(20_000, "the key to be refused", () => Promise.resolve(refusals() > refused));
    expect(await send(sinkOf(a), own)).toBe(own.last);
    lines.splice(0);
    writeFileSync(at("jwks.json"), "not JSON");
    writeFileSync(at("tls/tls.crt"), "not PEM");
    await until(20_000, "both to be refused", () =>
      Promise.resolve(
        ["certificate", "keys"].every((what) =>
          lines.some((l) => l["event"] === "not taken over" && l["what"] === what),
        ),
      ),
    );
    expect(await send(sinkOf(a), own)).toBe(own.last);
    expect(await metric('sidegate_collector_reloads_total{what="keys",outcome="refused"}')).toBeGreaterThan(0);
  }, 60_000);

  test("rules of retention are applied as they change, and the whole record is verified now and then", async (context) => {
    requireThat(context, BIN !== null, NEEDED);
    writeFileSync(at("retention.json"), "{}");
    await start({ ...SHORT, SIDEGATE_RETENTION: at("retention.json") });
    const own = await recordsOf(a, 500);
    await send(sinkOf(a), own);
    await until(20_000, "a verification", async () => (await metric("sidegate_collector_verified")) === 1);
    expect(await metric("sidegate_collector_log_records")).toBeLessThanOrEqual(own.last);
    writeFileSync(at("retention.json"), '{"maxBytes":1}');
    await until(
      30_000,
      "the lines to go",
      async () => (await metric('sidegate_collector_removed_records_total{reason="size"}')) === own.last,
    );
    await until(20_000, "another verification", async () => {
      const at1 = await metric("sidegate_collector_verify_timestamp_seconds");
      const at2 = await metric("sidegate_collector_retention_timestamp_seconds");
      return at1 > at2 - 1 && (await metric("sidegate_collector_verified")) === 1;
    });
    const { text } = await ask("/metrics", null, null, "GET");
    expect(text.endsWith("# EOF\n")).toBe(true);
  }, 90_000);
});

describe("a volume that fills up", () => {
  test("turns batches away before it is full and when it is, keeps nothing half, and goes on without a restart when there is room", async (context) => {
    requireThat(context, BIN !== null, NEEDED);
    // A volume of 12 MiB of its own, 5 of which something else has.
    const mount = `mount -t tmpfs -o size=12m none ${at("data")} && head -c 5242880 /dev/zero > ${at("data")}/other && exec "$@"`;
    const user = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"];
    await start({}, ["unshare", ...user, "--mount", "--", "sh", "-c", mount, "sh"]);
    const inside = (name: string): string => `/proc/${child?.pid}/root${at("data")}/${name}`;
    expect(existsSync(inside("other"))).toBe(true);
    const sink = sinkOf(a);
    const stored: string[] = [];
    let why = "";
    let turnedAway: Awaited<ReturnType<typeof recordsOf>> | null = null;
    for (let n = 0; n < 60 && turnedAway === null; n++) {
      const made = await recordsOf(a, 200);
      try {
        await send(sink, made);
        stored.push(made.boot);
      } catch (fault) {
        turnedAway = made;
        why = String(fault);
      }
    }
    expect(why).toMatch(/507/);
    await until(10_000, "the metric", async () => (await metric("sidegate_collector_full")) === 1);
    expect(await metric("sidegate_collector_disk_left_seconds")).toBe(0);
    // Reading goes on, and is recorded: a reserve is kept for that.
    const reader = await tokenOf("team", "reader");
    expect((await ask("/v1/find", reader, { limit: 1, namespaces: ["team"] })).status).toBe(200);
    rmSync(inside("other"));
    const late = turnedAway;
    await until(20_000, "room", async () => late !== null && (await send(sink, late)) === late.last);
    const copy = at("copy.db");
    await stop2(inside);
    const store = openSqlite(copy, "read");
    expect((await store.boots()).map(({ boot }) => boot).filter((boot) => boot !== "controlplane")).toEqual([
      ...stored,
      late?.boot,
    ]);
    const report = await verifyStore({ store, nowMs: Date.now(), aliveMs: ALIVE_MS, publicKey: null, expect: null });
    expect(report.findings).toEqual([]);
    await store.close();

    /** The volume goes with the process: what is on it is copied first. */
    async function stop2(file: (name: string) => string): Promise<void> {
      for (const end of ["", "-wal"])
        if (existsSync(file(`audit.db${end}`))) writeFileSync(copy + end, readFileSync(file(`audit.db${end}`)));
      await stop();
    }
  }, 120_000);
});
