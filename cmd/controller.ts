/** The controller's process: reads its configuration, joins the API server, serves bundles, drains. */
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { createActs } from "#audit/acts.ts";
import { CONTROL_ENV, CONTROL_OBJECT, CONTROL_PORT } from "#contract/control-environment.ts";
import { VERSION } from "#contract/version.ts";
import { systemClock } from "#core/clock.ts";
import type { InjectionOptions } from "#injection/options.ts";
import { parseOptions } from "#injection/options-text.ts";
import { fileAccess, podAccess } from "#kube/access.ts";
import { createKube } from "#kube/client.ts";
import {
  absolutePath,
  address,
  integer,
  list,
  oneOf,
  problemText,
  readConfig,
  setting,
  text,
} from "#process/config.ts";
import { fillControlMetrics } from "#process/control-metrics.ts";
import { createDrain, drainOnSignals } from "#process/drain.ts";
import { createLineWriter } from "#process/line-writer.ts";
import { createLog } from "#process/log.ts";
import { createRegistry } from "#process/metrics.ts";
import { type PolledFiles, pollFiles } from "#process/polled-files.ts";
import { startController } from "../src/controller/controller.ts";

const POLL_MS = 10_000;
const stderr = createLineWriter(2);
const log = createLog({ write: (line) => stderr.write(line), level: "info", clock: systemClock });

async function fail(message: string, code: number): Promise<never> {
  log.error("cannot start", { message });
  await stderr.flush();
  process.exit(code);
}

const faultText = (fault: unknown): string => (fault instanceof Error ? fault.message : String(fault));

const reading = readConfig(process.env, {
  namespace: setting(CONTROL_ENV.namespace, text({ maxLength: 63 })),
  identity: setting(CONTROL_ENV.identity, text({ maxLength: 253 })),
  cluster: setting(CONTROL_ENV.cluster, text({ maxLength: 253 }), { fallback: "default" }),
  host: setting(CONTROL_ENV.address, address(), { fallback: "::" }),
  port: setting(CONTROL_ENV.port, integer(0, 65_535), { fallback: CONTROL_PORT.controller }),
  kubeconfig: setting(CONTROL_ENV.kubeconfig, absolutePath(), { fallback: "" }),
  apiHost: setting("KUBERNETES_SERVICE_HOST", text(), { fallback: "" }),
  apiPort: setting("KUBERNETES_SERVICE_PORT", text(), { fallback: "443" }),
  opa: setting(CONTROL_ENV.opa, absolutePath(), { fallback: "/usr/local/bin/opa" }),
  injection: setting(CONTROL_ENV.injection, absolutePath(), { fallback: "" }),
  names: setting(CONTROL_ENV.names, list(text(), 16), { fallback: [] }),
  certificatesBy: setting<"self" | "secret">(CONTROL_ENV.certificatesBy, oneOf("self", "secret"), { fallback: "self" }),
  definitionsBy: setting<"self" | "others">(CONTROL_ENV.definitionsBy, oneOf("self", "others"), { fallback: "self" }),
  caller: setting<"pod" | "any">(CONTROL_ENV.caller, oneOf("pod", "any"), { fallback: "pod" }),
  dns: setting(CONTROL_ENV.dns, text(), { fallback: "kube-system/kube-dns" }),
  guarded: setting(CONTROL_ENV.guarded, text(), { fallback: CONTROL_OBJECT.guarded }),
  collector: setting(CONTROL_ENV.collector, text(), { fallback: "" }),
  token: setting(CONTROL_ENV.token, absolutePath(), { fallback: "/var/run/sidegate/token/token" }),
  credentialNamespaces: setting(CONTROL_ENV.credentialNamespaces, list(text(), 1_000), { fallback: [] }),
  credentialSeconds: setting(CONTROL_ENV.credentialSeconds, integer(30, 3_600), { fallback: 300 }),
  onFullAllow: setting(CONTROL_ENV.onFullAllow, list(text(), 1_000), { fallback: [] }),
});
const config = reading.ok ? reading.config : await fail(problemText(reading.problems), 78);
if (config.kubeconfig === "" && config.apiHost === "")
  await fail(`${CONTROL_ENV.kubeconfig} is missing: this is no pod of a cluster.`, 78);

const registry = createRegistry();
fillControlMetrics(registry, { process: "controller", version: VERSION, startedMs: systemClock.wallMs() });
const drain = createDrain({ limitMs: 10_000, elapsedMs: () => systemClock.elapsedMs() });
try {
  const injection: PolledFiles<InjectionOptions> | null =
    config.injection === ""
      ? null
      : pollFiles({
          paths: [config.injection],
          parse: parseOptions,
          everyMs: POLL_MS,
          onChange: () => log.info("taken over", { what: "injection options" }),
          onFault: (fault) => log.error("not taken over", { what: "injection options", why: faultText(fault) }),
        });
  const access =
    config.kubeconfig === "" ? await podAccess(config.apiHost, config.apiPort) : await fileAccess(config.kubeconfig);
  const controller = await startController({
    kube: createKube(access),
    namespace: config.namespace,
    identity: config.identity,
    cluster: config.cluster,
    listen: { host: config.host, port: config.port },
    names: config.names,
    certificatesBy: config.certificatesBy,
    definitionsBy: config.definitionsBy,
    checkCaller: config.caller === "pod",
    dns: config.dns,
    guarded: config.guarded,
    injection: () => injection?.current ?? null,
    compiler: { opa: config.opa, tmp: tmpdir() },
    acts:
      config.collector === ""
        ? null
        : (ca) => createActs({ url: config.collector, ca, token: () => readFile(config.token, "utf8") }),
    onFullAllowed: new Set(config.onFullAllow),
    credentials: { namespaces: config.credentialNamespaces, lifetimeMs: config.credentialSeconds * 1_000 },
    clock: systemClock,
    registry,
    log: (event, fields) => log.info(event, fields),
    onFault: (where, fault) => log.error("fault", { where, why: faultText(fault) }),
  });
  const serving = drain.hold("bundles");
  drain.onBegin(() => void controller.close().finally(() => serving.release()));
  log.info("serving", { version: VERSION, port: controller.port });
} catch (fault) {
  await fail(faultText(fault), 70);
}

drainOnSignals(process, drain, () => process.exit(1));
const end = await new Promise<string>((resolve) => drain.onBegin(resolve)).then((why) => drain.begin(why));
log.info("ended", { why: end.why, unfinished: end.unfinished, ms: end.ms });
await stderr.flush();
process.exit(end.unfinished.length === 0 ? 0 : 1);
