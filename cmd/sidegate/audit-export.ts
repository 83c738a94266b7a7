/** `sidegate audit export`: records as NDJSON for another system, oldest first. */
import { once } from "node:events";
import type { Command } from "commander";
import { Option } from "commander";
import { toEvent } from "../../src/collector/event.ts";
import { toOcsf } from "../../src/collector/ocsf.ts";
import { jsonForTerminal } from "../../src/core/escape.ts";
import { addFilterOptions, type QueryOptions } from "./audit-query.ts";
import { exitWith, filterOf, withStore } from "./audit-store.ts";

interface ExportOptions extends QueryOptions {
  readonly format: "ndjson" | "ocsf";
}

const PAGE = 1_000;

export function registerAuditExport(audit: Command): void {
  addFilterOptions(
    audit.command("export").description("Write records for another system, one JSON object a line"),
    false,
  )
    .addOption(
      new Option("--format <format>", "ndjson: as query --json; ocsf: OCSF 1.8")
        .choices(["ndjson", "ocsf"])
        .default("ndjson"),
    )
    .action(async (options: ExportOptions) => exitWith(exportRecords(options)));
}

async function exportRecords(options: ExportOptions): Promise<number> {
  await withStore(options.db, async (store) => {
    const filter = filterOf(options, PAGE);
    for (let after = -1; ; ) {
      const page = await store.find({ ...filter, after });
      for (const found of page) {
        const event = toEvent(found);
        const line = jsonForTerminal(options.format === "ocsf" ? toOcsf(event) : event);
        if (!process.stdout.write(`${line}\n`)) await once(process.stdout, "drain");
      }
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.index;
    }
  });
  return 0;
}
