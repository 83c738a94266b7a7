/** The admission webhook's process: reads its configuration, serves reviews over TLS, drains. */
import { randomInt } from "node:crypto";
import path from "node:path";
import { parse } from "yaml";
import { PROXY_UID } from "#contract/names.ts";
import { VERSION } from "#contract/version.ts";
import { systemClock } from "#core/clock.ts";
import { type InjectionOptions, readOptions } from "#injection/options.ts";
import { describeViolations } from "#injection/violation.ts";
import { absolutePath, address, integer, problemText, readConfig, setting } from "#process/config.ts";
import { createDrain, drainOnSignals } from "#process/drain.ts";
import { createLineWriter } from "#process/line-writer.ts";
import { createLog } from "#process/log.ts";
import { createRegistry } from "#process/metrics.ts";
import { pollFiles } from "#process/polled-files.ts";
import { readCertificate } from "#webhook/certificate.ts";
import { declareWebhookMetrics } from "#webhook/metrics.ts";
import { mutate } from "#webhook/mutate.ts";
import { serveWebhook } from "#webhook/server.ts";
import { validate } from "#webhook/validate.ts";

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
  host: setting("SIDEGATE_LISTEN_ADDRESS", address(), { fallback: "::" }),
  port: setting("SIDEGATE_LISTEN_NUMBER", integer(0, 65_535), { fallback: 8443 }),
  certificates: setting("SIDEGATE_CERTIFICATES", absolutePath()),
  injection: setting("SIDEGATE_INJECTION", absolutePath()),
});
const config = reading.ok ? reading.config : await fail(problemText(reading.problems), 78);

const registry = createRegistry();
const metrics = declareWebhookMetrics(registry);
const faultText = (fault: unknown): string => (fault instanceof Error ? fault.message : String(fault));

function poll<T>(
  what: string,
  paths: readonly string[],
  read: (contents: readonly string[]) => T,
  use: (value: T) => void,
) {
  return pollFiles({
    paths,
    parse: read,
    everyMs: POLL_MS,
    onChange: (value: T) => {
      use(value);
      metrics.reloads.with(what, "taken").add(1);
      log.info("taken over", { what });
    },
    onFault: (fault) => {
      metrics.reloads.with(what, "refused").add(1);
      log.error("not taken over", { what, why: faultText(fault) });
    },
  });
}

function injectionOptions([text = ""]: readonly string[]): InjectionOptions {
  const options = readOptions(parse(text));
  if (options.kind === "malformed") throw new Error(describeViolations(options.violations));
  return options.options;
}

const drain = createDrain({ limitMs: 10_000, elapsedMs: () => systemClock.elapsedMs() });
try {
  const injection = poll("injection options", [config.injection], injectionOptions, () => undefined);
  const files = ["tls.crt", "tls.key"].map((name) => path.join(config.certificates, name));
  const certificate = poll("certificate", files, readCertificate, (next) => server.useCertificate(next));
  const server = await serveWebhook(
    {
      certificate: certificate.current,
      mutate: (request) =>
        mutate(request, {
          injection: () => injection.current,
          drawUid: () => randomInt(PROXY_UID.first, PROXY_UID.last + 1),
        }),
      validate: (request) => validate(request, injection.current),
      ready: () => !drain.begun && certificate.current.notAfterMs - systemClock.wallMs() > LEAST_LIFE_MS,
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
