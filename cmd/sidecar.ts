/**
 * The data plane's process: reads its configuration, hardens itself, starts the sidecar, tells when it is ready, drains.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { LookupFunction } from "node:net";
import path from "node:path";
import { BUNDLE_PATH, CREDENTIAL_PATH } from "#contract/control-environment.ts";
import type { CredentialSource } from "#contract/credential.ts";
import { ADMIN_PORT, PATHS } from "#contract/names.ts";
import type { BundleSource } from "#contract/policy-port.ts";
import { POD_FILES } from "#contract/proxy-environment.ts";
import { VERSION } from "#contract/version.ts";
import { parseEndpoint } from "#core/cidr.ts";
import { systemClock } from "#core/clock.ts";
import { createFileBundleSource } from "#policy/source/file.ts";
import { type AdminServer, startAdmin } from "#process/admin.ts";
import { problemText } from "#process/config.ts";
import { createDrain, drainOnSignals } from "#process/drain.ts";
import { harden, refusals } from "#process/hardening.ts";
import { loadLibc } from "#process/libc.ts";
import { createLineWriter } from "#process/line-writer.ts";
import { createLog } from "#process/log.ts";
import { createRegistry } from "#process/metrics.ts";
import { fillProcessMetrics } from "#process/process-metrics.ts";
import { createReadiness } from "#process/readiness.ts";
import { register } from "#process/register-metrics.ts";
import { settleMemory } from "#process/settle-memory.ts";
import { SIDECAR_METRICS } from "#process/sidecar-metrics.ts";
import { startSidecar } from "#sidecar/compose.ts";
import { readSidecarConfig } from "#sidecar/config.ts";
import { createChannelSource, createEmptySource } from "#sidecar/credentials/channel-source.ts";
import { decisionLine } from "#sidecar/decision-line.ts";
import { fillSidecarMetrics } from "#sidecar/gauges.ts";
import { hostsOf } from "#sidecar/hosts-file.ts";
import { originalDestination } from "#sidecar/listen/original-destination.ts";
import { countVerdicts } from "#sidecar/meters.ts";
import { ownLookupFunction } from "#sidecar/own-lookup.ts";
import { readPodFile } from "#sidecar/pod-files.ts";

/** For the last records, once no connection is left: they are written, and shipped where the collector is there. */
const RECORDS_MS = 7_000;

const stderr = createLineWriter(2);
const log = createLog({ write: (line) => stderr.write(line), level: "info", clock: systemClock });

async function fail(message: string, code: number): Promise<never> {
  log.error("cannot start", { message });
  await stderr.flush();
  process.exit(code);
}

const why = refusals({ environment: process.env, flags: process.execArgv });
if (why.length > 0) await fail(why.join("; "), 78);
const reading = readSidecarConfig(process.env);
if (!reading.ok) await fail(problemText(reading.problems), 78);
const config = reading.ok ? reading.config : await fail("configuration", 78);
const open = harden(loadLibc());
if (open.length > 0) log.warn("not closed", { open });

const registry = createRegistry();
const metrics = register(registry, SIDECAR_METRICS);
const readiness = createReadiness();
const drain = createDrain({
  // Behind the connections' own limit the last records are written and shipped.
  limitMs: config.drainMs + RECORDS_MS,
  elapsedMs: () => systemClock.elapsedMs(),
  progress: (waiting) => log.info("draining", { waiting }),
});
const decisions = config.decisions === 0 ? null : createLineWriter(config.decisions);
const policyNeeded = readiness.need("policy");

const sidecar = await startSidecar(config, {
  clock: systemClock,
  log,
  metrics,
  version: VERSION,
  originalDestination: originalDestination(),
  bundles: await bundleSource(),
  credentials: await credentialSource(),
  preload: path.join(import.meta.dirname, "trust-preload.so"), // beside the bundle
  token: config.collector.startsWith("unix:") ? null : () => readFile(PATHS.token, "utf8"),
  hosts: config.hosts === "" ? new Map() : hostsOf(readFileSync(config.hosts, "utf8")),
  nameservers: config.resolvers.flatMap((text) => nameserver(text)),
  labels: await podFile(POD_FILES.labels),
  annotations: await podFile(POD_FILES.annotations),
  counted: countVerdicts(metrics),
  told: decisions === null ? null : (verdict) => decisions.write(decisionLine(verdict)),
}).catch((error: unknown) => fail(error instanceof Error ? error.message : String(error), 70));

