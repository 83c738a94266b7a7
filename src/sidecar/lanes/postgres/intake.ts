/**
 * What an agent sends, taken message by message and only when the session is ready for it; the rest is kept, bounded, and its leg
 * paused.
 *
 * The leg is not paused while there is room: only a leg that reads notices that its client has left.
 */
import { Accumulator } from "#core/accumulator.ts";
import { KeptChunk } from "#core/kept-chunk.ts";
import type { Agent, Chunk } from "#sidecar/seam/leg.ts";

export interface Taker {
  /** Takes bytes from here on; position behind them, or `from` where nothing can be taken now. */
  take(chunk: Chunk, from: number): number;
}

/** A paused leg may still hand over what it had read; more than this is a leg that does not pause. */
const SLACK = 524_288;

export class Intake {
  readonly #leg: Agent;
  readonly #taker: Taker;
  readonly #bound: number;
  readonly #kept: Accumulator;
  #taking: KeptChunk | null = null;
  #at = 0;
  #busy = false;
  #hindered = false;
  #paused = false;

  /** `bound`: bytes that are kept before the leg is paused. */
  constructor(leg: Agent, taker: Taker, bound: number) {
    this.#leg = leg;
    this.#taker = taker;
    this.#bound = bound;
    this.#kept = new Accumulator(bound + SLACK);
  }

  get empty(): boolean {
    return this.#taking === null && this.#kept.length === 0;
  }

  /** False: more than can be kept. */
  feed(chunk: Chunk): boolean {
    let at = 0;
    if (this.empty && !this.#busy) {
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
    for (;;) {
      if (this.#taking === null) {
        if (this.#kept.length === 0) break;
        this.#taking = new KeptChunk(this.#kept.take());
        this.#at = 0;
      }
      const taking: KeptChunk = this.#taking;
      this.#at = this.#takeFrom(taking, this.#at);
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
    while (at < chunk.length && !this.#hindered) {
      const next = this.#taker.take(chunk, at);
      if (next === at) break;
      at = next;
    }
    return at;
  }

  #flow(): void {
    const waiting = this.#kept.length + (this.#taking === null ? 0 : this.#taking.length - this.#at);
    const pause = this.#hindered || waiting > this.#bound;
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#leg.pause();
    else this.#leg.resume();
  }
}
