/** A real Prometheus for a test, on loopback: configured, waited for, asked, ended. What it keeps goes with it. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { stringify } from "yaml";

export interface Target {
  readonly labels: Readonly<Record<string, string>>;
  readonly scrapeUrl: string;
  readonly health: string;
  readonly lastError: string;
}

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

export interface Prometheus {
  /** Throws with Prometheus' own words where it does not take the expression. */
  query(expression: string): Promise<readonly Sample[]>;
  targets(): Promise<readonly Target[]>;
  /** Of the rule files: name and health, with the last error. */
  rules(): Promise<readonly { readonly name: string; readonly health: string; readonly lastError?: string }[]>;
  stop(): Promise<void>;
}

/** `configuration`: a whole one, as YAML would have it. Rejects with its log. */
export async function startPrometheus(program: string, configuration: object): Promise<Prometheus> {
  const folder = mkdtempSync(path.join(tmpdir(), "sidegate-prometheus-"));
  const port = await freePort();
  const at = (name: string): string => path.join(folder, name);
  writeFileSync(at("prometheus.yaml"), stringify(configuration));
  const log = openSync(at("log"), "w");
  const child: ChildProcess = spawn(
    program,
    [
      `--config.file=${at("prometheus.yaml")}`,
      `--storage.tsdb.path=${at("data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: ["ignore", log, log] },
  );
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const get = async (target: string): Promise<unknown> => {
    const answer = await fetch(`http://127.0.0.1:${port}${target}`);
    const body = (await answer.json()) as { status: string; data: unknown; error?: string };
    if (body.status !== "success") throw new Error(`${target}: ${body.error ?? answer.status}`);
    return body.data;
  };
  const prometheus: Prometheus = {
    query: async (expression) =>
      ((await get(`/api/v1/query?query=${encodeURIComponent(expression)}`)) as { result: Sample[] }).result,
    targets: async () => ((await get("/api/v1/targets")) as { activeTargets: Target[] }).activeTargets,
    rules: async () =>
      (
        (await get("/api/v1/rules")) as { groups: { rules: { name: string; health: string; lastError?: string }[] }[] }
      ).groups.flatMap(({ rules }) => rules),
    async stop() {
      child.kill("SIGKILL");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
  const end = performance.now() + 60_000;
  while (
    !(await fetch(`http://127.0.0.1:${port}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    if (child.exitCode !== null || performance.now() > end) {
      const said = readFileSync(at("log"), "utf8").slice(-2_000);
      await prometheus.stop();
      throw new Error(`prometheus does not answer: ${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return prometheus;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
