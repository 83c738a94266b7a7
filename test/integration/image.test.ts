/**
 * The built proxy image as a pod runs it, without Kubernetes: init with NET_ADMIN and nothing else, the sidecar with no capability at
 * all, an agent beside them in the same network. One request goes, one does not, both are on record.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { GenericContainer, type StartedTestContainer, Wait } from "testcontainers";
import { afterAll, beforeAll, expect, type TestContext, test } from "vitest";
import { ADMIN_PORT, PATHS } from "#contract/names.ts";
import { BUNDLE_MOUNT, PROXY_COMMAND, PROXY_ENV } from "#contract/proxy-environment.ts";
import { toEvent } from "../../src/collector/event.ts";
import { openSqlite } from "../../src/collector/store/sqlite.ts";
import { buildImage, type Docker, ensureBase, startDocker } from "../support/docker.ts";
import { compileTexts, pack, TEST_TRUST } from "../support/policy-texts.ts";
import { findProgram, requireRoot, requireThat } from "../support/require.ts";
import { eventually } from "../support/sidecar.ts";

const SUBNET = "10.213.77";
const IMAGE = "sidegate-proxy:test";
const UID = 1_947_264_001;
const HOST = "api.example";
const BUILD_MS = 10 * 60_000;

const possible = process.getuid?.() === 0 && findProgram("dockerd") !== null && existsSync("/usr/bin/docker");
const folder = mkdtempSync(path.join(os.tmpdir(), "sidegate-image-"));
const at = (name: string): string => path.join(folder, name);
let docker: Docker | null = null;
let collector: ChildProcess | null = null;
const running: StartedTestContainer[] = [];
let agent: StartedTestContainer | null = null;
let initSaid = "";
const sidecarSaid: string[] = [];
let admin = "";

function needed(context: TestContext): Docker {
  requireRoot(context);
  requireThat(context, possible, "needs dockerd: apt-get install docker.io");
  return daemon();
}

function daemon(): Docker {
  if (docker === null) throw new Error("no docker");
  return docker;
}

/** As injection writes our containers: read-only, nothing gained by exec. */
class Hardened extends GenericContainer {
  constructor() {
    super(IMAGE);
    this.hostConfig.ReadonlyRootfs = true;
    this.withSecurityOpt("no-new-privileges").withDroppedCapabilities("ALL");
  }
}

/** `beside`: in whose network. */
function container(command: readonly string[], beside?: StartedTestContainer): GenericContainer {
  const one = new Hardened().withCommand([...command]);
  return beside === undefined ? one : one.withNetworkMode(`container:${beside.getId()}`);
}

const script = (text: string): string[] => ["/usr/local/bin/node", "-e", text];

beforeAll(async () => {
  if (!possible) return;
  docker = await startDocker(SUBNET);
  process.env["DOCKER_HOST"] = docker.host;
  process.env["TESTCONTAINERS_RYUK_DISABLED"] = "true";
  ensureBase(docker);
  buildImage(docker, "sidegate-proxy");

  // The record, kept by a collector outside.
  for (const name of ["collector", "bundle"]) mkdirSync(at(name));
  collector = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "cmd/collector.ts"], {
    env: {
      PATH: process.env["PATH"],
      SIDEGATE_AUDIT_DB: at("audit.db"),
      SIDEGATE_COLLECTOR_SOCKET: at("collector/sock"),
    },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  await new Promise((resolve) => collector?.once("message", resolve));
  chmodSync(folder, 0o755);
  chmodSync(at("collector/sock"), 0o666);

  // Where the agent wants to go, and the pod's network.
  const upstream = await container(
    script(
      'require("http").createServer((q, s) => s.end(`upstream ${q.method} ${q.url}`)).listen(8080, () => console.log("up"))',
    ),
  )
    .withWaitStrategy(Wait.forLogMessage("up"))
    .start();
  running.push(upstream);
  const address = addressOf(upstream);
  const pause = await container(script('setInterval(() => 0, 1e6); console.log("up")'))
    .withWaitStrategy(Wait.forLogMessage("up"))
    .start();
  running.push(pause);

  const { parts } = await compileTexts({
    policies: { items: 'allow if input.action == "connect"\nallow if input.http.method == "GET"' },
    targets: [{ name: "api", hosts: [HOST], ports: [8080], protocol: "http", tls: "none", private: true }],
  });
  writeFileSync(at("bundle/bundle.tar.gz"), pack(parts));
  writeFileSync(at("bundle/hosts"), `${address} ${HOST}\n`);

  const init = await container(PROXY_COMMAND.init, pause)
    .withUser("0:0")
    .withAddedCapabilities("NET_ADMIN")
    .withEnvironment({
      NODE_OPTIONS: "",
      [PROXY_ENV.uid]: String(UID),
      [PROXY_ENV.dataplane]: "auto",
      [PROXY_ENV.inbound]: "",
    })
    .withWaitStrategy(Wait.forOneShotStartup())
    .start();
  running.push(init);
  initSaid = await textOf(init);

  const [key] = TEST_TRUST.keys;
  const memory = `rw,mode=0700,uid=${UID},gid=${UID}`;
  const sidecar = await container(PROXY_COMMAND.sidecar, pause)
    .withUser(`${UID}:${UID}`)
    .withTmpFs({ [PATHS.state]: memory, [PATHS.trust]: memory })
    .withBindMounts([
      { source: at("bundle"), target: BUNDLE_MOUNT, mode: "ro" },
      { source: at("collector"), target: "/collector", mode: "ro" },
    ])
    .withEnvironment({
      NODE_OPTIONS: "",
      [PROXY_ENV.pod]: "image-test",
      [PROXY_ENV.namespace]: "test",
      [PROXY_ENV.podAddresses]: addressOf(pause),
      [PROXY_ENV.collector]: "unix:/collector/sock",
      [PROXY_ENV.bundle]: `${BUNDLE_MOUNT}/bundle.tar.gz`,
      [PROXY_ENV.bundleKey]: String(key?.publicKey.export({ type: "spki", format: "pem" })),
      [PROXY_ENV.bundleKeyId]: key?.id ?? "",
      [PROXY_ENV.bundleScope]: TEST_TRUST.scope,
      [PROXY_ENV.hosts]: `${BUNDLE_MOUNT}/hosts`,
    })
    .withLogConsumer((stream) => stream.on("data", (chunk: Buffer) => sidecarSaid.push(String(chunk))))
    .withWaitStrategy(Wait.forLogMessage('"serving"'))
    .start()
    .catch((fault: unknown) => {
      throw new Error(`the sidecar did not start: ${sidecarSaid.join("")}`, { cause: fault });
    });
  running.push(sidecar);
  admin = `http://${addressOf(pause)}:${ADMIN_PORT}`;

  agent = await container(script('setInterval(() => 0, 1e6); console.log("up")'), pause)
    .withUser("1000:1000")
    .withWaitStrategy(Wait.forLogMessage("up"))
    .start();
  running.push(agent);
}, BUILD_MS);

