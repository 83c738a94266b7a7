import * as fc from "fast-check";
import { expect, test } from "vitest";
import { committed, MemoryDisk, op, recorderOn } from "../../test/support/record.ts";
import { readBatch } from "./batch.ts";

test("reads back what a recorder wrote, wherever it is cut", async () => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  for (let i = 0; i < 5; i++) {
    recorder.op(op({ facts: '"http":{"path":"/ä/\u2028"}' }));
    await committed(recorder);
  }
  const whole = Buffer.from(disk.text());
  expect(readBatch(whole).commits.map((c) => c.lastSeq)).toEqual([1, 2, 3, 4, 5, 6]);
  for (let cut = 0; cut <= whole.length; cut++) {
    const { commits } = readBatch(whole.subarray(0, cut));
    expect(commits.map((c) => c.lastSeq)).toEqual([1, 2, 3, 4, 5, 6].slice(0, commits.length));
    expect(commits.every((c) => c.strays === 0)).toBe(true);
  }
});

test("bytes of any kind are read without a fault, and lines that are none are counted", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .array(fc.constantFrom('{"seq":', '{"d":', '{"c":', "1", '"}', "\n", '","h":"', "\u0000", "9".repeat(30)), {
        maxLength: 30,
      })
      .map((p) => Buffer.from(p.join(""))),
  );
  fc.assert(
    fc.property(bytes, (b) => {
      const { commits } = readBatch(b);
      for (const c of commits) for (const line of c.cores) expect(Number.isSafeInteger(line.seq)).toBe(true);
    }),
    { numRuns: 3_000 },
  );
  const huge = readBatch(Buffer.from(`{"seq":${"9".repeat(30)},"t":1}\n{"c":1,"h":"${"a".repeat(43)}"}\n`));
  expect(huge.commits[0]?.cores[0]?.seq).toBe(0);
  expect(readBatch(Buffer.from(`hello\n{"c":1,"h":"${"a".repeat(43)}"}\n`)).commits[0]?.strays).toBe(1);
});
