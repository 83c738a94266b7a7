import type { Socket } from "node:net";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { forward, keep, Lent, privateBuffers } from "./lent.ts";

/** A socket that either sends at once or keeps what it was given, as it was given, until `flush`. */
class Pipe {
  writableLength = 0;
  stuck = false;
  sent = "";
  readonly #waiting: { readonly bytes: Uint8Array | string; readonly done: (() => void) | undefined }[] = [];
  #later: (() => void)[] = [];
  write(bytes: Uint8Array | string, done?: "latin1" | (() => void)): boolean {
    const then = typeof done === "function" ? done : undefined;
    if (this.stuck) {
      this.#waiting.push({ bytes, done: then });
      this.writableLength += bytes.length;
    } else {
      this.sent += text(bytes);
      if (then !== undefined) this.#later.push(then);
    }
    return this.writableLength < 65_536;
  }
  /** The first of what waits is sent; `all`: everything. Callbacks come after the turn, as Node's do. */
  flush(all: boolean): void {
    for (const { bytes, done } of this.#waiting.splice(0, all ? this.#waiting.length : 1)) {
      this.sent += text(bytes);
      this.writableLength -= bytes.length;
      if (done !== undefined) this.#later.push(done);
    }
    if (this.#waiting.length === 0) this.stuck = false;
  }
  turn(): void {
    for (const done of this.#later.splice(0)) done();
  }
  get socket(): Socket {
    return this as unknown as Socket;
  }
}

const text = (bytes: Uint8Array | string): string =>
  typeof bytes === "string" ? bytes : Buffer.from(bytes).toString("latin1");

/** What the kernel does: fills the buffer that the handle has. Returns what it wrote. */
function read(lent: Lent, size: number, fill: number): string {
  const buffer = lent.into();
  const length = Math.min(size, buffer.length);
  buffer.fill(fill, 0, length);
  lent.lendRead(buffer, length);
  return String.fromCharCode(fill).repeat(length);
}

const sizes = fc.oneof(
  fc.constantFrom(1, 8_191, 8_192, 8_193, 16_384, 32_767, 32_768, 65_536, 262_144),
  fc.integer({ min: 1, max: 262_144 }),
);

describe("lent bytes", () => {
  test("arrive as they were read, whatever waits and whoever reads in between", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            leg: fc.nat({ max: 2 }),
            size: sizes,
            how: fc.constantFrom("forward", "keep", "parts"),
            stuck: fc.boolean(),
            flush: fc.constantFrom("none", "one", "all"),
          }),
          { minLength: 1, maxLength: 40 },
        ),
        (steps) => {
          const legs = [0, 1, 2].map(() => ({ lent: new Lent(), pipe: new Pipe(), expected: "" }));
          steps.forEach((step, i) => {
            const leg = legs[step.leg];
            if (leg === undefined) return;
            const { lent, pipe } = leg;
            for (const { pipe: other } of legs) other.turn();
            if (step.flush !== "none") for (const { pipe: other } of legs) other.flush(step.flush === "all");
            if (step.stuck) pipe.stuck = true;
            leg.expected += read(lent, step.size, 1 + (i % 250));
            const { length } = lent;
            if (step.how === "keep") pipe.write(keep(lent, 0, length));
            else if (step.how === "forward") forward(pipe.socket, lent, 0, length);
            else {
              const middle = length >> 1;
              forward(pipe.socket, lent, 0, middle);
              pipe.stuck = true;
              forward(pipe.socket, lent, middle, length);
            }
            lent.takeBack();
          });
          for (const { lent, pipe, expected } of legs) {
            pipe.flush(true);
            pipe.turn();
            // Not toEqual: two megabytes of difference are no help to anybody.
            expect(pipe.sent === expected).toBe(true);
            lent.release();
          }
          expect(privateBuffers()).toBe(0);
        },
      ),
      { numRuns: 100 },
    );
  });

  test("of a bulk transfer are forwarded without a copy, and small ones as a string", () => {
    const lent = new Lent();
    const got: (Uint8Array | string)[] = [];
    const socket = {
      writableLength: 0,
      write: (bytes: Uint8Array | string) => got.push(bytes) > 0,
    } as unknown as Socket;
    for (const size of [65_536, 262_144, 5_000, 9_000]) {
      read(lent, size, 7);
      forward(socket, lent, 0, lent.length);
      lent.takeBack();
    }
    const views = got.map((bytes) => (typeof bytes === "string" ? "string" : bytes.buffer.byteLength));
    // Shared: copied. Private: a view into 256 KiB. Small: a string, and back to the shared buffer. Then a copy again.
    expect(views).toEqual([65_536, 262_144, "string", 9_000]);
  });

  test("do not outlive the call, and show nothing of what lies behind them", () => {
    const lent = new Lent();
    read(lent, 60_000, 65);
    lent.takeBack();
    read(lent, 10, 66);
    expect(() => lent.view(0, 11)).toThrow(RangeError);
    expect(() => lent.latin1(-1, 5)).toThrow(RangeError);
    expect(() => lent.slice(5, 4)).toThrow(RangeError);
    expect([lent.at(9), lent.at(10), lent.at(-1)]).toEqual([66, -1, -1]);
    expect(lent.indexOf(65, 0)).toBe(-1);
    expect(lent.indexOf(66, 9)).toBe(9);
    lent.takeBack();
    expect(() => lent.view(0, 1)).toThrow(RangeError);
    expect(lent.length).toBe(0);
  });

  test("hold private buffers for 64 connections at most", () => {
    const many = Array.from({ length: 100 }, () => new Lent());
    for (const lent of many) {
      read(lent, 65_536, 1);
      lent.takeBack();
    }
    expect(privateBuffers()).toBe(64);
    expect(many.filter((lent) => lent.into().length > 65_536)).toHaveLength(64);
    for (const lent of many) lent.release();
    expect(privateBuffers()).toBe(0);
  });
});
