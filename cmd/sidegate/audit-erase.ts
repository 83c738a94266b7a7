/** `sidegate audit erase`: takes details out of the record for good (GDPR). Chain and proof stay whole; the act is on record. */
import { accessSync, constants, existsSync } from "node:fs";
import type { Command } from "commander";
import { openSigner } from "../../src/collector/checkpoint.ts";
import { keyPath } from "../../src/collector/collector.ts";
import { eraseDetails } from "../../src/collector/erase.ts";
import { openSqlite } from "../../src/collector/store/sqlite.ts";
import { systemClock } from "../../src/core/clock.ts";
import { jsonForTerminal } from "../../src/core/escape.ts";
import { addFilterOptions, type QueryOptions } from "./audit-query.ts";
import { exitWith, filterOf, UsageError, withStore } from "./audit-store.ts";
import { systemWords } from "./streams.ts";
import { userName } from "./user-name.ts";

interface EraseOptions extends QueryOptions {
  readonly reason: string;
  readonly yes?: boolean;
}

const MOST = 100_000;

export function registerAuditErase(audit: Command): void {
  addFilterOptions(audit.command("erase").description("Erase the details of operations, by id or by filter"))
    .addHelpText(
      "after",
      "\nDetails are path, header and statement. The core stays, because the proof rests on it: target, run and its intent, codes, and what a policy's message quotes of the request.",
    )
    .argument("[ids...]", "records' ids")
    .requiredOption("--reason <text>", "why; stands in the record")
    .option("--yes", "do it; without, a filter only says what it matches")
    .action(async (ids: string[], options: EraseOptions) => exitWith(erase(ids, options)));
}

async function erase(ids: readonly string[], options: EraseOptions): Promise<number> {
  const filter = filterOf(options, MOST);
  const filtered = Object.keys(filter).length > 1;
  if (filtered === ids.length > 0) throw new UsageError("give ids, or filters, and not both");
  const records = filtered
    ? (await withStore(options.db, (store) => store.find(filter))).filter((f) => f.detail !== null)
    : ids.map(idOf);
  if (filtered && options.yes !== true) {
    process.stderr.write(`${records.length} details would be erased; --yes erases them.\n`);
    return 0;
  }
  if (!existsSync(keyPath(options.db)))
    throw new UsageError(`the key ${keyPath(options.db)} is missing: an erasure must be signed`);
  try {
    accessSync(options.db, constants.R_OK | constants.W_OK);
  } catch (fault) {
    throw new UsageError(`${options.db}: ${systemWords(fault)}`);
  }
  const store = openSqlite(options.db, "write");
  try {
    const signer = openSigner(keyPath(options.db), String(process.pid));
    const by = userName();
    const result = await eraseDetails({ store, signer, clock: systemClock }, { records, by, reason: options.reason });
    const rest = result.without === 0 ? "" : `; ${result.without} had none`;
    process.stdout.write(
      options.json === true ? `${jsonForTerminal(result)}\n` : `${result.erased} details erased${rest}\n`,
    );
    return !filtered && result.erased === 0 ? 1 : 0;
  } finally {
    await store.close();
  }
}

export function idOf(id: string): { boot: string; seq: number } {
  const match = /^([a-z0-9]{8,32})-(\d{1,15})$/.exec(id);
  if (match?.[1] === undefined)
    throw new UsageError(`${JSON.stringify(id.slice(0, 60))} is no id of a record (like k3v09xq2m1ab-17)`);
  return { boot: match[1], seq: Number(match[2]) };
}
