/** The admission webhook's process: reads its configuration, serves reviews over TLS, drains. */
import { randomInt } from "node:crypto";
import { tmpdir } from "node:os";
import { CONTROL_ENV, CONTROL_PORT } from "#contract/control-environment.ts";
import { PROXY_UID } from "#contract/names.ts";
import { VERSION } from "#contract/version.ts";
import { systemClock } from "#core/clock.ts";
import { parseOptions } from "#injection/options-text.ts";
import { compilePolicies } from "#policy/compile/compile.ts";
import { absolutePath, address, integer, problemText, readConfig, setting } from "#process/config.ts";
import { fillControlMetrics } from "#process/control-metrics.ts";
import { createDrain, drainOnSignals } from "#process/drain.ts";
import { createLineWriter } from "#process/line-writer.ts";
import { createLog } from "#process/log.ts";
import { createRegistry } from "#process/metrics.ts";
import { pollFiles } from "#process/polled-files.ts";
import { register } from "#process/register-metrics.ts";
import { CLUSTER_SHAPE, joinCluster, type SideOptions, standAlone } from "#webhook/cluster.ts";
import { WEBHOOK_METRICS } from "#webhook/metrics.ts";
import { mutate } from "#webhook/mutate.ts";
import { createPolicyCheck } from "#webhook/policies.ts";
import { serveWebhook } from "#webhook/server.ts";
import { validate } from "#webhook/validate.ts";
import { stampWorkload } from "#webhook/workload.ts";

/** The kubelet takes up to a minute to bring a changed Secret; a look every ten seconds adds little to it. */
const POLL_MS = 10_000;
/** A certificate with less than this left is no longer served as ready: somebody must notice before it ends. */
const LEAST_LIFE_MS = 24 * 3_600_000;

const stderr = createLineWriter(2);
const log = createLog({ write: (line) => stderr.write(line), level: "info", clock: systemClock });

async function fail(message: string, code: number): Promise<never> {
  log.error("cannot start", { message });
  await stderr.flush();
  process.exit(code);
}

const reading = readConfig(process.env, {
  host: setting(CONTROL_ENV.address, address(), { fallback: "::" }),
  port: setting(CONTROL_ENV.port, integer(0, 65_535), { fallback: CONTROL_PORT.webhook }),
  /** A folder with tls.crt and tls.key; empty where the control plane's namespace is given: then they are in its Secret. */
  certificates: setting("SIDEGATE_CERTIFICATES", absolutePath(), { fallback: "" }),
  injection: setting(CONTROL_ENV.injection, absolutePath()),
  ...CLUSTER_SHAPE,
});
const nowhere =
  (process.env["SIDEGATE_CERTIFICATES"] ?? "") === "" && (process.env[CONTROL_ENV.namespace] ?? "") === ""
    ? [`SIDEGATE_CERTIFICATES or ${CONTROL_ENV.namespace} must say where the certificate is.`]
    : [];
const problems = reading.ok ? nowhere : [problemText(reading.problems), ...nowhere];
const config = reading.ok && nowhere.length === 0 ? reading.config : await fail(problems.join("\n"), 78);

const registry = createRegistry();
const metrics = register(registry, WEBHOOK_METRICS);
fillControlMetrics(registry, { process: "webhook", version: VERSION, startedMs: systemClock.wallMs() });
const faultText = (fault: unknown): string => (fault instanceof Error ? fault.message : String(fault));

function taken(what: string): void {
  metrics.reloads.with(what, "taken").add(1);
  log.info("taken over", { what });
}
function notTaken(what: string, fault: unknown): void {
  metrics.reloads.with(what, "refused").add(1);
  log.error("not taken over", { what, why: faultText(fault) });
}

const drain = createDrain({ limitMs: 10_000, elapsedMs: () => systemClock.elapsedMs() });
try {
  const injection = pollFiles({
    paths: [config.injection],
    parse: parseOptions,
    everyMs: POLL_MS,
    onChange: () => taken("injection options"),
    onFault: (fault) => notTaken("injection options", fault),
  });
  const sources: SideOptions = {
    clock: systemClock,
    injection: () => injection.current,
    onCertificate(next) {
      server.useCertificate(next);
      taken("certificate");
    },
    onFault: notTaken,
  };
  const side = config.namespace === "" ? standAlone(config.certificates, sources) : await joinCluster(config, sources);
  const server = await serveWebhook(
    {
      certificate: side.certificate(),
      async mutate(request) {
        const outcome = mutate(request, {
          injection: () => side.options(request.namespace ?? ""),
          drawUid: () => randomInt(PROXY_UID.first, PROXY_UID.last + 1),
          nowMs: () => systemClock.wallMs(),
          behind: await side.behind(request),
          optedIn: side.optedIn(request.namespace ?? ""),
          podSecurity: side.podSecurity(request.namespace ?? ""),
        });
        side.ownerEvents(request, outcome);
        return outcome;
      },
      workloads: (request) =>
        stampWorkload(request, {
          deployers: side.options(request.namespace ?? "").deployers,
          optedIn: side.optedIn(request.namespace ?? ""),
        }),
      validate: (request) => validate(request, side.options(request.namespace ?? ""), systemClock.wallMs()),
      policies: createPolicyCheck({
        own: config.namespace,
        credentialNamespaces: config.credentialNamespaces,
        may: side.may,
        compile: (sources) => compilePolicies(sources, { opa: config.opa, tmp: tmpdir() }),
      }),
      ready: () => !drain.begun && side.ready() && side.certificate().notAfterMs - systemClock.wallMs() > LEAST_LIFE_MS,
      registry,
      metrics,
      clock: systemClock,
      onFault: (fault) => log.error("review failed", { why: faultText(fault) }),
    },
    { host: config.host, port: config.port },
  );
  const serving = drain.hold("reviews");
  drain.onBegin(() => void server.close().finally(() => serving.release()));
  log.info("serving", { version: VERSION, port: server.port });
} catch (fault) {
  await fail(faultText(fault), 70);
}

drainOnSignals(process, drain, () => process.exit(1));
const end = await new Promise<string>((resolve) => drain.onBegin(resolve)).then((why) => drain.begin(why));
log.info("ended", { why: end.why, unfinished: end.unfinished, ms: end.ms });
await stderr.flush();
process.exit(end.unfinished.length === 0 ? 0 : 1);
