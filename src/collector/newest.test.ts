import { expect, test } from "vitest";
import { bootOf, collecting, LOCAL, temporaryStore } from "../../test/support/collected.ts";
import { op } from "../../test/support/record.ts";
import { newestOf } from "./newest.ts";
import type { Filter } from "./store/port.ts";

test.each([
  [10, 10, 1],
  [1_000, 1_000, 1],
  [1_001, 1_001, 3],
  [2_200, 2_200, 4],
  [99_999, 2_500, 7],
])(
  "the newest %i that match come oldest first, never a thousand and more at once",
  async (limit, expected, questions) => {
    const { store, remove } = temporaryStore();
    try {
      const c = await collecting(store);
      const { boot, lines } = await bootOf(async (recorder, commit) => {
        for (let n = 0; n < 2_500; n++) {
          recorder.op(op());
          if (n % 500 === 499) await commit();
        }
      });
      await c.ingest({ boot, lines, gap: false, sender: LOCAL });
      const asked: number[] = [];
      const find = (filter: Filter) => {
        asked.push(filter.limit);
        return store.find(filter);
      };
      const seqs: number[] = [];
      for await (const page of newestOf({ find }, { limit })) {
        expect(page.length).toBeLessThanOrEqual(1_000);
        seqs.push(...page.map(({ seq }) => seq));
      }
      expect(seqs).toHaveLength(expected);
      expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
      expect(seqs.at(-1)).toBe(2_501);
      expect(Math.max(...asked)).toBeLessThanOrEqual(1_000);
      expect(asked.length).toBeGreaterThanOrEqual(questions);
    } finally {
      await remove();
    }
  },
);
