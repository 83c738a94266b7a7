/** `sidegate policy suggest`: out of the record of an agent under observation, targets, a narrow policy and its tests. */
import type { Command } from "commander";
import { escapeForTerminal, jsonForTerminal } from "#core/escape.ts";
import { writeNewFiles } from "#policy/author/init.ts";
import { type Observed, readObserved, readObservedLines } from "#policy/author/observed.ts";
import { replay } from "#policy/author/replay.ts";
import { suggest } from "#policy/author/suggest.ts";
import { suggestionManifests } from "#policy/author/suggest-manifests.ts";
import { readSources } from "#policy/compile/build.ts";
import { POLICY_NAME } from "#policy/compile/sources.ts";
import { toEvent } from "../../src/collector/event.ts";
import type { Records } from "../../src/collector/remote.ts";
import { addSourceOptions, isRemote, type SourceOptions, withRecords } from "./audit-source.ts";
import { defaultDatabase, parseTime, UsageError } from "./audit-store.ts";
import { makeGivenFolder } from "./given-paths.ts";
import { checkFolder, finish, libraryFolder, opaProgram, readInput, report, scratchFolder } from "./policy-tools.ts";

interface SuggestOptions extends SourceOptions {
  readonly output: string;
  readonly records?: string;
  readonly since?: number;
  readonly pod?: string;
  readonly run?: string;
  readonly policy?: string;
  readonly name: string;
  readonly check: boolean;
  readonly json?: boolean;
}

/** Of one suggestion: more operations than this are read, not kept. */
const MAX_REPLAYED = 5_000;
/** Of the library, what the chart installs. */
const IN_A_CLUSTER = ["targets"] as const;

export function registerPolicySuggest(policy: Command): void {
  addSourceOptions(
    policy
      .command("suggest")
      .description("From the record of agents under observation: targets, a narrow policy, and tests"),
  )
    .requiredOption("-o, --output <dir>", "the folder for it; nothing in it is overwritten")
    .option(
      "--records <file>",
      "lines of `sidegate audit query --json` instead of the record's file; - reads standard input",
    )
    .option("--db <file>", "the record's SQLite file", defaultDatabase())
    .option("--since <time>", "not before: 15m, 24h, 7d, or a date (UTC unless it names a zone)", parseTime)
    .option("--pod <name>", "of this pod (name, or namespace/name)")
    .option("--run <id>", "of this run")
    .option("--policy <dir>", "the folder in force: what it allows already is not suggested again")
    .option("--name <name>", "the policy's name", "suggested")
    .option("--no-check", "do not compile the suggestion and replay the record against it")
    .option("--json", "one JSON object")
    .action(async (options: SuggestOptions) => finish(suggestFrom(options)));
}

async function suggestFrom(options: SuggestOptions): Promise<number> {
  if (!POLICY_NAME.test(options.name) || options.name.endsWith("_test"))
    throw new UsageError(`${options.name} is no name for a policy`);
  const known =
    options.policy === undefined ? null : await readSources({ folder: checkFolder(options.policy), library: null });
  if (known?.kind === "problems") return report(known.problems, options.json === true);
  if (options.records !== undefined && isRemote(options))
    throw new UsageError("--records and a cluster exclude each other");
  const observed =
    options.records === undefined
      ? await withRecords(options, (records) => readAll(records, options))
      : fromLines(options.records);
  const made = suggest(observed, { name: options.name, known: known?.sources.targets ?? [], extend: known !== null });
  const manifests =
    options.namespace === undefined
      ? null
      : suggestionManifests(made.files, observed, { name: options.name, namespace: options.namespace });
  const files = manifests === null ? made.files : [...made.files, manifests];
  makeGivenFolder("--output", options.output);
  const there = await writeNewFiles(options.output, files);
  if (there !== null) throw new UsageError(`${there} is there already; nothing was overwritten`);
  const replayed =
    !options.check || made.files.length === 0
      ? null
      : await replay(observed, {
          folder: options.output,
          base: known?.sources ?? null,
          library: libraryFolder(),
          inForce: isRemote(options) ? IN_A_CLUSTER : null,
          opa: await opaProgram(),
          tmp: scratchFolder(),
          most: MAX_REPLAYED,
        });
  if (replayed?.kind === "problems") return report(replayed.problems, options.json === true);
  const denied = replayed?.denied ?? [];
  if (options.json === true)
    process.stdout.write(
      `${jsonForTerminal({ ok: denied.length === 0, files: files.map((file) => file.name), operations: made.operations, notes: made.notes, replayed: replayed?.replayed ?? null, denied })}\n`,
    );
  else {
    for (const { name } of files) process.stdout.write(`${options.output}/${name}\n`);
    for (const note of made.notes) process.stderr.write(`note: ${escapeForTerminal(note)}\n`);
    for (const one of denied) process.stderr.write(`still denied: ${escapeForTerminal(one)}\n`);
    process.stdout.write(
      made.files.length === 0
        ? "Nothing to suggest.\n"
        : `${made.operations} operations covered${replayed === null ? "" : `; replayed ${replayed.replayed}, ${denied.length} denied`}\n`,
    );
    if (manifests !== null && denied.length === 0)
      process.stdout.write(`Read it; then: kubectl apply -f ${options.output}/${manifests.name}\n`);
  }
  return denied.length === 0 ? 0 : 1;
}

function fromLines(file: string): Observed[] {
  try {
    return [...readObservedLines(readInput(file))];
  } catch (fault) {
    if (fault instanceof SyntaxError) throw new UsageError(`${file}: ${fault.message}`);
    throw fault;
  }
}

async function readAll(store: Records, options: SuggestOptions): Promise<Observed[]> {
  const { since, pod, run } = options;
  const filter = {
    ...(since === undefined ? {} : { sinceMs: since }),
    ...(pod === undefined ? {} : { pod }),
    ...(run === undefined ? {} : { run }),
  };
  const observed: Observed[] = [];
  let after = -1;
  for (;;) {
    const page = await store.find({ ...filter, after, limit: 1_000 });
    for (const found of page) {
      const one = readObserved(toEvent(found));
      if (one !== null) observed.push(one);
      after = found.index;
    }
    if (page.length === 0) return observed;
  }
}
