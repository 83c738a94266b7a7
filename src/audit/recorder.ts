/**
 * The recorder: takes lines during a turn of the event loop, writes them with one write in `setImmediate` (a microtask would be
 * one write a read), and only then tells whoever waits at the gate. So the record of a decision is in the spool before its
 * operation is forwarded.
 *
 * Errs towards refusing: what could not be written opens no gate, and is kept (bounded) and tried again, so that the numbering
 * has no hole; beyond the bound an operation gets no line (seq 0) and may not go on.
 */
import type { CommitGate, EndEntry, FoldEntry, OpEntry, Recorder, SessionEntry, Workload } from "#contract/record.ts";
import type { Clock } from "#core/clock.ts";
import { detailHash, genesis, HASH_LENGTH, link } from "./chain.ts";
import { Confirmations } from "./confirmations.ts";
import {
  bootLine,
  closedLine,
  commitLine,
  detailLine,
  endLine,
  foldLine,
  noteLine,
  opLine,
  opMiddle,
  sessionLine,
  stopLine,
} from "./line.ts";
import { redact } from "./redact.ts";
import type { Spool } from "./spool.ts";
import { cleanFacts, detailText, likeDetailText, oneLine, Wording } from "./wording.ts";

export interface RecorderOptions {
  readonly spool: Spool;
  /** newBoot() */
  readonly boot: string;
  readonly workload: Workload;
  /** Sidegate's version, into the `boot` line. */
  readonly version: string;
  readonly clock: Clock;
  /** Cryptographically random bytes. */
  readonly random: (bytes: number) => Uint8Array;
  /** Null: no bound (the collector's disk is the spool's disk, as in `sidegate run`). */
  readonly lag: { readonly records: number; readonly ms: number } | null;
  /** collector (tier `locked`): the gate opens only when the collector has stored the lines. */
  readonly confirm: "spool" | "collector";
  /** How long `stored`, and the gate under `confirm: collector`, wait at most. */
  readonly confirmMs: number;
  /** Whether operations go on unrecorded where the spool is full or the collector lags. Absent: never. */
  readonly letGo?: () => boolean;
  /** Whether the collector cannot be reached, or refuses: said instead of what comes of it. */
  readonly unavailable?: () => boolean;
}

/** The seq of an operation that goes on without a line. */
const UNRECORDED = -1;

export const LAG = { records: 1_000, ms: 30_000 } as const;

/** Text collected in one turn beyond which it is written at once; also bounds a commit in ordinary life. Characters. */
const EARLY_FLUSH = 256 * 1024;
/** Kept for another try while the disk fails. Characters. */
const MAX_KEPT = 4 * 1024 * 1024;
const BUFFER_BYTES = 128 * 1024;
/** While the disk fails: how often it is tried again. Each try is a system call and may encode all that is kept. */
const RETRY_MS = 100;

type Then = (ok: boolean) => void;

export interface SpooledRecorder extends Recorder {
  /** Operations that went on without a line. */
  readonly unrecorded: number;
}

export function createRecorder(options: RecorderOptions): SpooledRecorder {
  return new SpoolRecorder(options);
}

/** 12 characters of [a-z0-9]: short enough for a person, and no two boots share one. */
export function newBoot(random: (bytes: number) => Uint8Array): string {
  let boot = "";
  // 252 = 7 × 36: every letter equally likely.
  while (boot.length < 12)
    for (const byte of random(16)) if (byte < 252 && boot.length < 12) boot += (byte % 36).toString(36);
  return boot;
}

class Gate implements CommitGate {
  readonly #clean: () => boolean;
  readonly committed: (then: Then) => void;
  constructor(clean: () => boolean, committed: (then: Then) => void) {
    this.#clean = clean;
    this.committed = committed;
  }
  get clean(): boolean {
    return this.#clean();
  }
}

class Words {
  /** A copy of the entry with another text in it must not come with the old words. */
  readonly of: OpEntry;
  readonly middle: string;
  readonly text: string;
  /** Its facts as they may be written; undefined: not looked at yet. */
  facts: string | null | undefined;
  constructor(of: OpEntry, middle: string, text: string) {
    this.of = of;
    this.middle = middle;
    this.text = text;
    this.facts = undefined;
  }
}

/** Whoever said so may have changed a copy since. */
function isLike(a: OpEntry, b: OpEntry): boolean {
  return (
    a.session === b.session &&
    a.phase === b.phase &&
    a.parent === b.parent &&
    a.protocol === b.protocol &&
    a.action === b.action &&
    a.complete === b.complete &&
    a.preamble === b.preamble &&
    a.facts === b.facts &&
    a.verdict === b.verdict &&
    a.decision === b.decision &&
    a.revision === b.revision &&
    a.traceparent === b.traceparent &&
    a.body === b.body &&
    b.like === undefined
  );
}

