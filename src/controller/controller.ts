/**
 * The controller, joined: watches → fleet → bundle server on every replica; compiling, statuses, guard and drift on the leader.
 * `cmd/controller.ts` reads the configuration and waits for the signal.
 */
import { X509Certificate } from "node:crypto";
import type { Acts } from "#audit/acts.ts";
import { CONTROL_OBJECT, CONTROL_SERVICE } from "#contract/control-environment.ts";
import { customResources } from "#contract/custom-resources.ts";
import type { Clock } from "#core/clock.ts";
import { completeOptions } from "#injection/complete-options.ts";
import type { InjectionOptions } from "#injection/options.ts";
import { keepCertificates } from "#kube/certificate-keeper.ts";
import type { CertificateData } from "#kube/certificates.ts";
import { createTell } from "#kube/events.ts";
import { electLeader } from "#kube/leader.ts";
import type { Kube } from "#kube/port.ts";
import { servingNames } from "#kube/serving-names.ts";
import { CONTENT_TYPE, type Registry } from "#process/metrics.ts";
import { register } from "#process/register-metrics.ts";
import { BUNDLE_KEY_ID, keepBundleKey } from "./bundle-key.ts";
import { type BundleServer, serveBundles } from "./bundle-server.ts";
import { type CompilerOptions, createCompiler } from "./compiler.ts";
import { createCredentialRoom } from "./credentials/room.ts";
import { createDefinitionKeeper } from "./definition-keeper.ts";
import { createFleet, createKnown } from "./fleet.ts";
import { recordGone, workOnFreezes } from "./freezes.ts";
import { createIssuer } from "./issue.ts";
import { startLeading } from "./leading.ts";
import { LEFT_OUT_KINDS, leftOutNotice } from "./left-out.ts";
import { createMaker } from "./maker.ts";
import { CONTROLLER_METRICS } from "./metrics.ts";
import { startRounds } from "./rounds.ts";
import { writeStatuses } from "./status.ts";
import { fetchTokenKeys } from "./token-keys.ts";
import { watchAll } from "./watches.ts";

export interface ControllerOptions {
  readonly kube: Kube;
  /** Our own namespace. */
  readonly namespace: string;
  /** This replica's name. */
  readonly identity: string;
  readonly cluster: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** DNS names of the serving certificate beside our Services'. */
  readonly names: readonly string[];
  readonly checkCaller: boolean;
  /** Who makes and renews the serving certificate; this process, where not given. */
  readonly certificatesBy?: "self" | "secret";
  /** Who brings our custom resource definitions up to this release; this process, where not given. */
  readonly definitionsBy?: "self" | "others";
  readonly dns: string;
  readonly guarded: string;
  readonly injection: () => InjectionOptions | null;
  readonly compiler: Pick<CompilerOptions, "opa" | "tmp" | "compile">;
  /** Where acts are put on record; `ca`: whom the collector's certificate comes from. Null: nowhere. */
  readonly acts?: ((ca: () => string) => Acts) | null;
  /** Namespaces whose agents go on unrecorded where the record is full. */
  readonly onFullAllowed?: ReadonlySet<string>;
  /** Whose Secrets may be read, and how long a sidecar may use one without asking again. */
  readonly credentials?: { readonly namespaces: readonly string[]; readonly lifetimeMs: number };
  readonly clock: Clock;
  readonly registry: Registry;
  readonly log: (event: string, fields: Readonly<Record<string, string>>) => void;
  readonly onFault: (where: string, fault: unknown) => void;
}

export interface Controller {
  readonly port: number;
  close(): Promise<void>;
}

const RECOMPUTE_MS = 15;
/** Observe mode that ends, and whatever a watch may have missed. */
const RECOMPUTE_EVERY_MS = 10_000;
const CERTIFICATES_EVERY_MS = 5_000;
const DEFINITIONS_EVERY_MS = 30_000;
const DEFINITIONS_TOLD_MS = 5_000;
const STATUS_MS = 200;
/** What the collector did not take is told again. */
const FREEZES_EVERY_MS = 10_000;
const DAY_MS = 86_400_000;
const CREDENTIAL_MS = 300_000;

