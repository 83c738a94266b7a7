/**
 * Joins the rooms into a sidecar. No logic of its own: each room is made with what it needs, and the story that they tell
 * together is pipeline.ts.
 */
import { createPublicKey, randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import path from "node:path";
import { type AuditFigures, openAudit, parseCollector } from "#audit/open.ts";
import type { CredentialSource } from "#contract/credential.ts";
import { LIMITS } from "#contract/limits.ts";
import { ADMIN_PORT, ANNOTATION, CAPTURE_PORT, DNS_PORT, PATHS, SYNTHETIC } from "#contract/names.ts";
import type { BundleSource } from "#contract/policy-port.ts";
import type { Workload } from "#contract/record.ts";
import { trustPaths } from "#contract/trust-environment.ts";
import { type Cidr, parseAddress, parseCidr } from "#core/cidr.ts";
import type { Clock } from "#core/clock.ts";
import { createWheel } from "#core/wheel.ts";
import { createTokens } from "#mask/tokens.ts";
import { type RunningHolder, startPolicyHolder } from "#policy/holder.ts";
import { createFolderState } from "#policy/state-folder.ts";
import type { Log } from "#process/log.ts";
import type { SidecarMetrics } from "#process/sidecar-metrics.ts";
import type { SidecarConfig } from "./config.ts";
import { createConnections } from "./connections.ts";
import { createCredentials } from "./credentials/credentials.ts";
import { createDestinations } from "./destination/destinations.ts";
import { openNameFile } from "./destination/name-file.ts";
import { createResolver, type Resolver } from "./destination/resolver.ts";
import { SyntheticNames } from "./destination/synthetic.ts";
import { createDetector } from "./detect/detector.ts";
import { followFreeze } from "./freeze.ts";
import { createJudges } from "./judge/judge.ts";
import type { JudgeOptions, Run, Verdict } from "./judge/judges.ts";
import { createHttpLane, isHttp, refusePlainHttp } from "./lanes/http/lane.ts";
import { createOpaqueLane } from "./lanes/opaque/lane.ts";
import { createPostgresLane } from "./lanes/postgres/lane.ts";
import { createRowMasker } from "./lanes/postgres/mask/masker.ts";
import { readParserFile } from "./lanes/postgres/sql/parser-file.ts";
import { createSqlReader } from "./lanes/postgres/sql/reader.ts";
import { type Capture, type Listener, startCapture } from "./listen/capture.ts";
import type { OriginalDestination } from "./listen/original-destination.ts";
import { recordLookups } from "./lookups.ts";
import { meterConnections } from "./meters.ts";
import { createOwnLookup } from "./own-lookup.ts";
import { type Rooms, serve } from "./pipeline.ts";
import type { SocketAddress } from "./seam/stages.ts";
import { loadAuthority } from "./tls/authority.ts";
import { createLeafSource } from "./tls/leaf-source.ts";
import { writePreload } from "./tls/preload.ts";
import { systemRoots, writeTrustFiles } from "./tls/trust.ts";
import { loadTokenKey } from "./token-key.ts";
import { createTransport } from "./transport/transport.ts";
import type { NameServer } from "./upstream/dns-exchange.ts";
import { createStubResolver } from "./upstream/resolve.ts";
import { createUpstreams } from "./upstream/upstreams.ts";

/** What comes from outside: effects, and the parts that differ between a pod and a laptop. */
export interface Surroundings {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: SidecarMetrics;
  readonly version: string;
  readonly originalDestination: OriginalDestination | null;
  readonly bundles: BundleSource;
  readonly credentials: CredentialSource;
  readonly token: (() => string | Promise<string>) | null;
  readonly hosts: ReadonlyMap<string, readonly string[]>;
  readonly nameservers: readonly NameServer[];
  readonly labels: Readonly<Record<string, string>>;
  /** The pod's: stamps of our admission are among them. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** The built library of deploy/preload; a path where none lies is none. */
  readonly preload: string;
  readonly counted: NonNullable<JudgeOptions["counted"]>;
  readonly told: ((verdict: Verdict) => void) | null;
}

export interface Sidecar {
  /** A policy is in force, or was asked for and there is none. */
  readonly ready: Promise<void>;
  /** What the admin listener reads. */
  readonly policy: RunningHolder;
  readonly connections: () => number;
  /** Reset at once because too many were open; failed accept calls. */
  readonly turnedAway: () => { readonly overLimit: number; readonly acceptFailures: number };
  readonly policySinceMs: () => number;
  readonly audit: () => AuditFigures;
  readonly boot: string;
  /** Finishes what is under way (at most `limitMs`), writes the last line, ships what it can. */
  stop(why: string, limitMs: number): Promise<void>;
}

/** After the last line: how long the collector may take for the rest. */
const SHIP_MS = 5_000;
const FOLD_MS = 60_000;

export async function startSidecar(config: SidecarConfig, outside: Surroundings): Promise<Sidecar> {
  const { clock, log } = outside;
  const wheel = createWheel();
  const workload = workloadOf(config, outside.labels, outside.annotations ?? {});

  // Evidence first: nothing is let through that cannot be recorded.
  const collector = parseCollector(config.collector, config.collectorCa);
  if (collector === null) throw new Error(`not a collector: ${config.collector}`);
  const names = createStubResolver({
    nameservers: outside.nameservers,
    hosts: outside.hosts,
    v6: true,
    clock,
    randomId: () => randomBytes(2).readUInt16BE(0),
  });
  let onFull: () => "deny" | "allow" = () => "deny";
  const audit = openAudit({
    directory: config.spool === "" ? path.join(config.state, "spool") : config.spool,
    collector,
    token: outside.token,
    workload,
    version: outside.version,
    clock,
    random: (n) => randomBytes(n),
    letGo: () => onFull() === "allow",
    ...(outside.nameservers.length === 0 ? {} : { lookup: createOwnLookup(names) }),
    onTrouble: (cause) =>
      cause === null ? log.info("collector reached again") : log.warn("collector unreachable", { fault: cause }),
  });
  const { recorder } = audit;

  // Trust: agents start only when the files are there.
  const { authority, how, why, memory } = await loadAuthority(config.state, clock);
  log.info("authority", { how, why });
  if (!memory) log.warn("the authority's key lies on a disk", { folder: config.state });
  const roots = await systemRoots();
  // `sidegate run` has written them already, for the namespace that it furnishes.
  if (config.trust !== "off") {
    await writeTrustFiles(trustPaths(config.trust), {
      caPem: authority.caPem,
      roots: [roots.pem],
      nowMs: clock.wallMs(),
    });
    if (!(await writePreload(config.trust, PATHS.trust, outside.preload)))
      log.warn("no preload library: clients need the variables of their container", { file: outside.preload });
  }
  const leaves = createLeafSource(authority, clock);

  // Policy.
  let policySinceMs = clock.elapsedMs();
  const freeze = followFreeze(recorder, (message) => log.warn("freeze", { message }));
  const policy = startPolicyHolder({
    source: outside.bundles,
    trust: {
      keys: [{ id: config.bundleKeyId, publicKey: createPublicKey(config.bundleKey ?? "") }],
      scope: config.bundleScope,
    },
    load: { pod: { ...workload } },
    state: createFolderState(path.join(config.state, "policy")),
    clock,
    sleep,
    events: {
      loaded: (loaded, from) => {
        policySinceMs = clock.elapsedMs();
        outside.metrics.policyUpdates.with("loaded").add(1);
        recorder.note("policy", `"revision":"${loaded.revision}","sequence":${loaded.sequence},"from":"${from}"`);
        freeze(loaded);
        log.info("policy in force", { revision: loaded.revision, sequence: loaded.sequence, from });
      },
      refused: (fault) => {
        outside.metrics.policyUpdates.with("refused").add(1);
        recorder.note("policy-refused", `"code":"${fault.code}"`);
        log.error("bundle refused", { code: fault.code, message: fault.message });
      },
      unreachable: (fault, retryMs) => {
        outside.metrics.policyUpdates.with("unreachable").add(1);
        log.warn("bundle source unreachable", { fault: fault instanceof Error ? fault : String(fault), retryMs });
      },
    },
  });

  onFull = () => policy.current?.settings.onFull ?? "deny";

  // Where things are, and how to get there.
  const own = ownAddresses(config);
  const destinations = createDestinations({
    synthetic: new SyntheticNames({ ...SYNTHETIC, store: openNameFile(path.join(config.state, "names")) }),
    own,
    onProblems: (problems) => {
      for (const problem of problems) log.error("target not usable", { problem: JSON.stringify(problem) });
    },
  });
  const transport = createTransport({
    wheel,
    roots: [roots.pem],
    bug: (error) => log.error("bug", { fault: asError(error) }),
  });
  const upstreams = createUpstreams({
    connector: transport,
    resolver: names,
    gate: recorder.gate,
    rules: { own, internal: [], allowLoopbackEndpoints: config.loopback },
    clock,
    after: (ms, fire) => wheel.after(ms, fire),
    connectMs: LIMITS.connectMs,
    onFinding: (finding) => {
      recorder.note("address-refused", JSON.stringify(finding).slice(1, -1));
      log.warn("upstream address refused", { ...finding });
    },
  });

  // Secrets: in memory only, and only those that a decision has named.
  const credentials = createCredentials({
    source: outside.credentials,
    clock,
    after: (ms, fire) => wheel.after(ms, fire),
    onFault: (name, fault) => {
      const why = JSON.stringify(fault.message);
      recorder.note("credential", `"name":${JSON.stringify(name)},"fault":"${fault.why}","why":${why}`);
      log.warn("credential not to be had", { credential: name, fault });
    },
  });

  // Judging.
  const judges = createJudges({
    holder: policy,
    recorder,
    clock,
    run: runOf(config),
    credentials,
    counted: outside.counted,
    told: outside.told,
  });
  const opaque = {
    tcp: createOpaqueLane("tcp", clock),
    tls: createOpaqueLane("tls", clock),
  };
  // PostgreSQL's parser is read from its file with the first statement.
  const lanes = [
    createHttpLane(),
    createPostgresLane({
      reader: createSqlReader({ parserFile: readParserFile }),
      masker: createRowMasker({ tokens: createTokens(loadTokenKey(config.state)), clock }),
      clock,
    }),
  ];
  const meters = meterConnections(outside.metrics);
  const connections = createConnections({
    upstreams,
    wheel,
    gate: recorder.gate,
    meters,
    opaqueTls: opaque.tls,
    opaqueTcp: opaque.tcp,
    fault: (where, error) => log.error("bug in a lane", { where, fault: asError(error) }),
  });
  const rooms: Rooms = {
    destinations,
    judges,
    leaves,
    lanes,
    opaque,
    detect: createDetector(lanes),
    refusals: { plainHttp: refusePlainHttp, isHttp, leaves, lanes, after: (ms, fire) => wheel.after(ms, fire) },
    connections,
    meters,
  };
  const inForce = (loaded: NonNullable<RunningHolder["current"]>): void => {
    destinations.update(loaded.targets, loaded.settings.mode === "observe");
    upstreams.update(loaded.targets);
    connections.revised(loaded.targets);
  };
  policy.onChange(inForce);
  if (policy.current !== null) inForce(policy.current);

  // Names.
  const lookups = recordLookups(judges, outside.metrics);
  const resolver = createResolver({
    name: (host) => destinations.name(host),
    learn: (host, addresses) => destinations.learn(host, addresses),
    resolve: (host, target, then) => upstreams.addresses(host, target, then),
    v6: true,
    search: ["cluster.local"],
    onQuery: (query) => lookups.seen(query),
    onFault: (error) => log.warn("resolver socket", { fault: error }),
  });
  await listenForNames(resolver, config);

  // Only now: the door.
  const capture = await startCapture({
    listeners: captureListeners(config),
    originalDestination: outside.originalDestination,
    transport,
    ours: ourListeners(config),
    onAccepted: (accepted) => serve(accepted, rooms),
  });
  const folds = setInterval(() => judges.flush(), FOLD_MS);
  folds.unref();

  return {
    ready: policy.ready,
    policy,
    connections: () => connections.size,
    turnedAway: () => ({ overLimit: capture.overLimit, acceptFailures: capture.acceptFailures }),
    policySinceMs: () => policySinceMs,
    audit: () => audit.figures(),
    boot: recorder.boot,
    async stop(why, limitMs) {
      clearInterval(folds);
      await stopServing(capture, resolver, () => connections.drain(limitMs));
      upstreams.close();
      credentials.close();
      lookups.close();
      judges.flush();
      await policy.stop();
      const all = await audit.close(why, SHIP_MS);
      if (!all) log.warn("the collector has not taken every record; the rest stays in the spool");
      wheel.stop();
    },
  };
}

async function stopServing(capture: Capture, resolver: Resolver, drained: () => Promise<void>): Promise<void> {
  const stopped = capture.stopAccepting();
  await drained();
  await capture.close();
  await stopped;
  resolver.close();
}

function captureListeners(config: SidecarConfig): Listener[] {
  if (config.listen === null) return [{ kind: "port", port: CAPTURE_PORT }];
  return [config.listen.tcp4, config.listen.tcp6].filter((fd) => fd !== undefined).map((fd) => ({ kind: "fd", fd }));
}

/** As an original destination these count as unreadable: somebody connected to us, not through us. */
function ourListeners(config: SidecarConfig): SocketAddress[] {
  if (config.listen !== null) return [];
  const loopback = ["127.0.0.1", "::1"].map((address) => ({ address, port: DNS_PORT }));
  return [...loopback, ...config.podAddresses.map((address) => ({ address, port: ADMIN_PORT }))];
}

async function listenForNames(resolver: Resolver, config: SidecarConfig): Promise<void> {
  if (config.listen === null) {
    await resolver.listen(DNS_PORT);
    return;
  }
  const { dnsUdp4, dnsUdp6, dnsTcp4, dnsTcp6 } = config.listen;
  for (const [fd, type] of [
    [dnsUdp4, "udp4"],
    [dnsUdp6, "udp6"],
  ] as const) {
    if (fd === undefined) continue;
    const socket = createSocket(type);
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ fd, exclusive: true }, () => {
        socket.off("error", reject);
        resolve();
      });
    });
    resolver.serveUdp(socket);
  }
  for (const fd of [dnsTcp4, dnsTcp6]) {
    if (fd === undefined) continue;
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ fd, exclusive: true }, () => {
        server.off("error", reject);
        resolve();
      });
    });
    resolver.serveTcp(server);
  }
}

