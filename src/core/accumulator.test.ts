import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Accumulator } from "./accumulator.ts";

describe("an accumulator", () => {
  test("holds what was appended, in order, up to its capacity and not a byte more", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), fc.nat({ max: 1_000 }), (pieces, capacity) => {
        const held = new Accumulator(capacity);
        const right: number[] = [];
        for (const piece of pieces) {
          const fits = right.length + piece.length <= capacity;
          expect(held.append(piece)).toBe(fits);
          if (fits) right.push(...piece);
          expect([...held.view()]).toEqual(right);
        }
        expect(held.length).toBe(right.length);
        expect([...held.take()]).toEqual(right);
        expect(held.length).toBe(0);
      }),
    );
  });

  test("keeps what it gave away untouched", () => {
    const held = new Accumulator(10);
    held.append(Uint8Array.of(1, 2));
    const taken = held.take();
    held.append(Uint8Array.of(9, 9));
    expect([...taken]).toEqual([1, 2]);
  });
});
