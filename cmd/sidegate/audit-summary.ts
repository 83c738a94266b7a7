/** `sidegate audit summary --run ID`: what one run did; without `--run`, the newest sidecar's. */
import type { Command } from "commander";
import { behindOf, toEvent } from "../../src/collector/event.ts";
import { MAX_FOUND } from "../../src/collector/read-paths.ts";
import { renderSummary, type Summary, summarise } from "../../src/collector/summary.ts";
import { jsonForTerminal } from "../../src/core/escape.ts";
import { addFilterOptions, type QueryOptions } from "./audit-query.ts";
import { addSourceOptions, isRemote, withRecords } from "./audit-source.ts";
import { exitWith, filterOf, workloadOf } from "./audit-store.ts";

/** More operations than this are counted from the newest on, and the summary says so. */
const MOST = 100_000;

export function registerAuditSummary(audit: Command): void {
  addSourceOptions(
    addFilterOptions(audit.command("summary").description("Count what a run did, and what was denied")),
  ).action(async (options: QueryOptions) => exitWith(printSummary(options)));
}

async function printSummary(options: QueryOptions): Promise<number> {
  const summary: Summary = await withRecords(options, async (store) => {
    const most = isRemote(options) ? MAX_FOUND : MOST;
    const filter = filterOf({ ...options, all: false }, most);
    const narrowed = isRemote(options) || Object.keys(filter).length > 1;
    const [newest] = narrowed ? [] : await store.find({ kinds: ["boot"], limit: 1 });
    const found = await store.find(newest === undefined ? filter : { ...filter, boot: newest.boot });
    const events = found.map(toEvent);
    const boots = [...new Set(events.map(({ id }) => id.slice(0, id.lastIndexOf("-"))))];
    const behind: string[] = [];
    // Of a cluster each question is itself on record.
    for (const boot of boots.slice(0, isRemote(options) ? 5 : 20)) {
      const workload = await workloadOf(store, `${boot}-1`);
      behind.push((workload === null ? null : behindOf(workload)) ?? "");
    }
    return summarise(events, found.length >= most, behind);
  });
  process.stdout.write(options.json === true ? `${jsonForTerminal(summary)}\n` : renderSummary(summary));
  return 0;
}
