/** Load by `pgbench -S`: one indexed row a transaction, one thread on the load's core. What it says is read from its report. */
import { spawn } from "node:child_process";
import { DB_NAME, DB_USER } from "./postgres-server.ts";
import { CORE } from "./process.ts";

export interface Pgbench {
  readonly pgbench: string;
  readonly port: number;
  readonly protocol: "simple" | "prepared";
  readonly clients: number;
  readonly seconds: number;
}

export interface Pgbenched {
  readonly transactions: number;
  readonly seconds: number;
  /** Mean; without the time to connect. */
  readonly latencyUs: number;
}

export async function pgbench({ pgbench: file, port, protocol, clients, seconds }: Pgbench): Promise<Pgbenched> {
  const args = ["-S", "-n", "-M", protocol, "-c", String(clients), "-j", "1", "-T", String(seconds)];
  const at = ["-h", "127.0.0.1", "-p", String(port), "-U", DB_USER, DB_NAME];
  const began = performance.now();
  const child = spawn("taskset", ["-c", String(CORE.load), file, ...args, ...at], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: "/usr/bin:/bin", PGSSLMODE: "disable", PGGSSENCMODE: "disable", LC_ALL: "C.UTF-8" },
  });
  let out = "";
  for (const from of [child.stdout, child.stderr])
    from.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
  const code = await new Promise<number | null>((resolve) => {
    child.once("close", resolve);
  });
  const figure = (pattern: RegExp): number => Number(pattern.exec(out)?.[1] ?? Number.NaN);
  const transactions = figure(/^number of transactions actually processed: (\d+)/m);
  const failed = figure(/^number of failed transactions: (\d+)/m);
  const latencyUs = figure(/^latency average = ([\d.]+) ms/m) * 1e3;
  if (code !== 0 || !(transactions > 0) || failed > 0) throw new Error(`pgbench failed (${code}): ${out}`);
  return { transactions, seconds: (performance.now() - began) / 1e3, latencyUs };
}