function workloadOf(
  config: SidecarConfig,
  labels: Readonly<Record<string, string>>,
  annotations: Readonly<Record<string, string>>,
): Workload {
  return {
    cluster: config.cluster,
    namespace: config.namespace,
    pod: config.pod,
    uid: config.podUid,
    serviceAccount: config.account,
    owner: annotations[ANNOTATION.workload] ?? "",
    creator: annotations[ANNOTATION.creator] ?? "",
    ...responsibleOf(annotations),
    node: config.node,
    labels,
    tier: config.tier,
    open: config.open,
  };
}

/** A person whom a deployer named, else who made the workload. */
function responsibleOf(annotations: Readonly<Record<string, string>>): { readonly responsible?: string } {
  const responsible = annotations[ANNOTATION.owner] ?? annotations[ANNOTATION.workloadCreator];
  return responsible === undefined ? {} : { responsible };
}

function runOf({ run }: SidecarConfig): Run | null {
  if (run === "") return null;
  const read = JSON.parse(run) as Partial<Run>;
  return { id: read.id ?? "", user: read.user ?? "", intent: read.intent ?? "", verified: read.verified === true };
}

/** Never a destination and never an upstream: the pod itself and the synthetic ranges. */
function ownAddresses(config: SidecarConfig): Cidr[] {
  const texts = [
    ...config.podAddresses.map((address) =>
      parseAddress(address) === null ? "" : address.includes(":") ? `${address}/128` : `${address}/32`,
    ),
    SYNTHETIC.v4,
    SYNTHETIC.v6,
  ];
  return texts.map((text) => parseCidr(text)).filter((cidr) => cidr !== null);
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
