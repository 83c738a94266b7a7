import { expect, test } from "vitest";
import { KeptChunk } from "#core/kept-chunk.ts";
import { message } from "./codec/text.ts";
import { copyRunEnd } from "./copy-run.ts";

const chunk = (text: string): KeptChunk => new KeptChunk(Buffer.from(text, "latin1"));
const ROW = message("d", "1\tone\n");

test("a run of COPY rows ends in front of what is not whole, not a row, or malformed", () => {
  expect(copyRunEnd(chunk(ROW), 0)).toBe(ROW.length);
  expect(copyRunEnd(chunk(ROW + ROW + message("d", "")), 0)).toBe(2 * ROW.length + 5);
  expect(copyRunEnd(chunk(`xx${ROW}${ROW}`), 2)).toBe(2 + 2 * ROW.length);
  for (const behind of [
    message("c", ""),
    message("Q", "select 1\0"),
    "d",
    "d\0\0\0\u0003",
    "d\u00ff\u00ff\u00ff\u00ff",
    "d\0\0\0\0",
  ])
    expect(copyRunEnd(chunk(ROW + behind), 0), behind).toBe(ROW.length);
  for (let cut = 0; cut < ROW.length; cut++) {
    expect(copyRunEnd(chunk(ROW + ROW.slice(0, cut)), 0)).toBe(ROW.length);
    expect(copyRunEnd(chunk(ROW.slice(0, cut)), 0)).toBe(0);
  }
});
