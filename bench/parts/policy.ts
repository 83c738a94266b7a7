/** One decision of bench/policy: our evaluator in process, fuel on and no cache, beside OPA's REST API (the server's CPU only). */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { DecidePlan } from "../decide.ts";
import { load, loadScript } from "../load.ts";
import { benchSources, layOutForOpa, SAMPLES } from "../policy/for-opa.ts";
import { compileBenchPolicy, opa, sign } from "../policy-bundle.ts";
import { CORE, freePort, installed, listening, type Started, start } from "../process.ts";
import { missing, type Report } from "../report.ts";
import { type Candidate, interleaved, type RoundsPlan, ratio } from "../rounds.ts";

const RATIO = "decision_vs_opa_rest";
const OURS = "sidegate, evaluator in process";
const PEER = "opa run --server";
const CONNECTIONS = 8;
/** What the committed samples are for. */
const EFFECTS: Readonly<Record<(typeof SAMPLES)[number], string>> = { read: "allow", write: "allow", denied: "deny" };

export async function policy(folder: string, plan: RoundsPlan): Promise<Report> {
  const samples = SAMPLES.map((name) =>
    readFileSync(path.join(import.meta.dirname, `../policy/samples/${name}.json`), "utf8").trim(),
  );
  const started: Started[] = [];
  try {
    const ours = await decider(folder, samples);
    started.push(ours);
    const wrk = installed("wrk");
    const candidates: Candidate[] = [ours];
    if (wrk !== null) {
      const peer = await server(folder, wrk, samples);
      started.push(peer);
      candidates.push(peer);
    }
    const figures = await interleaved(candidates, { ...plan, warmOperations: Math.min(plan.warmOperations, 10_000) });
    return {
      ...(wrk === null ? missing("policy", [RATIO], { wrk }) : { notes: [] }),
      part: "policy",
      ratios: { [RATIO]: ratio(figures, PEER, OURS) },
      goals: { [RATIO]: "≥ 20" },
      raw: { plan, input_bytes: samples.map((text) => text.length), figures: Object.fromEntries(figures) },
      rows: [...figures.values()],
    };
  } finally {
    for (const process of started) await process.stop();
  }
}

async function decider(folder: string, samples: readonly string[]): Promise<Started & Candidate> {
  const { archive, keyPem, keyId, scope } = sign(await compileBenchPolicy(null));
  const file = path.join(folder, "bundle.tar.gz");
  writeFileSync(file, archive);
  const entry = path.resolve(import.meta.dirname, "../decide.ts");
  const serving = start({
    core: CORE.proxy,
    command: [process.execPath, "--disable-warning=ExperimentalWarning", entry],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const { child } = serving;
  const plan: DecidePlan = {
    archive: file,
    keyPem,
    keyId,
    scope,
    inputs: samples.map((text) => text.slice(1, -1)),
    effects: SAMPLES.map((name) => EFFECTS[name]),
  };
  await answered(child, plan);
  return {
    ...serving,
    name: OURS,
    async run(seconds) {
      const done = (await answered(child, { seconds })) as { readonly decisions: number; readonly seconds: number };
      return { operations: done.decisions, seconds: done.seconds, p50Us: null, p99Us: null };
    },
  };
}

function answered(child: ReturnType<typeof start>["child"], message: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error("the deciding process ended"));
    child.once("exit", ended);
    child.once("message", (answer) => {
      child.off("exit", ended);
      resolve(answer);
    });
    child.send(message);
  });
}

async function server(folder: string, wrk: string, samples: readonly string[]): Promise<Started & Candidate> {
  const own = path.join(folder, "opa");
  const tool = await opa();
  const files = await layOutForOpa(tool, own, await benchSources());
  const port = await freePort();
  const serving = start({
    core: CORE.proxy,
    cwd: own,
    command: [tool, "run", "--server", "--addr", `127.0.0.1:${port}`, "--log-level", "error", ...files],
    env: { PATH: "/usr/bin:/bin", HOME: own },
  });
  await listening(port);
  const url = `http://127.0.0.1:${port}/v1/data/sidegate/decision`;
  for (const [i, text] of samples.entries()) {
    const answer = await fetch(url, { method: "POST", body: `{"input":${text}}` });
    const { result } = (await answer.json()) as { readonly result?: { readonly deny?: object } };
    const denied = Object.keys(result?.deny ?? {}).length > 0;
    if (result === undefined || denied !== (EFFECTS[SAMPLES[i] ?? "read"] === "deny"))
      throw new Error(`opa decides sample ${i} differently: ${JSON.stringify(result)}`);
  }
  const bodies = samples.map((text) => `[==[{"input":${text}}]==]`).join(", ");
  const script = loadScript(
    folder,
    "opa",
    `local made, n = {}, 0
init = function(args)
  for i, body in ipairs({ ${bodies} }) do
    made[i] = wrk.format("POST", nil, { ["Content-Type"] = "application/json" }, body)
  end
end
request = function()
  n = n % ${samples.length} + 1
  return made[n]
end
`,
  );
  return {
    ...serving,
    name: PEER,
    async run(seconds) {
      const done = await load({ wrk, url, connections: CONNECTIONS, seconds, script });
      if (done.errors > 0) throw new Error(`${done.errors} of ${done.requests} requests failed`);
      return { operations: done.requests, seconds: done.seconds, p50Us: done.p50Us, p99Us: done.p99Us };
    },
  };
}
