/**
 * Asks the built module and OPA's interpreter the same things, with the data that the module will run with: a difference means
 * that the compiler folded or lost something, and such a bundle must not go out. Also: what is empty or incomplete is denied.
 *
 * The interpreter's process is also the one that checks modules and tests: strict, with the capabilities and the input's schema, as
 * `opa check` does. Nothing is evaluated before all of it has passed.
 */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { ACTIONS } from "#contract/operation.ts";
import type { BundleParts } from "../assemble.ts";
import { createEvaluator } from "../evaluator.ts";
import { readDecision } from "../reading.ts";
import { WasmError } from "../wasm-binary.ts";
import type { Problem } from "./problem.ts";
import { type OpaOutcome, runOpa } from "./run-opa.ts";
import { CAPABILITIES_FILE, DATA_FILE, INPUT_SCHEMA_FILE, type Workspace } from "./workspace.ts";

const MAX_TARGETS = 32;
const POD = { namespace: "check", labels: {} };

/** What the interpreter is asked, and what it answered. */
export interface Interpreted {
  readonly inputs: readonly object[];
  readonly answers: readonly unknown[];
}

/** As data that no policy may read (data-refs.ts): `input` has a schema, which a list of inputs would not fit. */
const QUESTIONS_FILE = ".questions.json";
const QUERY =
  "answers := [d | some i in data.questions.all; d := data.sidegate.decision with input as i with data.sidegate.pod as data.questions.pod]";

/** Checks everything, then asks; the outcome as it is where that failed. */
export async function checkAndAsk(opa: string, workspace: Workspace): Promise<Interpreted | OpaOutcome> {
  const { folder, policyFiles, testFiles, data } = workspace;
  const inputs = sanityInputs(data);
  await writeFile(path.join(folder, QUESTIONS_FILE), JSON.stringify({ questions: { all: inputs, pod: POD } }));
  const files = [DATA_FILE, QUESTIONS_FILE, ...policyFiles, ...testFiles];
  const run = await runOpa(opa, {
    args: [
      ...`eval --strict --format json --capabilities ${CAPABILITIES_FILE} --schema ${INPUT_SCHEMA_FILE}`.split(" "),
      ...files.flatMap((file) => ["-d", `./${file}`]),
      QUERY,
    ],
    cwd: folder,
  });
  if (run.status !== 0) return run;
  const { result } = JSON.parse(run.stdout) as { readonly result?: { bindings: { answers: unknown[] } }[] };
  return { inputs, answers: result?.[0]?.bindings.answers ?? [] };
}

export function compareBuilt({ inputs, answers }: Interpreted, parts: BundleParts): Problem[] {
  const problem = (message: string): Problem[] => [{ file: "policy.wasm", line: 0, message }];
  if (answers.length !== inputs.length) return problem("opa eval answered something else than it was asked");
  const { sidegate } = parts.data as { sidegate: object };
  const data = { sidegate: { ...sidegate, pod: POD } };
  try {
    const evaluator = createEvaluator(parts.wasm, JSON.stringify(data));
    for (const [i, input] of inputs.entries()) {
      const evaluated = evaluator.evaluate(JSON.stringify(input).slice(1, -1));
      if (evaluated.kind === "fault")
        return problem(`${evaluated.code}: ${evaluated.why} (input ${JSON.stringify(input)})`);
      const [first] = JSON.parse(evaluated.text) as { result: unknown }[];
      if (unordered(first?.result ?? null) !== unordered(answers[i] ?? null))
        return problem(`the built module decides otherwise than the rules do (input ${JSON.stringify(input)})`);
    }
    const enforced = { mode: "enforce", denialDetail: "full" } as const;
    const empty = evaluator.evaluate("");
    if (empty.kind === "result" && readDecision(empty.text, enforced).effect !== "deny")
      return problem("an empty operation is not denied");
  } catch (fault) {
    if (fault instanceof WasmError) return problem(fault.message);
    throw fault;
  }
  return [];
}

/** A text that is equal for equal values, whatever the order of members and elements: sets have none. */
function unordered(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(unordered).sort().join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([key, member]) => `${JSON.stringify(key)}:${unordered(member)}`);
  return `{${members.sort().join()}}`;
}

/** Each target with each action, as HTTP; the other protocols once; and shapes that must be denied. */
function sanityInputs(data: BundleParts["data"]): object[] {
  const targets = Object.entries(
    (data as { sidegate: { targets: Record<string, { hosts: string[]; ports: number[]; labels?: object }> } }).sidegate
      .targets,
  );
  const inputs: object[] = [];
  for (const [name, spec] of [
    ...targets.slice(0, MAX_TARGETS),
    [null, { hosts: ["unknown.invalid"], ports: [443] }] as const,
  ]) {
    const target = {
      name,
      host: spec.hosts[0],
      port: spec.ports[0],
      labels: "labels" in spec ? (spec.labels ?? {}) : {},
    };
    for (const action of ACTIONS)
      inputs.push({
        v: 1,
        protocol: "http",
        action,
        complete: true,
        target,
        run: null,
        http: http(spec.hosts[0] ?? ""),
      });
    for (const protocol of ["tls", "tcp"])
      inputs.push({ v: 1, protocol, action: "connect", complete: true, target, run: null });
    inputs.push({
      v: 1,
      protocol: "http",
      action: "read",
      complete: false,
      target,
      run: null,
      http: http(spec.hosts[0] ?? ""),
    });
  }
  return inputs;
}

function http(host: string): object {
  return {
    method: "GET",
    scheme: "https",
    host,
    path: "/a/b",
    segments: ["a", "b"],
    query: { q: ["1"] },
    headers: { "user-agent": "check" },
    contentType: null,
    contentLength: null,
    truncated: false,
  };
}
