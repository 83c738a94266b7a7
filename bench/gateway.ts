/**
 * The gateway under test: the sidecar's bundle and the collector's, as processes of their own, started with the flags of
 * `sidegate run`. The sidecar gets the core under test for itself; the collector shares the load's, at the lowest priority.
 */
import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { PROXY_COMMAND, PROXY_ENV } from "../src/contract/proxy-environment.ts";
import { DESTINATION_FILE } from "./destination.ts";
import type { Signed } from "./policy-bundle.ts";
import { PORT } from "./policy-bundle.ts";
import { CORE, freePort, pause, type Started, start, stopped } from "./process.ts";

export interface GatewayPlan {
  readonly folder: string;
  /** Where the bundles lie, and DESTINATION_FILE beside them. */
  readonly bundles: { readonly sidecar: string; readonly collector: string };
  readonly policy: Signed;
  /** The name that connections are for; null: none (footprint). */
  readonly host: string | null;
  /** Of that name. Default: PORT. */
  readonly port?: number;
  /** Instead of the flags that we ship. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The sidecar's own binary instead of ours. */
  readonly node?: string;
}

export interface Gateway extends Started {
  readonly port: number;
  readonly database: string;
  /** From exec until the sidecar said that it is ready. */
  readonly readyMs: number;
  metric(series: string): Promise<number>;
  /** Resolves when the collector has every line. */
  drained(limitMs: number): Promise<void>;
}

const RUN = JSON.stringify({
  id: "0192f0c1-7a3b-7c11-9e55-2f1f6f0f9a10",
  user: "ada@example.com",
  intent: "reconcile invoices of October",
  verified: true,
});

/** The flags that the images start our processes with. */
export const FLAGS: readonly string[] = PROXY_COMMAND.sidecar.slice(1, -1);

export async function startGateway(plan: GatewayPlan): Promise<Gateway> {
  const { folder, policy } = plan;
  const at = (name: string): string => path.join(folder, name);
  for (const name of ["state", "spool", "trust", "policy"]) mkdirSync(at(name), { recursive: true, mode: 0o700 });
  writeFileSync(at("policy/bundle.tar.gz"), policy.archive);
  const collector = start({
    core: CORE.load,
    nice: 19,
    command: [process.execPath, ...FLAGS, plan.bundles.collector],
    env: { PATH: "/usr/bin:/bin", SIDEGATE_AUDIT_DB: at("audit.db"), SIDEGATE_COLLECTOR_SOCKET: at("collector.sock") },
    stdio: ["ignore", "ignore", openSync(at("collector.log"), "a"), "ipc"],
  });
  await ready(collector.child, at("collector.log"));

  const server = net.createServer();
  await new Promise<void>((resolve) => {
    server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, resolve);
  });
  const names = createSocket("udp4");
  await new Promise<void>((resolve) => {
    names.bind(0, "127.0.0.1", resolve);
  });
  const adminPort = await freePort();
  const began = performance.now();
  const sidecar = start({
    core: CORE.proxy,
    cwd: folder,
    command: [plan.node ?? process.execPath, ...(plan.flags ?? FLAGS), plan.bundles.sidecar],
    env: {
      PATH: "/usr/bin:/bin",
      [PROXY_ENV.cluster]: "bench",
      [PROXY_ENV.namespace]: "agents",
      [PROXY_ENV.account]: "invoice-agent",
      [PROXY_ENV.pod]: "bench",
      [PROXY_ENV.state]: at("state"),
      [PROXY_ENV.spool]: at("spool"),
      [PROXY_ENV.trust]: at("trust"),
      [PROXY_ENV.bundle]: at("policy/bundle.tar.gz"),
      [PROXY_ENV.bundleKey]: policy.keyPem,
      [PROXY_ENV.bundleKeyId]: policy.keyId,
      [PROXY_ENV.bundleScope]: policy.scope,
      [PROXY_ENV.collector]: `unix:${at("collector.sock")}`,
      [PROXY_ENV.loopback]: "true",
      [PROXY_ENV.admin]: `127.0.0.1:${adminPort}`,
      [PROXY_ENV.listen]: "tcp4=4,dnsUdp4=5",
      [PROXY_ENV.run]: RUN,
      ...plan.env,
    },
    stdio: ["ignore", "ignore", openSync(at("sidecar.log"), "a"), "ipc", descriptor(server), descriptor(names)],
  });
  await ready(sidecar.child, at("sidecar.log"));
  const readyMs = performance.now() - began;
  const port = portOf(server.address());
  const namePort = portOf(names.address());
  // The listening sockets are the sidecar's now; nobody but it may accept.
  server.close();
  names.close();
  if (plan.host !== null) {
    const address = await resolve(plan.host, namePort);
    writeFileSync(
      path.join(path.dirname(plan.bundles.sidecar), DESTINATION_FILE),
      JSON.stringify({ address, port: plan.port ?? PORT }),
    );
  }
  const metric = async (series: string): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
    const line = text.split("\n").find((l) => l.startsWith(`${series} `));
    if (line === undefined) throw new Error(`no metric ${series}`);
    return Number(line.slice(series.length + 1));
  };
  return {
    pid: sidecar.pid,
    port,
    readyMs,
    database: at("audit.db"),
    metric,
    async drained(limitMs) {
      const end = performance.now() + limitMs;
      while ((await metric("sidegate_audit_lag_records")) > 0) {
        if (performance.now() > end) throw new Error("the collector has not stored everything in time");
        await pause(200);
      }
    },
    async stop() {
      await stopped(sidecar.child, 30_000);
      await stopped(collector.child, 30_000);
    },
  };
}

async function ready(child: ReturnType<typeof start>["child"], log: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    child.once("message", () => resolve());
    child.once("exit", (code, signal) =>
      reject(new Error(`ended (${signal ?? code}):\n${readFileSync(log, "utf8").slice(-2_000)}`)),
    );
  });
}

async function resolve(host: string, port: number): Promise<string> {
  const resolver = new Resolver({ timeout: 1_000, tries: 5 });
  resolver.setServers([`127.0.0.1:${port}`]);
  const [address] = await resolver.resolve4(host);
  if (address === undefined) throw new Error(`the sidecar does not know ${host}`);
  return address;
}

/** Node's own handle; a UDP socket keeps it in its state object. */
function descriptor(of: object): number {
  const state = Object.getOwnPropertySymbols(of).find((symbol) => symbol.description === "state symbol");
  const handle: unknown =
    state === undefined ? Reflect.get(of, "_handle") : Reflect.get(Reflect.get(of, state) as object, "handle");
  const fd: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : null;
  if (typeof fd !== "number" || fd < 0) throw new Error("this Node shows no descriptor");
  return fd;
}

function portOf(address: ReturnType<net.Server["address"]>): number {
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