fillProcessMetrics(registry, metrics, {
  netFolder: "/proc/self/net",
  startedMs: systemClock.wallMs(),
  droppedLines: () => stderr.dropped,
  ready: () => readiness.state().ready,
});
fillSidecarMetrics(registry, metrics, sidecar, {
  version: VERSION,
  tier: config.tier,
  elapsedMs: () => systemClock.elapsedMs(),
});
const admin = await startAdminListener();
drainOnSignals(process, drain, () => process.exit(1));
process.on("disconnect", () => void drain.begin("parent gone"));
const serving = drain.hold("connections");
drain.onBegin((reason) => {
  readiness.end();
  void sidecar.stop(reason, config.drainMs).finally(() => serving.release());
});
readiness.sealed();
await sidecar.ready;
if (sidecar.policy.current !== null) policyNeeded.release();
else sidecar.policy.onChange(() => policyNeeded.release());
settleMemory();
process.send?.({ kind: "ready", policy: sidecar.policy.current?.revision ?? null });
log.info("serving", { boot: sidecar.boot, policy: sidecar.policy.current?.revision ?? "none" });

const ended = new Promise<void>((resolve) => drain.onBegin(() => resolve()));
await ended;
const end = await drain.begin("");
log.info("ended", { why: end.why, unfinished: end.unfinished, ms: end.ms });
await admin?.close();
await decisions?.flush();
await stderr.flush();
process.exit(end.unfinished.length === 0 ? 0 : 1);

async function startAdminListener(): Promise<AdminServer | null> {
  if (config.admin === "off") return null;
  const given = config.admin === "" ? null : parseEndpoint(config.admin);
  const addresses =
    given === null
      ? config.podAddresses
      : [config.admin.slice(0, config.admin.lastIndexOf(":")).replaceAll(/[[\]]/g, "")];
  if (addresses.length === 0) return null;
  return startAdmin(
    { addresses, port: given?.port ?? ADMIN_PORT },
    { metrics: () => registry.text(), ready: () => readiness.state(), live: () => true },
  );
}

function nameserver(text: string): { address: string; port: number }[] {
  const endpoint = parseEndpoint(text);
  if (endpoint === null) return [{ address: text, port: 53 }];
  const address = text.slice(0, text.lastIndexOf(":")).replaceAll(/[[\]]/g, "");
  return [{ address, port: endpoint.port }];
}

/** The HTTP client is loaded only where bundles come over HTTP: the others need not carry it in memory. */
async function bundleSource(): Promise<BundleSource> {
  if (!config.bundle.startsWith("https://")) return createFileBundleSource(config.bundle);
  const { createHttpBundleSource } = await import("#policy/source/http.ts");
  // One authority for the whole control plane: the collector's is the bundle server's.
  const trust = config.collectorCa === null ? {} : { ca: config.collectorCa };
  const token = (): Promise<string> => readFile(PATHS.token, "utf8");
  return createHttpBundleSource({ url: config.bundle, token, ...trust, ...ownLookup() });
}

/** A parent that opened a channel has the credentials (`sidegate run`); else whoever the bundle comes from, if it is a controller. */
async function credentialSource(): Promise<CredentialSource> {
  if (process.send !== undefined)
    return createChannelSource({
      send: (message) => {
        if (process.connected) process.send?.(message);
        return process.connected;
      },
      listen: (then) => process.on("message", then),
    });
  if (!config.bundle.startsWith("https://") || !config.bundle.endsWith(BUNDLE_PATH)) return createEmptySource();
  const { createHttpSource } = await import("#sidecar/credentials/http-source.ts");
  return createHttpSource({
    url: `${config.bundle.slice(0, -BUNDLE_PATH.length)}${CREDENTIAL_PATH}`,
    token: () => readFile(PATHS.token, "utf8"),
    ca: config.collectorCa,
    ...ownLookup(),
    after(ms, fire) {
      const timer = setTimeout(fire, ms).unref();
      return { cancel: () => clearTimeout(timer) };
    },
  });
}

/** Our control plane is found by the cluster's resolvers, not by the pod's. */
function ownLookup(): { readonly lookup?: LookupFunction } {
  const nameservers = config.resolvers.flatMap((text) => nameserver(text));
  const lookup = ownLookupFunction(nameservers, systemClock, () => randomBytes(2).readUInt16BE(0));
  return lookup === null ? {} : { lookup };
}

/** What the kubelet wrote beside the token; nothing outside of a pod. */
async function podFile(name: string): Promise<Readonly<Record<string, string>>> {
  if (config.collector.startsWith("unix:")) return {};
  const text = await readFile(path.join(path.dirname(PATHS.token), name), "utf8").catch(() => "");
  return readPodFile(text);
}
