/**
 * A leg as a Duplex, for the two libraries that must own a stream (node:http2, ssh2). The leg keeps its queue, its gate and its
 * counts: what the library writes goes through them.
 */
import { Duplex } from "node:stream";
import type { LegEvents } from "../seam/leg.ts";

export interface StreamPort {
  end(): void;
  reset(): void;
  pause(): void;
  resume(): void;
}

export class LegStream extends Duplex {
  readonly events: LegEvents;
  readonly #port: StreamPort;
  readonly #write: (bytes: Uint8Array) => boolean;
  #room: (() => void) | null = null;

  /** `write` as the leg's, for which the permit was checked when the leg was given away. */
  constructor(port: StreamPort, write: (bytes: Uint8Array) => boolean) {
    super({ allowHalfOpen: true });
    this.#port = port;
    this.#write = write;
    this.events = {
      opened() {},
      secured() {},
      data: (chunk) => {
        if (!this.push(chunk.slice(0, chunk.length))) port.pause();
      },
      drained: () => {
        const room = this.#room;
        this.#room = null;
        room?.();
      },
      ended: () => void this.push(null),
      failed: (fault) => void this.destroy(new Error(`connection failed: ${fault}`)),
    };
  }

  override _read(): void {
    this.#port.resume();
  }

  override _write(bytes: Uint8Array, _encoding: string, done: () => void): void {
    if (this.#write(bytes)) done();
    else this.#room = done;
  }

  override _final(done: () => void): void {
    this.#port.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const regular = error === null && this.readableEnded && this.writableFinished;
    if (!regular) this.#port.reset();
    done(error);
  }
}
