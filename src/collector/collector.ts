/** The collector, joined: store, key, ingest, door. `cmd/collector.ts` reads the configuration and waits for the signal. */
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "#core/clock.ts";
import { createTell } from "#kube/events.ts";
import type { Kube } from "#kube/port.ts";
import type { ActOptions } from "./act.ts";
import { openSigner } from "./checkpoint.ts";
import type { ClusterOptions, ClusterWork, startClusterWork as StartClusterWork } from "./cluster-work.ts";
import { createDenialEvents, type DenialEvents } from "./denial-events.ts";
import { createIngest, type Finding, type Sender } from "./ingest.ts";
import { Limiter, SENDER_LIMITS } from "./limits.ts";
import { type CollectorServer, type Listen, serveCollector } from "./server.ts";
import { openSqlite } from "./store/sqlite.ts";

export interface CollectorOptions {
  /** The SQLite file; its signing key lies beside it, `<path>.key`. */
  readonly database: string;
  readonly listen: Listen;
  /** Null: on a Unix socket, whose permissions decide. */
  readonly authenticate: ((authorization: string | null) => Promise<Sender | null>) | null;
  /** What there is in a cluster; absent under `sidegate run`. */
  readonly cluster?: ClusterOptions;
  readonly clock: Clock;
  readonly onFinding: (finding: Finding, boot: string, seq: number) => void;
  readonly onError: (fault: Error) => void;
}

export interface Collector extends CollectorServer {
  /** For the metric. */
  readonly reloaded: ClusterWork["reloaded"];
}

const LOCAL: Sender = { subject: "local", claims: null };

export function keyPath(database: string): string {
  return `${database}.key`;
}

export async function startCollector(options: CollectorOptions): Promise<Collector> {
  if (options.authenticate === null && options.listen.kind !== "unix")
    throw new Error("a network listener needs an authenticator");
  mkdirSync(dirname(options.database), { recursive: true, mode: 0o700 });
  const store = openSqlite(options.database, "write");
  try {
    const signer = openSigner(keyPath(options.database), randomUUID());
    await store.setPublicKey(signer.publicPem);
    const { clock, onFinding, onError, listen } = options;
    const acts: ActOptions = { store, signer, clock };
    const { database, cluster } = options;
    const work = cluster === undefined ? null : await startWork({ ...acts, database, onError }, cluster);
    const ingest = createIngest({
      ...acts,
      onFinding(finding, boot, seq) {
        work?.found(finding);
        onFinding(finding, boot, seq);
      },
      ...(work === null
        ? {}
        : { room: () => work.room(), onStored: (records: number, newestMs: number) => work.stored(records, newestMs) }),
      ...(cluster?.kube == null ? {} : { onDenied: denialEvents(cluster.kube, options) }),
    });
    const authenticate = options.authenticate ?? ((): Promise<Sender> => Promise.resolve(LOCAL));
    const server = await serveCollector({
      listen,
      ingest: timed(ingest, work),
      authenticate,
      onError,
      ...doorOf(options, work),
    });
    return {
      port: server.port,
      reloaded: (what, outcome) => work?.reloaded(what, outcome),
      useCertificate: (certificate) => server.useCertificate(certificate),
      async close() {
        await server.close();
        await work?.close();
        await store.close();
      },
    };
  } catch (fault) {
    await store.close();
    throw fault;
  }
}

function denialEvents(kube: Kube, { clock, onError }: CollectorOptions): DenialEvents {
  const refused = (fault: unknown): void => onError(fault instanceof Error ? fault : new Error(String(fault)));
  return createDenialEvents({ tell: createTell(kube, clock, refused), clock });
}

/** Loaded only where it is needed: a run on a laptop has none of it. */
async function startWork(...args: Parameters<typeof StartClusterWork>): Promise<ClusterWork> {
  const { startClusterWork } = await import("./cluster-work.ts");
  return await startClusterWork(...args);
}

function doorOf({ cluster, clock }: CollectorOptions, work: ClusterWork | null) {
  if (cluster === undefined || work === null) return {};
  return { cluster: work.door, limiter: new Limiter(cluster.limits ?? SENDER_LIMITS, clock), answered: work.answered };
}

function timed(ingest: ReturnType<typeof createIngest>, work: ClusterWork | null): ReturnType<typeof createIngest> {
  return work === null ? ingest : (request) => work.timed(() => ingest(request));
}
