/**
 * The sidecar's end of the record, joined: spool, recorder, shipper. What `compose.ts` calls, and what it closes last.
 *
 * In a pod one sidecar has the spool's folder for itself; what lies there from before is shipped. Under `sidegate run` several
 * runs may share a folder: each leaves a note of who it is, and takes over only what nobody living claims.
 */
import type { Recorder, Workload } from "#contract/record.ts";
import type { Clock } from "#core/clock.ts";
import { Claims } from "./claim.ts";
import { type Disk, systemDisk } from "./disk.ts";
import { Filling } from "./filling.ts";
import { createHttpSink, type SinkAddress } from "./http-sink.ts";
import { createRecorder, LAG, newBoot } from "./recorder.ts";
import { type Shipper, startShipper } from "./shipper.ts";
import { Spool } from "./spool.ts";

export interface AuditOptions {
  /** The spool's folder, ours alone or shared by runs of one user. */
  readonly directory: string;
  readonly collector: SinkAddress;
  readonly token: (() => string | Promise<string>) | null;
  readonly workload: Workload;
  readonly version: string;
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
  /** Unacknowledged bytes at which operations are refused; default 64 MiB, or 70 % of the volume where that is less. */
  readonly maxBytes?: number;
  /** Default: no bound on a Unix socket (the collector is this machine), LAG elsewhere. */
  readonly lag?: { readonly records: number; readonly ms: number } | null;
  /** Default: collector in tier `locked`, spool in the others. */
  readonly confirm?: "spool" | "collector";
  /** Default 10 s. */
  readonly confirmMs?: number;
  readonly disk?: Disk;
  /** Addresses of the collector's host. Absent: the system's resolver. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
  /** Whether operations go on unrecorded where the record is full; never in tier `locked`. */
  readonly letGo?: () => boolean;
  /** The collector could not be reached (told once), and can be again (null). */
  readonly onTrouble?: (cause: Error | null) => void;
}

export interface AuditFigures {
  /** Lines written by this boot, and lines of it that the collector has not stored. */
  readonly written: number;
  readonly open: number;
  readonly lagMs: number;
  readonly spoolBytes: number;
  readonly spoolLimitBytes: number;
  /** At the present rate; Infinity: it does not grow. */
  readonly spoolSecondsLeft: number;
  /** Operations that went on without a line. */
  readonly unrecorded: number;
  readonly batches: { readonly stored: number; readonly failed: number };
}

export interface Audit {
  readonly recorder: Recorder;
  figures(): AuditFigures;
  /** Writes `stop`, ships what is left for at most `limitMs`. True: the collector has everything; the spool is then empty. */
  close(why: string, limitMs: number): Promise<boolean>;
}

const MAX_BYTES = 64 * 1024 * 1024;
/** Of its volume the spool takes no more: keys and bundles lie there too, and a volume that is full before the spool fails writes. */
const MAX_PART = 0.7;
const SEGMENT_BYTES = 1024 * 1024;

/** Throws where the folder cannot be made or written: then nothing may start. */
export function openAudit(options: AuditOptions): Audit {
  const { directory, clock, workload, collector } = options;
  const disk = options.disk ?? systemDisk;
  const confirm = options.confirm ?? (workload.tier === "locked" ? "collector" : "spool");
  const boot = newBoot(options.random);
  const claims = new Claims(directory, disk);
  claims.take(boot); // makes the folder
  const maxBytes = options.maxBytes ?? Math.min(MAX_BYTES, Math.floor(disk.volume(directory) * MAX_PART));
  const foreign = (other: string): boolean => claims.claimed(other);
  const spool = new Spool({ directory, maxBytes, segmentBytes: SEGMENT_BYTES, disk, clock, foreign });
  let trouble = false;
  const filling = new Filling(clock);
  const { letGo } = options;
  const recorder = createRecorder({
    spool,
    boot,
    workload,
    version: options.version,
    clock,
    random: options.random,
    lag: options.lag === undefined ? (collector.kind === "unix" ? null : LAG) : options.lag,
    confirm,
    confirmMs: options.confirmMs ?? 10_000,
    unavailable: () => trouble,
    ...(letGo === undefined || confirm === "collector" ? {} : { letGo }),
  });
  const shipper: Shipper = startShipper({
    spool,
    sink: createHttpSink({
      address: collector,
      token: options.token,
      ...(options.lookup === undefined ? {} : { lookup: options.lookup }),
    }),
    lingerMs: confirm === "collector" ? 0 : 50,
    onTrouble(cause) {
      trouble = cause !== null;
      options.onTrouble?.(cause);
    },
  });
  return {
    recorder,
    figures: () => ({
      written: spool.written,
      open: spool.written - spool.acknowledged,
      lagMs: spool.lagMs(),
      spoolBytes: spool.usedBytes,
      spoolLimitBytes: maxBytes,
      spoolSecondsLeft: filling.secondsLeft(spool.usedBytes, maxBytes),
      unrecorded: recorder.unrecorded,
      batches: shipper.counts,
    }),
    async close(why, limitMs) {
      await recorder.stop(why);
      const all = await shipper.drain(limitMs);
      await shipper.close();
      spool.close();
      claims.release(boot);
      return all;
    },
  };
}

/** `unix:/path/of/socket` or `https://host:port`; null: neither. */
export function parseCollector(text: string, ca: string | null): SinkAddress | null {
  if (text.startsWith("unix:/")) return { kind: "unix", path: text.slice("unix:".length) };
  const url = text.startsWith("https://") && URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.pathname !== "/" || url.username !== "" || url.search !== "") return null;
  const port = url.port === "" ? 443 : Number(url.port);
  return { kind: "tls", host: url.hostname.replaceAll(/^\[|\]$/g, ""), port, ca };
}
