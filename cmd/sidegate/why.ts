/** `sidegate why [ID]`: one operation, what was decided, by which rule, and what came of it. */
import type { Command } from "commander";
import { type AuditEvent, toEvent } from "../../src/collector/event.ts";
import type { Records } from "../../src/collector/remote.ts";
import { explainEvent } from "../../src/collector/why.ts";
import { idOf } from "./audit-erase.ts";
import { addSourceOptions, type SourceOptions, withRecords } from "./audit-source.ts";
import { defaultDatabase, exitWith } from "./audit-store.ts";

export interface Explanation {
  /** Where the rule stands: `file:line`. */
  readonly rule: string | null;
  /** The evaluator's trace, as text. */
  readonly trace: string | null;
}

/** Judges a recorded operation once more with the policy at hand; null: that policy is not here. */
export type Explain = (event: AuditEvent) => Promise<Explanation | null>;

interface WhyOptions extends SourceOptions {
  readonly json?: boolean;
}

export function registerWhy(program: Command, explain: Explain | null = null): void {
  addSourceOptions(
    program.command("why").description("Say why an operation was denied or allowed, and what came of it"),
  )
    .argument("[id]", "the record's id, as in Sidegate-Event; default: the last denial")
    .option("--db <file>", "the record's SQLite file", defaultDatabase())
    .option("--json", "as one JSON object")
    .action(async (id: string | undefined, options: WhyOptions) => exitWith(why(id, options, explain)));
}

async function why(id: string | undefined, options: WhyOptions, explain: Explain | null): Promise<number> {
  const event = await withRecords(options, (store) => eventOf(store, id));
  if (event === null) {
    process.stderr.write(id === undefined ? "Nothing was denied.\n" : "No record has this id.\n");
    return 1;
  }
  const explanation = explain === null ? null : await explain(event);
  process.stdout.write(
    options.json === true ? `${JSON.stringify({ ...event, explanation })}\n` : explainEvent(event, explanation),
  );
  return 0;
}

async function eventOf(store: Records, id: string | undefined): Promise<AuditEvent | null> {
  if (id === undefined) {
    const [last] = await store.find({ verdict: "deny", limit: 1 });
    return last === undefined ? null : toEvent(last);
  }
  const { boot, seq } = idOf(id);
  const found = await store.get(boot, seq);
  return found === null ? null : toEvent(found);
}
