/** `sidegate audit accept`: a killed sidecar's chain is taken as it is, by name and reason; the act is on record. */
import { existsSync } from "node:fs";
import type { Command } from "commander";
import { acceptEnd } from "../../src/collector/accept.ts";
import { openSigner } from "../../src/collector/checkpoint.ts";
import { keyPath } from "../../src/collector/collector.ts";
import { openSqlite } from "../../src/collector/store/sqlite.ts";
import { ALIVE_MS } from "../../src/collector/verify.ts";
import { systemClock } from "../../src/core/clock.ts";
import { addSourceOptions, inTheirWords, isRemote, remoteOf, type SourceOptions } from "./audit-source.ts";
import { defaultDatabase, exitWith, UsageError } from "./audit-store.ts";
import { userName } from "./user-name.ts";

interface AcceptOptions extends SourceOptions {
  readonly boot: string;
  readonly reason: string;
}

export function registerAuditAccept(audit: Command): void {
  addSourceOptions(audit.command("accept").description("Accept that a killed sidecar's record has no end, and say why"))
    .requiredOption("--boot <id>", "the sidecar's boot: the first part of its records' ids")
    .requiredOption("--reason <text>", "why; stands in the record")
    .option("--db <file>", "the record's SQLite file", defaultDatabase())
    .action(async (options: AcceptOptions) => exitWith(accept(options)));
}

async function accept(options: AcceptOptions): Promise<number> {
  const { boot, reason, db } = options;
  const through = isRemote(options)
    ? (await inTheirWords(async () => (await remoteOf(options)).accept(boot, reason))).through
    : await acceptHere(db, boot, reason);
  process.stdout.write(`${boot} is accepted up to line ${through}\n`);
  return 0;
}

async function acceptHere(db: string, boot: string, reason: string): Promise<number> {
  if (!existsSync(db)) throw new UsageError(`there is no record at ${db} (--db names another)`);
  if (!existsSync(keyPath(db))) throw new UsageError(`the key ${keyPath(db)} is missing: an act must be signed`);
  const store = openSqlite(db, "write");
  try {
    const signer = openSigner(keyPath(db), String(process.pid));
    const request = { boot, reason, by: userName(), aliveMs: ALIVE_MS };
    const result = await acceptEnd({ store, signer, clock: systemClock }, request);
    if (result.kind === "refused") throw new UsageError(`${boot}: ${result.why}`);
    return result.through;
  } finally {
    await store.close();
  }
}
