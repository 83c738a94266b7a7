/** `sidegate audit tail`: shows records as they arrive, until interrupted. */
import { setTimeout as wait } from "node:timers/promises";
import type { Command } from "commander";
import type { AuditEvent } from "../../src/collector/event.ts";
import { Follower } from "../../src/collector/follow.ts";
import { renderTable } from "../../src/collector/table.ts";
import { jsonForTerminal } from "../../src/core/escape.ts";
import { addFilterOptions, type QueryOptions } from "./audit-query.ts";
import { addSourceOptions, isRemote, withRecords } from "./audit-source.ts";
import { exitWith, filterOf, parseCount } from "./audit-store.ts";

const POLL_MS = 250;
const REMOTE_POLL_MS = 1_000;

export function registerAuditTail(audit: Command): void {
  addSourceOptions(addFilterOptions(audit.command("tail").description("Show records as they arrive")))
    .option("--limit <n>", "begin with the newest so many", parseCount, 10)
    .action(async (options: QueryOptions) => exitWith(tail(options)));
}

async function tail(options: QueryOptions): Promise<number> {
  const stop = new AbortController();
  const end = (): void => stop.abort();
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
  process.stdout.once("error", end); // the reader of our pipe is gone
  await withRecords(options, async (store) => {
    const follower = new Follower(store, filterOf(options, options.limit));
    let first = true;
    while (!stop.signal.aborted) {
      show(await follower.next(Date.now()), options.json === true, first);
      first = false;
      await wait(isRemote(options) ? REMOTE_POLL_MS : POLL_MS, undefined, { signal: stop.signal }).catch(() => {});
    }
  });
  return 0;
}

function show(events: readonly AuditEvent[], json: boolean, first: boolean): void {
  if (json) for (const event of events) process.stdout.write(`${jsonForTerminal(event)}\n`);
  else if (first || events.length > 0) process.stdout.write(renderTable(events, first));
}
