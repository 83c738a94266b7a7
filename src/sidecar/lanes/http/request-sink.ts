/** Passes a request's body on. Its head goes with the first of it in one piece where both lie in one chunk, unchanged. */
import type { Chunk } from "#sidecar/seam/leg.ts";
import type { BodySink } from "./codec/chunked.ts";

/** Where it goes: an exchange's upstream. */
export interface Outlet {
  send(text: string): void;
  /** A part of a chunk that a leg lent, or that the connection kept. */
  pass(chunk: Chunk, from: number, to: number): void;
}

export class RequestSink implements BodySink {
  readonly #outlet: Outlet;
  readonly #unchanged: boolean;
  #head: string | null;
  /** Where the head lies in the chunk that is being read; -1: it does not. */
  headFrom = -1;
  headTo = -1;

  /** `head`: as it is passed on; `asRead`: as it came. */
  constructor(outlet: Outlet, head: string, asRead: string) {
    this.#outlet = outlet;
    this.#head = head;
    this.#unchanged = head === asRead;
  }

  raw(chunk: Chunk, from: number, to: number): void {
    const whole = this.#head !== null && this.#unchanged && this.headFrom >= 0 && this.headTo === from;
    if (whole) this.#head = null;
    else this.flush();
    this.#outlet.pass(chunk, whole ? this.headFrom : from, to);
  }

  text(framing: string): void {
    this.flush();
    this.#outlet.send(framing);
  }

  /** A request's trailers were not judged: they end here (RFC 9110 section 6.5.1 allows it). */
  end(): void {
    this.text("0\r\n\r\n");
  }

  /** Sends the head where it still waits. */
  flush(): void {
    const head = this.#head;
    if (head === null) return;
    this.#head = null;
    this.#outlet.send(head);
  }
}
