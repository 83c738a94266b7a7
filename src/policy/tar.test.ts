import { gunzipSync, gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ArchiveError, readArchive, writeArchive } from "./tar.ts";

const LIMITS = { maxCompressedBytes: 1_000_000, maxBytes: 1_000_000, maxFiles: 10 };

function archive(...files: [string, string][]): Uint8Array {
  return writeArchive(new Map(files.map(([name, text]) => [name, Buffer.from(text)])));
}

/** An archive whose one header was changed and whose checksum is right again. */
function forged(change: (header: Buffer) => void): Uint8Array {
  const tar = gunzipSync(archive(["data.json", "{}"]));
  change(tar);
  tar.write("        ", 148, "latin1");
  let sum = 0;
  for (const byte of tar.subarray(0, 512)) sum += byte;
  tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return gzipSync(tar);
}

test("what was written is read back, whatever its length", () => {
  for (const length of [0, 1, 511, 512, 513, 5_000]) {
    const files = readArchive(archive(["a.wasm", "x".repeat(length)], ["data.json", "{}"]));
    expect([...files.keys()]).toEqual(["a.wasm", "data.json"]);
    expect(files.get("a.wasm")?.length).toBe(length);
  }
});

test("the same files give the same bytes", () => {
  expect(archive(["data.json", "{}"])).toEqual(archive(["data.json", "{}"]));
});

test.each(["../etc/passwd", "/../x", "a/../../b", "./data.json", "a//b", "C:\\x", "a\nb", ""])(
  "refuses the file name %j",
  (name) => {
    const evil = forged((header) => {
      header.fill(0, 0, 100);
      header.write(name, 0, "latin1");
    });
    expect(() => readArchive(evil)).toThrow(ArchiveError);
  },
);

test.each([
  ["a symbolic link", "2"],
  ["a hard link", "1"],
  ["a device", "3"],
  ["a long-name extension", "L"],
  ["a pax header", "x"],
])("refuses %s", (_what, flag) => {
  expect(() => readArchive(forged((header) => void header.write(flag, 156, "latin1")))).toThrow(
    "neither a file nor a folder",
  );
});

test("refuses a name that is there twice", () => {
  const one = gunzipSync(archive(["data.json", "{}"]));
  const twice = gzipSync(Buffer.concat([one.subarray(0, 1_024), one]));
  expect(() => readArchive(twice)).toThrow("file twice");
});

test("refuses a size that is not there", () => {
  for (const size of ["77777777777", "00000100000", "-0000000001", "0x000000010"])
    expect(() => readArchive(forged((header) => void header.write(size, 124, "latin1")))).toThrow(ArchiveError);
});

test("refuses what unpacks to more than the limit, before it is unpacked", () => {
  const bomb = gzipSync(Buffer.alloc(50_000_000));
  expect(bomb.length).toBeLessThan(LIMITS.maxCompressedBytes);
  expect(() => readArchive(bomb, LIMITS)).toThrow("not a gzip archive within");
});

test("refuses more files than the limit", () => {
  const many = archive(...Array.from({ length: 11 }, (_, i): [string, string] => [`f${i}`, ""]));
  expect(() => readArchive(many, LIMITS)).toThrow("more than 10 files");
});

test("refuses a header that was changed", () => {
  const tar = gunzipSync(archive(["data.json", "{}"]));
  tar[0] = 0x65;
  expect(() => readArchive(gzipSync(tar))).toThrow("checksum");
});

test("an archive cut anywhere is refused", () => {
  const tar = gunzipSync(archive(["data.json", "{}"], ["policy.wasm", "x".repeat(700)]));
  for (let length = 0; length < tar.length - 512; length += 97)
    expect(() => readArchive(gzipSync(tar.subarray(0, length)))).toThrow(ArchiveError);
});

test("no bytes make it fail in another way than with its own error", () => {
  const tar = gunzipSync(archive(["data.json", "{}"], ["policy.wasm", "x".repeat(700)]));
  fc.assert(
    fc.property(fc.nat(tar.length - 1), fc.nat(255), (at, byte) => {
      const changed = Buffer.from(tar);
      changed[at] = byte;
      try {
        return readArchive(gzipSync(changed, { level: 0 })).size <= 2;
      } catch (fault) {
        return fault instanceof ArchiveError;
      }
    }),
    { numRuns: 300 },
  );
});
