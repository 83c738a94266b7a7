/** `sidegate why [ID]`: one operation, what was decided, by which rule, and what came of it. */
import type { Command } from "commander";
import { explainedLines } from "#policy/author/explain-text.ts";
import { readObserved } from "#policy/author/observed.ts";
import { formatProblem } from "#policy/compile/problem.ts";
import { type AuditEvent, toEvent } from "../../src/collector/event.ts";
import type { Records } from "../../src/collector/remote.ts";
import { explainEvent } from "../../src/collector/why.ts";
import { jsonForTerminal } from "../../src/core/escape.ts";
import { idOf } from "./audit-erase.ts";
import { addSourceOptions, type SourceOptions, withRecords } from "./audit-source.ts";
import { defaultDatabase, exitWith, UsageError, workloadOf } from "./audit-store.ts";

interface WhyOptions extends SourceOptions {
  readonly json?: boolean;
  readonly policy?: string;
  readonly bundle?: string;
  readonly library: boolean;
}

export function registerWhy(program: Command): void {
  addSourceOptions(
    program.command("why").description("Say why an operation was denied or allowed, and what came of it"),
  )
    .argument("[id]", "the record's id, as in Sidegate-Event; default: the last denial")
    .option("--db <file>", "the record's SQLite file", defaultDatabase())
    .option("--policy <dir>", "the policy folder: also show which rules held, and where the others stopped")
    .option("--bundle <file>", "a built bundle instead: needs no opa, and shows only the rules that spoke")
    .option("--no-library", "without the policies that come with Sidegate")
    .option("--json", "as one JSON object")
    .action(async (id: string | undefined, options: WhyOptions) => exitWith(why(id, options)));
}

async function why(id: string | undefined, options: WhyOptions): Promise<number> {
  const read = await withRecords(options, async (store) => {
    const event = await eventOf(store, id);
    return event === null ? null : { event, workload: await workloadOf(store, event.id) };
  });
  if (read === null) {
    process.stderr.write(id === undefined ? "Nothing was denied.\n" : "No record has this id.\n");
    return 1;
  }
  const { event, workload } = read;
  const asked = options.policy !== undefined || options.bundle !== undefined;
  const explanation = asked ? await explained(event, options) : null;
  process.stdout.write(
    options.json === true
      ? `${jsonForTerminal({ ...event, workload, explanation })}\n`
      : explainEvent(event, explanation, workload),
  );
  return 0;
}

/** Judged once more, by what is at hand now: that this is another policy than the one that decided is said, where it shows. */
async function explained(event: AuditEvent, options: WhyOptions): Promise<{ rule: string | null; trace: string }> {
  const observed = readObserved(event);
  if (observed === null)
    return { rule: null, trace: "No trace: the record is no operation, or its detail was erased." };
  // Only here: most questions need neither a compiler nor an evaluator.
  const { explainBy } = await import("./policy-explain.ts");
  const answer = await explainBy(options, observed.op, {});
  if (answer.kind === "problems") throw new UsageError(answer.problems.map(formatProblem).join("\n"));
  const { decision, rules } = answer;
  const now = verdictOf(decision);
  const then = observed.wouldDeny ? "would deny" : `${event.verdict ?? ""} ${event.code ?? ""}`.trim();
  const same = observed.wouldDeny ? decision.effect === "deny" || decision.would !== null : now === then;
  const lines = explainedLines(answer);
  const spoke = rules.find(
    (rule) => rule.held && (decision.effect === "allow" ? rule.rule === "allow" : rule.rule !== "allow"),
  );
  return {
    rule: same && spoke !== undefined ? `${spoke.file}:${spoke.line}` : null,
    trace: (same
      ? ["Judged once more:", ...lines]
      : [`Judged once more, by a policy or labels other than those that decided (${then}):`, ...lines]
    ).join("\n"),
  };
}

function verdictOf({ effect, code }: { readonly effect: string; readonly code: string }): string {
  return `${effect} ${code}`.trim();
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
