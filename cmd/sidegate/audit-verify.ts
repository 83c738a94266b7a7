/** `sidegate audit verify`: proves the whole record, offline. Exit code 1 where anything was changed or is missing. */
import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import { checkProof, makeProof } from "../../src/collector/proof.ts";
import { ALIVE_MS, verifyStore } from "../../src/collector/verify.ts";
import { renderReport } from "../../src/collector/verify-text.ts";
import { jsonForTerminal } from "../../src/core/escape.ts";
import { idOf } from "./audit-erase.ts";
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
    .argument("[id]", "prove this one record instead: with --json, as a proof that needs no store")
    .option("--db <file>", "the record's SQLite file", defaultDatabase())
    .option("--key <file>", "the public key that must have signed it (PEM); default: the one in the record")
    .option("--expect <size:root>", "a checkpoint that you kept: the record must contain it", parseCheckpoint)
    .option("--json", "as one JSON object")
    .action(async (id: string | undefined, options: VerifyOptions) =>
      exitWith(id === undefined ? verify(options) : proveOne(id, options)),
    );
}

async function proveOne(id: string, options: VerifyOptions): Promise<number> {
  const { boot, seq } = idOf(id);
  const { proof, named } = await withStore(options.db, async (store) => ({
    proof: await makeProof(store, boot, seq),
    named: await store.publicKey(),
  }));
  const publicKey = options.key === undefined ? named : readKey(options.key);
  const wrong =
    proof === null || publicKey === null
      ? "no record has this id, or nothing signed covers it"
      : checkProof(proof, publicKey);
  if (options.json === true && proof !== null)
    process.stdout.write(`${jsonForTerminal({ ...proof, ok: wrong === null })}\n`);
  else if (wrong !== null) process.stderr.write(`${id}: ${wrong}\n`);
  else
    process.stdout.write(
      `ok: record ${id} is number ${proof?.index ?? 0} of ${proof?.checkpoint.size ?? 0} in the log signed by ${proof?.checkpoint.origin ?? ""}\n`,
    );
  return wrong === null ? 0 : 1;
}

async function verify(options: VerifyOptions): Promise<number> {
  const publicKey = options.key === undefined ? null : readKey(options.key);
  const report = await withStore(options.db, (store) =>
    verifyStore({ store, nowMs: Date.now(), aliveMs: ALIVE_MS, publicKey, expect: options.expect ?? null }),
  );
  process.stdout.write(options.json === true ? `${jsonForTerminal(report)}\n` : renderReport(report));
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
