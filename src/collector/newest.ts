/**
 * The newest records that match, oldest first, in pages: a hundred thousand of them are not held at once. First their place is looked
 * for, from the newest back; what comes meanwhile is not among them.
 */
import type { Filter, Found, RecordStore } from "./store/port.ts";

const PAGE = 1_000;

/** At most `filter.limit` in all. Nothing of `filter` says where. */
export async function* newestOf(
  records: Pick<RecordStore, "find">,
  filter: Omit<Filter, "after" | "before">,
): AsyncGenerator<readonly Found[]> {
  let page = await records.find({ ...filter, limit: Math.min(PAGE, filter.limit) });
  const newest = page[0]?.index;
  if (newest === undefined) return;
  if (page.length < PAGE || filter.limit <= PAGE) {
    yield page.toReversed();
    return;
  }
  let oldest = newest;
  for (let count = 0; ; ) {
    count += page.length;
    oldest = page.at(-1)?.index ?? oldest;
    const limit = Math.min(PAGE, filter.limit - count);
    if (page.length === 0 || limit === 0) break;
    page = await records.find({ ...filter, before: oldest, limit });
  }
  for (let after = oldest - 1; after < newest; ) {
    page = await records.find({ ...filter, after, before: newest + 1, limit: PAGE });
    const last = page.at(-1);
    if (last === undefined) return;
    yield page;
    after = last.index;
  }
}
