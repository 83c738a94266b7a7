import { Buffer } from "node:buffer";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { element, explicit, implicit, namedBits, objectId, octets, sequence, time, unsigned, utf8 } from "./der.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("lengths take their shortest form", () => {
  test.each([
    [0, "0400"],
    [127, "047f"],
    [128, "048180"],
    [255, "0481ff"],
    [256, "04820100"],
    [65_535, "0482ffff"],
    [65_536, "0483010000"],
  ])("%i bytes", (length, head) => {
    const made = octets(new Uint8Array(length));
    expect(hex(made.subarray(0, head.length / 2))).toBe(head);
    expect(made.length).toBe(head.length / 2 + length);
  });

  test("more than three bytes of length throw", () => {
    expect(() => element(4, new Uint8Array(0x800000), new Uint8Array(0x800000))).toThrow(RangeError);
  });
});

describe("an INTEGER is positive and minimal", () => {
  test.each([
    [[0], "020100"],
    [[0, 0, 1], "020101"],
    [[0x7f], "02017f"],
    [[0x80], "02020080"],
    [[0, 0xff, 1], "020300ff01"],
  ])("%j", (bytes, text) => {
    expect(hex(unsigned(Uint8Array.from(bytes)))).toBe(text);
  });

  test("whatever the bytes, it reads back as the same number", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
        const made = unsigned(bytes);
        const contents = made.subarray(2);
        expect(made[1]).toBe(contents.length);
        expect((contents[0] ?? 0) & 0x80).toBe(0);
        // A leading zero stands only where the next byte would make it negative.
        expect(contents.length > 1 && contents[0] === 0 && (contents[1] ?? 0) < 0x80).toBe(false);
        expect(BigInt(`0x${hex(contents)}`)).toBe(BigInt(`0x${hex(bytes)}`));
      }),
    );
  });

  test("no bytes throw", () => {
    expect(() => unsigned(new Uint8Array())).toThrow(RangeError);
  });
});

test("object identifiers encode their arcs in base 128", () => {
  expect(hex(objectId("1.2.840.10045.4.3.2"))).toBe("06082a8648ce3d040302");
  expect(hex(objectId("2.5.29.17"))).toBe("0603551d11");
  expect(hex(objectId("1.3.6.1.4.1.2312.16384"))).toBe("060a2b060104019208818000");
  expect(() => objectId("1")).toThrow(RangeError);
  expect(() => objectId("1.2.x")).toThrow(RangeError);
});

test("named bits leave out trailing zeros", () => {
  expect(hex(namedBits(0))).toBe("03020780");
  expect(hex(namedBits(5, 6))).toBe("03020106");
  expect(() => namedBits(8)).toThrow(RangeError);
});

test("times are UTCTime up to 2049 and GeneralizedTime after", () => {
  expect(time(Date.UTC(2049, 11, 31, 23, 59, 59, 999)).toString("latin1", 2)).toBe("491231235959Z");
  expect(time(Date.UTC(2050, 0, 1)).toString("latin1", 2)).toBe("20500101000000Z");
  expect(time(Date.UTC(2050, 0, 1))[0]).toBe(0x18);
  expect(() => time(Date.UTC(12_000, 0, 1))).toThrow(RangeError);
});

test("context tags are constructed when explicit, primitive when implicit", () => {
  expect(hex(explicit(0, unsigned(Uint8Array.of(2))))).toBe("a003020102");
  expect(hex(implicit(2, Buffer.from("a")))).toBe("820161");
  expect(hex(sequence(utf8("é")))).toBe("30040c02c3a9");
});