afterAll(async () => {
  for (const one of running.toReversed()) await one.stop({ timeout: 1_000 }).catch(() => undefined);
  await docker?.stop();
  collector?.kill("SIGTERM");
  rmSync(folder, { recursive: true, force: true });
});

function addressOf(one: StartedTestContainer): string {
  return daemon().run(["inspect", "-f", "{{.NetworkSettings.IPAddress}}", one.getId()]).trim();
}

async function textOf(one: StartedTestContainer): Promise<string> {
  const chunks: string[] = [];
  for await (const chunk of await one.logs()) chunks.push(String(chunk));
  return chunks.join("");
}

/** In the agent's container: `status body`, or the error's code. */
async function fetched(method: string, url: string): Promise<string> {
  const text = `fetch(${JSON.stringify(url)}, { method: "${method}", signal: AbortSignal.timeout(10_000) }).then(
    async (a) => console.log(a.status, a.headers.get("sidegate-event") === null ? "-" : "event", await a.text()),
    (e) => console.log(String(e.cause?.code ?? e)))`;
  const done = await agent?.exec(script(text));
  return done?.output.trim() ?? "";
}

test("the image holds our two bundles and what they need, and is nobody's by default", (context) => {
  const inspected = JSON.parse(needed(context).run(["image", "inspect", IMAGE])) as { Config: { User: string } }[];
  expect(inspected[0]?.Config.User).toBe("65532:65532");
  const inside = (command: string): string =>
    daemon().run(["run", "--rm", "--network", "none", IMAGE, "sh", "-c", command]);
  expect(inside("ls /app").trim().split("\n")).toEqual([
    "init.js",
    "libpg-query.wasm",
    "sidecar.js",
    "trust-preload.so",
  ]);
  expect(inside("id -u").trim()).toBe("65532");
  expect(inside("for p in npm npx opa curl gcc python3; do command -v $p; done; true")).toBe("");
  expect(inside("ls /usr/local/bin").trim()).toBe("node");
  expect(
    inside("for p in nft iptables-restore ip6tables-restore; do PATH=$PATH:/usr/sbin command -v $p; done").match(/\n/g),
  ).toHaveLength(3);
});

test("init, with NET_ADMIN and nothing else, loads the rules and proves them", (context) => {
  needed(context);
  expect(initSaid).toMatch(/rules loaded by (nft|iptables)/);
  expect(initSaid).not.toContain("FAILS");
  expect(initSaid.match(/holds: /g)).toHaveLength(16);
});

test("an agent's request that policy allows goes to the upstream", async (context) => {
  needed(context);
  expect(await fetched("GET", `http://${HOST}:8080/v1/items`)).toBe("200 - upstream GET /v1/items");
});

test("one that policy does not allow is refused, and so is a name or an address that no target lists", async (context) => {
  needed(context);
  expect(await fetched("DELETE", `http://${HOST}:8080/v1/items`)).toMatch(/^403 event .*not_allowed/s);
  expect(await fetched("GET", "http://evil.example/")).toMatch(/ENOTFOUND|EAI_AGAIN/);
  expect(await fetched("GET", `http://${SUBNET}.2:8080/v1/items`)).toMatch(/^403 event .*target_unknown/s);
});

test("Prometheus reads the sidecar at the pod's address, and what happened is in its answer and on record", async (context) => {
  needed(context);
  const text = await (await fetch(`${admin}/metrics`)).text();
  expect(text).toMatch(/^sidegate_operations_total\{protocol="http",verdict="deny",code="not_allowed"\} 1$/m);
  let seen: string[] = [];
  const wanted = ["allow null GET", "deny not_allowed DELETE"];
  await eventually(
    async () => {
      const store = openSqlite(at("audit.db"), "read");
      const events = (await store.find({ limit: 100 })).map(toEvent);
      await store.close();
      seen = events.map(({ verdict, code, summary, pod }) => `${verdict} ${code} ${summary} ${pod}`);
      return wanted.every((start) => seen.some((line) => line.startsWith(start) && line.endsWith("test/image-test")));
    },
    () => `${wanted.join(", ")} on record:\n${seen.join("\n")}`,
  );
});