/** Resolves when bundles are served. Rejects where the API server cannot be reached or does not let us. */
export async function startController(options: ControllerOptions): Promise<Controller> {
  const { kube, namespace, clock, onFault, log } = options;
  const abort = new AbortController();
  const { signal } = abort;
  const metrics = register(options.registry, CONTROLLER_METRICS);
  const fault =
    (where: string) =>
    (what: unknown): void => {
      metrics.faults.with(where).add(1);
      onFault(where, what);
    };
  const known = createKnown();
  const by = options.certificatesBy ?? "self";
  const keep = { kube, secret: { namespace, name: CONTROL_OBJECT.certificates }, clock, by };
  const names = [...servingNames(Object.values(CONTROL_SERVICE), namespace), ...options.names];
  let certificates = await keepCertificates({ ...keep, names });
  const acts = options.acts?.(() => certificates["ca.crt"]) ?? null;
  const definitions = createDefinitionKeeper({
    kube,
    definitions: customResources(),
    by: options.definitionsBy ?? "self",
    acts,
    metrics,
    log,
  });
  await definitions.start();
  const [key, tokens] = await Promise.all([keepBundleKey(kube, namespace), fetchTokenKeys(kube, () => clock.wallMs())]);
  const issuer = createIssuer({ cluster: options.cluster, key: () => key, clock });
  const fleet = createFleet({
    known,
    own: namespace,
    issuer,
    clock,
    checkCaller: options.checkCaller,
    dns: options.dns,
    ...(options.onFullAllowed === undefined ? {} : { onFullAllowed: options.onFullAllowed }),
    injection: options.injection,
    why: () => "its policies have not been compiled; their status says why",
  });
  const compiler = createCompiler({
    ...options.compiler,
    took: (ms) => metrics.compile.with().observe(ms / 1000),
  });
  const recompute = startRounds(
    recomputeNow,
    { delayMs: RECOMPUTE_MS, everyMs: RECOMPUTE_EVERY_MS },
    signal,
    fault("recompute"),
  );
  const maker = createMaker({
    kube,
    known,
    fleet,
    compiler,
    own: namespace,
    clock,
    onDone: () => recompute.ask(),
    onFault: fault("compile"),
  });
  const tell = createTell(kube, clock, fault("events"));
  let leading: AbortSignal | null = null;
  let server: BundleServer | null = null;
  const statuses = startRounds(
    async () => {
      if (leading !== null)
        await writeStatuses(
          {
            kube,
            known,
            fleet,
            maker,
            own: namespace,
            clock,
            lack: (target) => credentials.lack(target),
            onFault: fault("status"),
          },
          leading,
        );
    },
    { delayMs: STATUS_MS, everyMs: 0 },
    signal,
    fault("status"),
  );

  const credentials = createCredentialRoom({
    kube,
    known,
    fleet,
    own: namespace,
    allowed: options.credentials?.namespaces ?? [],
    lifetimeMs: options.credentials?.lifetimeMs ?? CREDENTIAL_MS,
    checkCaller: options.checkCaller,
    injection: () => injection(),
    acts,
    clock,
    counted: (outcome) => metrics.credentials.with(outcome).add(1),
    log,
    onChange: () => recompute.ask(),
    onFault: fault("credentials"),
    signal,
  });
  const freezes = startRounds(
    async () => {
      if (leading !== null) await workOnFreezes({ kube, known, fleet, acts, onFault: fault("freeze") }, leading);
    },
    { delayMs: STATUS_MS, everyMs: FREEZES_EVERY_MS },
    signal,
    fault("freeze"),
  );

  function recomputeNow(): void {
    const start = clock.elapsedMs();
    const changed = fleet.recompute();
    metrics.reconcile.with().observe((clock.elapsedMs() - start) / 1000);
    server?.wake(changed);
    credentials.refresh();
    if (leading === null) return;
    maker.work(leading);
    statuses.ask();
    if (known.freezes.size > 0) freezes.ask();
  }

  const injection = (): InjectionOptions | null => {
    const given = options.injection();
    return given === null ? null : completeOptions(given, { ...runtime() });
  };
  const runtime = () => ({
    "ca.crt": certificates["ca.crt"],
    "bundle-key.pem": key.publicPem,
    "bundle-key-id": BUNDLE_KEY_ID,
    resolvers: (known.services.get(options.dns) ?? []).join(","),
    "jwks.json": tokens.jwks,
    issuer: tokens.issuer,
  });

  function take(next: CertificateData): void {
    const changed = next["tls.crt"] !== certificates["tls.crt"];
    certificates = next;
    if (!changed) return;
    server?.useCertificate({ cert: next["tls.crt"], key: next["tls.key"] });
    log("certificate taken over", {});
  }
  startRounds(
    async () => take(await keepCertificates({ ...keep, names })),
    { delayMs: 0, everyMs: CERTIFICATES_EVERY_MS },
    signal,
    fault("certificates"),
  );
  startRounds(
    () => definitions.round(leading !== null),
    { delayMs: 0, everyMs: DEFINITIONS_EVERY_MS },
    signal,
    fault("definitions"),
  );
  startRounds(
    () => definitions.tell(),
    { delayMs: 0, everyMs: DEFINITIONS_TOLD_MS },
    signal,
    fault("definitions on record"),
  );
  startRounds(() => tokens.refresh(), { delayMs: 0, everyMs: 600_000 }, signal, fault("token keys"));

  try {
    await watchAll({
      kube,
      known,
      own: namespace,
      clock,
      changed: () => recompute.ask(),
      leftOut(name, kind) {
        if (leading !== null) tell(leftOutNotice(name, known.namespaces.get(name)?.uid ?? "", kind));
      },
      thawed(freeze) {
        if (leading !== null && acts !== null) recordGone(freeze, acts).catch(fault("freeze"));
      },
      onFault: (what, resource) => fault(`watch ${resource.plural}`)(what),
      signal,
    });
    fleet.recompute();
    credentials.refresh();
    server = await serveBundles(
      {
        certificate: { cert: certificates["tls.crt"], key: certificates["tls.key"] },
        authenticate: (authorization) => tokens.authenticate(authorization),
        offer: (uid, address) => fleet.offer(uid, address),
        credentials: credentials.handOut,
        ready: () => !signal.aborted && clock.wallMs() < notAfterMs(certificates) - DAY_MS,
        metrics: () => ({ type: CONTENT_TYPE, text: options.registry.text() }),
        onFault: fault("bundle server"),
        answered: (status) => metrics.bundleAnswers.with(String(status)).add(1),
      },
      options.listen,
    );
  } catch (what) {
    abort.abort();
    throw what;
  }
  options.registry.beforeReading(() => {
    const without = [...fleet.assigned.values()].filter(({ etag }) => etag === null).length;
    metrics.pods.with("yes").value = fleet.assigned.size - without;
    metrics.pods.with("no").value = without;
    metrics.sets.with().value = fleet.sets.size;
    metrics.bundleWaiting.with().value = server?.waiting ?? 0;
    metrics.leading.with().value = leading === null ? 0 : 1;
    metrics.certificate.with().value = notAfterMs(certificates) / 1000;
    const ends = [...known.namespaces.values()].map((one) => one.observeUntilMs).filter((ms) => ms > clock.wallMs());
    metrics.observing.with().value = ends.length;
    metrics.observeEnd.with().value = ends.length === 0 ? 0 : Math.min(...ends) / 1000;
    metrics.frozenPods.with().value = [...fleet.assigned.values()].filter(({ frozen }) => frozen !== null).length;
    for (const scope of ["all", "namespace", "pod"] as const) metrics.freezes.with(scope).value = 0;
    for (const { frozen, lifted } of known.freezes.values())
      if (lifted === null) metrics.freezes.with(frozen.scope).add(1);
    for (const kind of LEFT_OUT_KINDS) metrics.leftOut.with(kind).value = known.leftOut.get(kind)?.size ?? 0;
    metrics.policies.clear();
    for (const { kind, status } of known.policies.values())
      metrics.policies.with(kind, status.ready?.status ?? "Unknown").add(1);
  });

  const elected = electLeader({
    kube,
    lease: { namespace, name: CONTROL_OBJECT.lease },
    identity: options.identity,
    clock,
    lead(until) {
      log("leading", {});
      leading = until;
      until.addEventListener("abort", () => {
        if (leading === until) leading = null;
        log("not leading any more", {});
      });
      startLeading(
        {
          kube,
          known,
          own: namespace,
          guarded: options.guarded,
          tell,
          metrics,
          clock,
          certificates: () => certificates,
          runtime,
          injection,
          acts,
          log,
          onFault: (where, what) => fault(where)(what),
        },
        until,
      );
      recompute.ask();
    },
    onFault: fault("lease"),
    signal,
  });

  return {
    port: server.port,
    async close() {
      abort.abort();
      await Promise.all([elected, server?.close()]);
    },
  };
}

function notAfterMs(data: CertificateData): number {
  return new X509Certificate(data["tls.crt"]).validToDate.getTime();
}
