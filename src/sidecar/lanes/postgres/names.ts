/**
 * The agent's names for prepared statements and portals, and what they stand for upstream (THREATS Q1). Named ones have names of
 * ours there, random and never used again, so that nothing that runs on the server can put another statement in their place
 * without our knowing. The unnamed ones keep the empty name: SQL cannot reach those, only messages that pass through here.
 *
 * A change counts when the server has confirmed it. Until then it can be taken back: after an error the server skips what follows,
 * and `undo` brings back what the name stood for before.
 */
import type { Question, Written } from "./question.ts";
import type { SqlReading } from "./sql/reading.ts";

/** A statement that was parsed, by a Parse message or by PREPARE. */
export interface Prepared {
  /** Its name upstream. Changes when it has to be parsed again. */
  upstream: string;
  /** As sent, UTF-8 bytes as latin1. */
  readonly text: string;
  readonly types: string;
  readonly reading: SqlReading;
  /** Everything that nobody understood and that ran since may have changed what the name stands for upstream. */
  generation: number;
  /** The policy under which it was judged already; null: not yet. */
  judged: object | null;
  /** By PREPARE: the name is the agent's own, and the server's. */
  readonly bySql: boolean;
  /** How it is asked for, where that stays the same; and how it was written down last. */
  question: Question | null;
  written: Written | null;
}

export interface Portal<A> {
  readonly name: string;
  readonly upstream: string;
  readonly prepared: Prepared;
  /** A Bind's rest: formats and parameters; null: it was too long to be kept. */
  readonly rest: string | null;
  readonly generation: number;
  /** Its Execute stopped at a row limit and may go on. */
  act: A | null;
}

export interface Undo {
  back(): void;
}

export interface NamesLimits<V> {
  readonly count: number;
  /** What one of them weighs, in bytes, and all of them at most. */
  readonly weigh?: (value: V) => number;
  readonly bytes?: number;
}

/** A map whose changes can be taken back, latest first. The unnamed one, which most drivers use for everything, is kept apart. */
export class Names<V> {
  readonly #entries = new Map<string, V>();
  readonly #limits: NamesLimits<V>;
  #unnamed: V | undefined = undefined;
  #bytes = 0;

  constructor(limits: NamesLimits<V>) {
    this.#limits = limits;
  }

  get(name: string): V | undefined {
    return name === "" ? this.#unnamed : this.#entries.get(name);
  }

  *values(): Iterable<V> {
    if (this.#unnamed !== undefined) yield this.#unnamed;
    yield* this.#entries.values();
  }

  /** Null: there are too many, or too large ones. */
  set(name: string, value: V): Undo | null {
    const { count, bytes = Infinity } = this.#limits;
    const before = this.get(name);
    const weight = this.#bytes + this.#weight(value) - this.#weight(before);
    if (weight > bytes || (before === undefined && this.#entries.size >= count)) return null;
    this.#put(name, value);
    return { back: () => this.#put(name, before) };
  }

  delete(name: string): Undo {
    const before = this.get(name);
    this.#put(name, undefined);
    return { back: () => this.#put(name, before) };
  }

  /** Those that `which` picks, for good. */
  drop(which: (name: string, value: V) => boolean): void {
    if (this.#unnamed !== undefined && which("", this.#unnamed)) this.#put("", undefined);
    if (this.#entries.size === 0) return;
    for (const [name, value] of this.#entries) if (which(name, value)) this.#put(name, undefined);
  }

  #put(name: string, value: V | undefined): void {
    this.#bytes += this.#weight(value) - this.#weight(this.get(name));
    if (name === "") this.#unnamed = value;
    else if (value === undefined) this.#entries.delete(name);
    else this.#entries.set(name, value);
  }

  #weight(value: V | undefined): number {
    return value === undefined ? 0 : (this.#limits.weigh?.(value) ?? 0);
  }
}

const RANDOM_BYTES = 9;
/** Base64: four characters for three bytes. */
const RANDOM_LETTERS = 12;
const NAMES_AT_ONCE = 16;

/** Names upstream that nobody can guess, and that are never given twice. */
export class UpstreamNames {
  readonly #random: (bytes: number) => Uint8Array;
  #count = 0;
  /** Random characters that no name has had yet. */
  #letters = "";

  constructor(random: (bytes: number) => Uint8Array) {
    this.#random = random;
  }

  next(): string {
    if (this.#letters.length < RANDOM_LETTERS)
      this.#letters = Buffer.from(this.#random(NAMES_AT_ONCE * RANDOM_BYTES)).toString("base64url");
    const random = this.#letters.slice(0, RANDOM_LETTERS);
    this.#letters = this.#letters.slice(RANDOM_LETTERS);
    return `sg_${(++this.#count).toString(36)}_${random}`;
  }
}
