/** `sidegate audit verify`: proves the whole record, offline. Exit code 1 where anything was changed or is missing. */
import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import { ALIVE_MS, verifyStore } from "../../src/collector/verify.ts";
import { renderReport } from "../../src/collector/verify-text.ts";
import { defaultDatabase, exitWith, UsageError, withStore } from "./audit-store.ts";

interface VerifyOptions {
  readonly db: string;
  readonly json?: boolean;
  readonly key?: string;
  readonly expect?: { readonly size: number; readonly root: string };
}

export function registerAuditVerify(audit: Command): void {
  audit
    .command("verify")
    .description("Prove the record: lines, chains, details, signed checkpoints; name what has no end")
    .option("--db <file>", "the record's SQLite file", defaultDatabase())
    .option("--key <file>", "the public key that must have signed it (PEM); default: the one in the record")
    .option("--expect <size:root>", "a checkpoint that you kept: the record must contain it", parseCheckpoint)
    .option("--json", "as one JSON object")
    .action(async (options: VerifyOptions) => exitWith(verify(options)));
}

async function verify(options: VerifyOptions): Promise<number> {
  const publicKey = options.key === undefined ? null : readKey(options.key);
  const report = await withStore(options.db, (store) =>
    verifyStore({ store, nowMs: Date.now(), aliveMs: ALIVE_MS, publicKey, expect: options.expect ?? null }),
  );
  process.stdout.write(options.json === true ? `${JSON.stringify(report)}\n` : renderReport(report));
  return report.ok ? 0 : 1;
}

function readKey(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    throw new UsageError(`the key ${JSON.stringify(file)} cannot be read`);
  }
}

function parseCheckpoint(value: string): { size: number; root: string } {
  const match = /^(\d{1,15}):([A-Za-z0-9+/]{43}=)$/.exec(value);
  if (match?.[1] === undefined || match[2] === undefined)
    throw new InvalidArgumentError("must be like the checkpoint that verify prints");
  return { size: Number(match[1]), root: match[2] };
}
