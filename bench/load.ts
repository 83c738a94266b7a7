/** Load by wrk, one thread on the core of its own; what it says is read from a line that our script prints, not from its prose. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { CORE } from "./process.ts";

export interface Load {
  readonly wrk: string;
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
  /** Path of a script made by `loadScript`. */
  readonly script: string;
}

export interface Loaded {
  readonly requests: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Answers that are no 2xx, and connections that failed. */
  readonly errors: number;
}

const DONE = `
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
`;

/** `lua`: what makes requests (wrk's \`request\`, \`wrk.headers\`); may be empty. */
export function loadScript(folder: string, name: string, lua: string): string {
  const file = path.join(folder, `${name}.lua`);
  writeFileSync(file, lua + DONE);
  return file;
}

export async function load({ wrk, url, connections, seconds, script }: Load): Promise<Loaded> {
  const args = ["-c", String(CORE.load), wrk, "-t1", `-c${connections}`, `-d${seconds}s`, "-s", script, url];
  const child = spawn("taskset", args, { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  const code = await new Promise<number | null>((resolve) => {
    child.once("close", resolve);
  });
  const match = /^RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$/m.exec(out);
  if (code !== 0 || match === null) throw new Error(`wrk failed (${code}): ${out}`);
  const [requests = 0, bytes = 0, us = 0, p50Us = 0, p99Us = 0, errors = 0] = match.slice(1).map(Number);
  return { requests, bytes, seconds: us / 1e6, p50Us, p99Us, errors };
}
