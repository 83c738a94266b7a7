/**
 * The collector process: reads its configuration, listens, and on SIGTERM answers what is under way and ends. Started by
 * `sidegate run` (a Unix socket; it ends with its parent) or in a cluster (TLS, and each sender says by its pod token who it is).
 * As a thread of itself it answers long readings.
 */
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { startCollector } from "../src/collector/collector.ts";
import type { Listen } from "../src/collector/server.ts";
import { systemClock } from "../src/core/clock.ts";
import {
  absolutePath,
  address,
  type Config,
  integer,
  list,
  problemText,
  readConfig,
  setting,
  text,
} from "../src/process/config.ts";

function say(event: string, members: Readonly<Record<string, unknown>>): void {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), event, ...members })}\n`);
}

const SHAPE = {
  database: setting("SIDEGATE_AUDIT_DB", absolutePath()),
  /** A Unix socket; else TLS, with everything below. */
  socket: setting("SIDEGATE_COLLECTOR_SOCKET", absolutePath(), { fallback: "" }),
  host: setting("SIDEGATE_LISTEN_ADDRESS", address(), { fallback: "::" }),
  port: setting("SIDEGATE_LISTEN_NUMBER", integer(0, 65_535), { fallback: 8443 }),
  /** A folder with tls.crt and tls.key; read anew while we run, as the next two are. */
  certificates: setting("SIDEGATE_CERTIFICATES", absolutePath(), { fallback: "" }),
  /** The API server's public keys, a JSON Web Key Set, and the issuer that it writes into tokens. */
  tokenKeys: setting("SIDEGATE_TOKEN_KEYS", absolutePath(), { fallback: "" }),
  tokenIssuer: setting("SIDEGATE_TOKEN_ISSUER", text(), { fallback: "https://kubernetes.default.svc.cluster.local" }),
  /** Further clusters: a JSON array of {cluster, issuer, keys}, keys being a JSON Web Key Set. */
  issuers: setting("SIDEGATE_TOKEN_ISSUERS", absolutePath(), { fallback: "" }),
  /** This cluster's name, as its sidecars have it. */
  cluster: setting("SIDEGATE_CLUSTER", text(), { fallback: "default" }),
  /** Service accounts that may put acts on record, `namespace/name`. */
  actors: setting("SIDEGATE_ACTORS", list(text(), 16), { fallback: [] }),
  /** A file of retention rules (src/collector/retention.ts); empty: nothing is ever removed. */
  retention: setting("SIDEGATE_RETENTION", absolutePath(), { fallback: "" }),
  retainSeconds: setting("SIDEGATE_RETENTION_SECONDS", integer(1, 86_400), { fallback: 600 }),
  maxBytes: setting("SIDEGATE_AUDIT_MAX_BYTES", integer(0, Number.MAX_SAFE_INTEGER), { fallback: 0 }),
  verifySeconds: setting("SIDEGATE_VERIFY_SECONDS", integer(0, 7 * 86_400), { fallback: 21_600 }),
  kubeconfig: setting("SIDEGATE_KUBECONFIG", absolutePath(), { fallback: "" }),
  apiHost: setting("KUBERNETES_SERVICE_HOST", text(), { fallback: "" }),
  apiPort: setting("KUBERNETES_SERVICE_PORT", text(), { fallback: "443" }),
} as const;

export type CollectorConfig = Config<typeof SHAPE>;

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

async function main(): Promise<void> {
  const reading = readConfig(process.env, SHAPE);
  const config = reading.ok ? reading.config : fail(problemText(reading.problems));
  const clusterParts = config.socket === "" ? await partsOf(config) : null;
  const listen: Listen =
    clusterParts === null
      ? { kind: "unix", path: config.socket }
      : { kind: "tls", host: config.host, port: config.port, ...clusterParts.certificate };

  const collector = await startCollector({
    database: config.database,
    listen,
    authenticate: clusterParts === null ? null : (authorization) => clusterParts.senders.pod(authorization),
    ...(clusterParts === null ? {} : { cluster: clusterParts.options }),
    clock: systemClock,
    onFinding: (finding, boot, seq) => say("finding", { finding, boot, seq }),
    onError: (fault) => say("error", { message: fault.message }),
  });
  clusterParts?.follow(collector);
  process.send?.({ kind: "ready" });
  if (listen.kind === "tls") say("serving", { port: collector.port });

  let ending = false;
  async function end(): Promise<void> {
    if (ending) return;
    ending = true;
    clusterParts?.close();
    await collector.close();
    process.exit(0);
  }
  process.on("SIGTERM", () => void end());
  process.on("SIGINT", () => void end());
  // The parent that started us is gone: nobody will send any more.
  process.on("disconnect", () => void end());
}

/** What a cluster needs is loaded only there. */
async function partsOf(from: CollectorConfig) {
  if (from.certificates === "" || from.tokenKeys === "")
    fail("SIDEGATE_COLLECTOR_SOCKET, or SIDEGATE_CERTIFICATES and SIDEGATE_TOKEN_KEYS, must say how to listen.");
  const { openClusterParts } = await import("../src/collector/cluster-parts.ts");
  // The thread for long readings runs this same file: an image need not know of another.
  const thread = (): Worker => new Worker(new URL(import.meta.url), { workerData: { database: from.database } });
  return await openClusterParts(from, say, thread).catch((fault: unknown) => fail(String(fault)));
}

if (isMainThread) await main();
else if (parentPort !== null) {
  const { serveReading } = await import("../src/collector/read-worker.ts");
  serveReading(parentPort, workerData as { readonly database: string });
}
