/**
 * What an agent sends, taken in order and only when its session is ready for it; the rest is kept, bounded, and its leg paused.
 *
 * The leg is not paused while there is room: only a leg that reads notices that its client has left. Of what came at once only so
 * much is taken in one turn of the event loop that the connections of others do not wait for this one.
 */
import { Accumulator } from "#core/accumulator.ts";
import { KeptChunk } from "#core/kept-chunk.ts";
import type { Agent, Chunk } from "#sidecar/seam/leg.ts";

/** What `take` says where nothing can be taken now. */
export const NOT_NOW = -1;

export interface Taker {
  /** Takes bytes from here on; position behind them, or NOT_NOW. Whoever says NOT_NOW calls `pump` when it is over. */
  take(chunk: Chunk, from: number): number;
}

export interface IntakeOptions {
  /** Bytes that are kept before the leg is paused. */
  readonly bound: number;
  /** Calls back in another turn of the event loop. */
  readonly soon: (then: () => void) => void;
  /** After a rest, and what was taken behind it. */
  readonly rested?: () => void;
}

/** A paused leg may still hand over what it had read; more than this is a leg that does not pause. */
const SLACK = 524_288;

/** How often is taken in one go. A message costs up to about 0.1 ms where it is judged anew. */
const TURN = 64;

export class Intake {
  readonly #leg: Agent;
  readonly #taker: Taker;
  readonly #options: IntakeOptions;
  readonly #kept: Accumulator;
  #taking: KeptChunk | null = null;
  #at = 0;
  #busy = false;
  #resting = false;
  #hindered = false;
  #paused = false;

  constructor(leg: Agent, taker: Taker, options: IntakeOptions) {
    this.#leg = leg;
    this.#taker = taker;
    this.#options = options;
    this.#kept = new Accumulator(options.bound + SLACK);
  }

  get empty(): boolean {
    return this.#taking === null && this.#kept.length === 0;
  }

  /** What was kept is gone on with in the next turn: the taker might take all of it. */
  get resting(): boolean {
    return this.#resting;
  }

  get hindered(): boolean {
    return this.#hindered;
  }

  /** False: more than can be kept. */
  feed(chunk: Chunk): boolean {
    let at = 0;
    if (this.empty && !this.#busy && !this.#resting) {
      this.#busy = true;
      at = this.#takeFrom(chunk, 0);
      this.#busy = false;
    }
    if (at < chunk.length && !this.#kept.append(chunk.view(at, chunk.length))) return false;
    this.pump();
    return true;
  }

  /** Goes on with what was kept. */
  pump(): void {
    if (this.#busy) return;
    this.#busy = true;
    while (!this.#resting) {
      if (this.#taking === null) {
        if (this.#kept.length === 0) break;
        this.#taking = new KeptChunk(this.#kept.take());
        this.#at = 0;
      }
      const taking: KeptChunk = this.#taking;
      this.#at = this.#takeFrom(taking, this.#at);
      // `drop` may have been called meanwhile.
      if (this.#taking !== taking) continue;
      if (this.#at < taking.length) break;
      this.#taking = null;
    }
    this.#busy = false;
    this.#flow();
  }

  /** Whoever the bytes go to can take no more of them now, or can again. */
  hinder(hindered: boolean): void {
    this.#hindered = hindered;
    this.#flow();
  }

  /** Forgets what was kept. */
  drop(): void {
    this.#taking = null;
    this.#kept.take();
    this.#hindered = false;
    this.#flow();
  }

  #takeFrom(chunk: Chunk, from: number): number {
    let at = from;
    for (let n = 0; at < chunk.length; n++) {
      if (n === TURN) {
        this.#rest();
        break;
      }
      const next = this.#taker.take(chunk, at);
      if (next === NOT_NOW) break;
      at = next;
    }
    return at;
  }

  #rest(): void {
    this.#resting = true;
    this.#options.soon(() => {
      this.#resting = false;
      this.pump();
      this.#options.rested?.();
    });
  }

  #flow(): void {
    const waiting = this.#kept.length + (this.#taking === null ? 0 : this.#taking.length - this.#at);
    const pause = this.#hindered || waiting > this.#options.bound;
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#leg.pause();
    else this.#leg.resume();
  }
}
