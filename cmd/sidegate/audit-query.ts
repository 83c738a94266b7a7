/** `sidegate audit query`: records that match, newest last. */
import { once } from "node:events";
import { type Command, Option } from "commander";
import { toEvent } from "../../src/collector/event.ts";
import { newestOf } from "../../src/collector/newest.ts";
import { renderTable } from "../../src/collector/table.ts";
import { PROTOCOLS } from "../../src/contract/operation.ts";
import { jsonForTerminal } from "../../src/core/escape.ts";
import { addSourceOptions, type SourceOptions, withRecords } from "./audit-source.ts";
import { defaultDatabase, exitWith, type FilterOptions, filterOf, parseCount, parseTime } from "./audit-store.ts";

export interface QueryOptions extends FilterOptions, Omit<SourceOptions, "db"> {
  readonly db: string;
  readonly limit: number;
  readonly json?: boolean;
}

/** The options by which records are chosen: the same for query, tail, summary and export. */
export function addFilterOptions(command: Command, json = true): Command {
  command
    .option("--db <file>", "the record's SQLite file", defaultDatabase())
    .option("--since <time>", "not before: 15m, 24h, 7d, or a date (UTC unless it names a zone)", parseTime)
    .option("--until <time>", "before", parseTime)
    .option("--pod <name>", "of this pod (name, or namespace/name)")
    .option("--run <id>", "of this run: the run token's id, or a sidecar's boot")
    .option("--target <name>", "to this target")
    .option("--host <name>", "to this host")
    .addOption(new Option("--verdict <verdict>", "what was decided").choices(["allow", "deny", "hold"]))
    .option("--code <code>", "denied with this code")
    .addOption(new Option("--protocol <protocol>", "what was spoken").choices([...PROTOCOLS]))
    .option("--text <text>", "that contain this text anywhere")
    .option("--all", "also connections, notes and the start and stop of sidecars");
  return json ? command.option("--json", "as JSON, one object a line") : command;
}

export function registerAuditQuery(audit: Command): void {
  addSourceOptions(addFilterOptions(audit.command("query").description("Show records that match")))
    .option("--limit <n>", "the newest so many", parseCount, 100)
    .action(async (options: QueryOptions) => exitWith(query(options)));
}

async function query(options: QueryOptions): Promise<number> {
  const shown = await withRecords(options, async (records) => {
    let count = 0;
    for await (const page of newestOf(records, filterOf(options, options.limit))) {
      const events = page.map(toEvent);
      const text =
        options.json === true
          ? events.map((event) => `${jsonForTerminal(event)}\n`).join("")
          : renderTable(events, count === 0);
      count += page.length;
      if (!process.stdout.write(text)) await once(process.stdout, "drain");
    }
    return count;
  });
  if (shown === 0 && options.json !== true) process.stderr.write("No record matches.\n");
  if (shown >= options.limit)
    process.stderr.write(`Only the newest ${options.limit} that match are shown; --limit shows more.\n`);
  return 0;
}
