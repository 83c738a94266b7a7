/**
 * Injection as the API server sees it: the webhook's own process (bundled as it is shipped, with its flags), on one core, asked over
 * TLS for patches of 16 KiB pods. Open loop for the latency that a `kubectl apply` feels, closed loop for what a core can do.
 */
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { CONTROL_ENV, REVIEW_PATH } from "../../src/contract/control-environment.ts";
import { systemClock } from "../../src/core/clock.ts";
import { makeAuthority } from "../../src/sidecar/tls/authority.ts";
import { leafCertificate, pem, spkiOf } from "../../src/sidecar/tls/certificate.ts";
import type { AdmissionLoad, AdmissionLoaded } from "../admission-load.ts";
import { DISTINCT, POD_BYTES } from "../admission-pod.ts";
import { bundle } from "../bundle.ts";
import { CORE, cpuNs, freePort, listening, start } from "../process.ts";
import type { Report } from "../report.ts";
import { median, type RoundsPlan } from "../rounds.ts";

const RATE = 500;
/** As many as the API server opens when answers take as long as they do. */
const CONNECTIONS = 16;
const WARM_SECONDS = 4;
/** Those of the chart (`sidegate.node`). */
const FLAGS = ["--disable-sigusr1", "--disable-warning=ExperimentalWarning"];

export async function admission(folder: string, plan: RoundsPlan): Promise<Report> {
  const at = (name: string): string => path.join(folder, name);
  const port = await freePort();
  writeServed(folder);
  const entry = await bundle("cmd/webhook.ts", at("dist"), false);
  const webhook = start({
    core: CORE.proxy,
    command: [process.execPath, ...FLAGS, entry],
    cwd: folder,
    env: {
      PATH: "/usr/bin:/bin",
      SIDEGATE_CERTIFICATES: at("tls"),
      [CONTROL_ENV.injection]: at("options.yaml"),
      [CONTROL_ENV.address]: "127.0.0.1",
      [CONTROL_ENV.port]: String(port),
    },
    stdio: ["ignore", "ignore", "ignore"],
  });
  try {
    await listening(port);
    const load = (asked: Partial<AdmissionLoad>): AdmissionLoaded => {
      const whole: AdmissionLoad = {
        port,
        ca: at("tls/ca.crt"),
        path: REVIEW_PATH.mutate,
        connections: CONNECTIONS,
        seconds: plan.seconds,
        rate: 0,
        injected: "",
        ...asked,
      };
      return run(whole);
    };
    const validation = { path: REVIEW_PATH.validate, injected: at("options.yaml") };
    load({ seconds: WARM_SECONDS });
    load({ ...validation, seconds: WARM_SECONDS / 2 });
    const rounds = Array.from({ length: plan.rounds }, () => {
      const open = load({ rate: RATE });
      const before = cpuNs(webhook.pid);
      const closed = load({});
      const ns = cpuNs(webhook.pid) - before;
      return {
        open,
        closed,
        cpuUs: ns / 1e3 / closed.reviews,
        busy: ns / 1e9 / closed.seconds,
        check: load(validation),
      };
    });
    const of = (value: (round: (typeof rounds)[number]) => number): number => median(rounds.map(value));
    const errors = rounds.reduce((sum, { open, closed, check }) => sum + open.errors + closed.errors + check.errors, 0);
    if (errors > 0) throw new Error(`${errors} reviews were not answered with a permission`);
    return {
      part: "admission",
      ratios: {},
      goals: { p99_ms: "≤ 10", reviews_per_s: "≥ 1,000" },
      raw: {
        p99_ms: Number(of(({ open }) => open.p99Us / 1000).toFixed(2)),
        p50_ms: Number(of(({ open }) => open.p50Us / 1000).toFixed(2)),
        max_ms: Number(of(({ open }) => open.maxUs / 1000).toFixed(2)),
        reviews_per_s: Math.round(of(({ closed }) => closed.reviews / closed.seconds)),
        validations_per_s: Math.round(of(({ check }) => check.reviews / check.seconds)),
        offered_per_s: RATE,
        pod_bytes: POD_BYTES,
        p99_ms_rounds: rounds.map(({ open }) => Number((open.p99Us / 1000).toFixed(2))),
        reviews_per_s_rounds: rounds.map(({ closed }) => Math.round(closed.reviews / closed.seconds)),
      },
      rows: [
        {
          name: "injection, closed loop",
          cpu_us: of(({ cpuUs }) => cpuUs),
          cpu_us_rounds: rounds.map(({ cpuUs }) => Number(cpuUs.toFixed(1))),
          ops_per_s: of(({ closed }) => closed.reviews / closed.seconds),
          p50_us: of(({ closed }) => closed.p50Us),
          p99_us: of(({ closed }) => closed.p99Us),
          busy: of(({ busy }) => busy),
        },
      ],
      notes: [
        `open loop: ${RATE} reviews/s are due whether or not others were answered; a latency counts from when its review was due`,
        `${DISTINCT} different pods of at least ${POD_BYTES} bytes; every answer is a patch`,
      ],
    };
  } finally {
    await webhook.stop();
  }
}

function run(plan: AdmissionLoad): AdmissionLoaded {
  const entry = path.resolve(import.meta.dirname, "../admission-load.ts");
  const flags = ["--disable-warning=ExperimentalWarning"];
  const args = ["-c", String(CORE.load), process.execPath, ...flags, entry, JSON.stringify(plan)];
  const out = execFileSync("taskset", args, { encoding: "utf8", env: { PATH: "/usr/bin:/bin" } });
  return JSON.parse(out) as AdmissionLoaded;
}

/** A certificate that the load trusts, and options as the chart writes them. */
function writeServed(folder: string): void {
  const authority = makeAuthority(systemClock);
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const now = systemClock.wallMs();
  const validity = { fromMs: now - 60_000, untilMs: now + 48 * 3_600_000 };
  mkdirSync(path.join(folder, "tls"));
  const write = (name: string, text: string): void => writeFileSync(path.join(folder, name), text);
  write("tls/ca.crt", authority.caPem);
  write("tls/tls.crt", pem(leafCertificate(authority, "webhook.bench", spkiOf(publicKey), validity)));
  write("tls/tls.key", privateKey.export({ type: "pkcs8", format: "pem" }));
  write(
    "options.yaml",
    JSON.stringify({
      image: `registry.example/sidegate-proxy@sha256:${"0a".repeat(32)}`,
      imagePullSecrets: ["pull"],
      collector: { url: "https://sidegate-collector.sidegate.svc.cluster.local:8443", ca: authority.caPem },
      bundle: {
        url: "https://sidegate-controller.sidegate.svc.cluster.local:8443/bundles/pod.tar.gz",
        publicKey: publicKey.export({ type: "spki", format: "pem" }),
      },
      resolvers: ["10.96.0.10"],
    }),
  );
}