class SpoolRecorder implements SpooledRecorder {
  readonly boot: string;
  readonly gate: CommitGate;
  readonly #options: RecorderOptions;
  readonly #spool: Spool;
  #seq = 0;
  /** First seq of the commit being collected. */
  #first = 1;
  #cores = "";
  #details = "";
  #chain: string;
  #waiters: Then[] = [];
  readonly #confirmations: Confirmations;
  readonly #wording: Wording;
  #scheduled = false;
  #failed = false;
  #stopped = false;
  #lost = 0;
  #unrecorded = 0;
  #retry: NodeJS.Timeout | null = null;
  #tryAgainMs = 0;
  #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#spool = options.spool;
    this.boot = options.boot;
    this.#chain = genesis(this.boot);
    this.#spool.begin(this.boot);
    this.gate = new Gate(
      () => this.#clean(),
      (then) => this.#committed(then),
    );
    this.#confirmations = new Confirmations(options.clock, options.confirmMs);
    this.#wording = new Wording(options.random);
    this.#spool.onAcknowledged = (seq) => this.#confirmations.acknowledged(seq);
    this.#core(bootLine(this.#next(), this.#now(), this.boot, options.version, options.workload));
    this.#flush();
  }

  refuses(read: boolean): "audit_full" | "audit_failed" | "audit_lag" | "audit_unavailable" | null {
    if (this.#failed || this.#stopped) return "audit_failed";
    const code = this.#spool.full ? "audit_full" : this.#lags(read) ? "audit_lag" : null;
    if (code === null || this.#options.letGo?.() === true) return null;
    return this.#options.unavailable?.() === true ? "audit_unavailable" : code;
  }

  #lags(read: boolean): boolean {
    const { lag } = this.#options;
    if (read || lag === null) return false;
    const open = this.#seq - this.#spool.acknowledged;
    return open >= lag.records || this.#spool.lagMs() > lag.ms;
  }

  /** Operations that went on without a line. */
  get unrecorded(): number {
    return this.#unrecorded;
  }

  session(entry: SessionEntry): number {
    if (!this.#takes()) return 0;
    const seq = this.#next();
    const target = entry.target === null ? null : redact(entry.target, "shape");
    const host = entry.host === null ? null : redact(entry.host, "shape");
    this.#core(sessionLine(seq, this.#now(), { ...entry, target, host }));
    return seq;
  }

  op(entry: OpEntry): number {
    // What is left of a full spool belongs to the outcomes of what was permitted: nobody may fill it up with denials.
    if (entry.verdict === "deny" && this.#spool.full) {
      this.#lost++;
      return 0;
    }
    if (this.#letsGo()) {
      this.#lost++;
      this.#unrecorded++;
      return UNRECORDED;
    }
    if (!this.#takes()) return 0;
    const seq = this.#next();
    const { middle, text } = this.#words(entry);
    const salt = this.#wording.salt();
    this.#details += detailLine(seq, salt, text);
    this.#core(opLine(seq, this.#now(), middle, detailHash(salt, text)));
    return seq;
  }

  end(entry: EndEntry): void {
    if (entry.op !== UNRECORDED && this.#takes()) this.#core(endLine(this.#next(), this.#now(), entry));
  }

  closed(session: number, bytesUp: number, bytesDown: number, why: string): void {
    if (this.#takes()) this.#core(closedLine(this.#next(), this.#now(), session, bytesUp, bytesDown, why));
  }

  fold(entry: FoldEntry): void {
    if (!this.#takes()) return;
    this.#core(foldLine(this.#next(), this.#now(), { ...entry, what: redact(entry.what, "shape") }));
  }

  note(kind: string, members: string): number {
    if (!this.#takes()) return 0;
    const seq = this.#next();
    this.#core(noteLine(seq, this.#now(), kind, oneLine(redact(members, "name"), "text")));
    return seq;
  }

  stored(seq: number, then: Then): void {
    if (seq <= 0) then(false);
    else if (seq <= this.#spool.acknowledged) then(true);
    else {
      this.#confirmations.add(seq, then);
      this.#schedule();
    }
  }

  async stop(why: string): Promise<void> {
    if (this.#stopped) return;
    this.#takes(); // says what was lost
    this.#core(stopLine(this.#next(), this.#now(), why));
    this.#stopped = true;
    this.#flush();
    this.#release();
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    await Promise.resolve();
  }

  /** Whether another line can be taken; counts it as lost where not. Once there is room again, says how many were lost. */
  #takes(): boolean {
    if (this.#stopped) return false;
    if (this.#letsGo()) {
      this.#lost++;
      return false;
    }
    if (this.#cores.length + this.#details.length > MAX_KEPT) {
      this.#lost++;
      this.#schedule();
      return false;
    }
    if (this.#lost > 0 && !this.#failed && !this.#spool.full) {
      const count = this.#lost;
      this.#lost = 0;
      this.#core(noteLine(this.#next(), this.#now(), "lost", `"count":${count}`));
    }
    return true;
  }

  /** Full, and nobody waits for that: not one byte more, so that nothing fails. */
  #letsGo(): boolean {
    return this.#spool.full && !this.#failed && this.#options.letGo?.() === true;
  }

  /** An operation's texts: made once for an entry that comes again. */
  #words(entry: OpEntry): Words {
    const { kept, like } = entry;
    if (kept instanceof Words && kept.of === entry) return kept;
    if (like !== undefined && isLike(entry, like)) return this.#alike(entry, this.#words(like));
    const words = new Words(
      entry,
      opMiddle(entry, this.#wording.preamble(entry.preamble), this.#wording.decision(entry.decision)),
      detailText(entry.facts, entry.detail),
    );
    entry.kept = words;
    return words;
  }

  /** Of one that differs from another in its detail only. */
  #alike(entry: OpEntry, other: Words): Words {
    if (other.facts === undefined) other.facts = cleanFacts(entry.facts);
    const { facts } = other;
    const text = facts === null ? null : likeDetailText(facts, entry.detail);
    const words = new Words(entry, other.middle, text ?? detailText(entry.facts, entry.detail));
    entry.kept = words;
    return words;
  }

  #next(): number {
    this.#seq++;
    return this.#seq;
  }

  #now(): number {
    return this.#options.clock.wallMs();
  }

  #core(line: string): void {
    this.#cores += line;
    if (!this.#failed && this.#cores.length + this.#details.length >= EARLY_FLUSH) this.#flush();
    else this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
      this.#release();
    });
  }

  #clean(): boolean {
    if (this.#cores !== "" || this.#failed) return false;
    return this.#options.confirm === "spool" || this.#spool.acknowledged >= this.#seq;
  }

  #committed(then: Then): void {
    if (this.#clean()) then(true);
    else if (this.#stopped) then(false);
    else {
      this.#waiters.push(then);
      this.#schedule();
    }
  }

  /** Writes what was collected as one commit. Layout in the buffer: previous hash, cores, details, commit line. */
  #flush(): void {
    if (this.#cores === "") return;
    if (this.#failed && this.#options.clock.elapsedMs() < this.#tryAgainMs && !this.#stopped) return;
    const cores = this.#cores;
    const details = this.#details;
    this.#reserve(cores, details);
    const buffer = this.#buffer;
    let at = buffer.write(this.#chain, 0, "latin1");
    at += buffer.write(cores, at, "utf8");
    const chain = link(buffer.subarray(0, at));
    at += buffer.write(details, at, "utf8");
    at += buffer.write(commitLine(this.#seq, chain), at, "latin1");
    try {
      this.#spool.append(buffer, HASH_LENGTH, at - HASH_LENGTH, this.#first, this.#seq);
      this.#chain = chain;
      this.#cores = "";
      this.#details = "";
      this.#first = this.#seq + 1;
      this.#failed = false;
    } catch {
      // Which fault it was does not matter here: nothing is forwarded, and a later turn, or the timer, tries again.
      this.#failed = true;
      this.#tryAgainMs = this.#options.clock.elapsedMs() + RETRY_MS;
      if (this.#retry === null && !this.#stopped) {
        this.#retry = setTimeout(() => {
          this.#retry = null;
          this.#schedule();
        }, RETRY_MS);
        this.#retry.unref();
      }
    }
    if (this.#buffer.length > BUFFER_BYTES) this.#buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  }

  #reserve(cores: string, details: string): void {
    const chars = cores.length + details.length + 2 * HASH_LENGTH + 64;
    if (chars * 3 <= this.#buffer.length) return; // at most three bytes for a UTF-16 unit
    const bytes = Buffer.byteLength(cores) + Buffer.byteLength(details) + 2 * HASH_LENGTH + 64;
    if (bytes > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(bytes);
  }

  /** Tells who waits at the gate what became of the lines. */
  #release(): void {
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    if (this.#failed || this.#options.confirm === "spool") {
      const ok = !this.#failed;
      for (const then of waiters) then(ok);
      return;
    }
    for (const then of waiters) this.stored(this.#seq, then);
  }
}
