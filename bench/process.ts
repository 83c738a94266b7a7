/**
 * Processes of the bench: each pinned to a core, its CPU time read from the kernel with nanosecond accuracy, all of them ended when
 * the bench ends, however it ends.
 */
import { type ChildProcess, type StdioOptions, spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import net from "node:net";

/** Core 0 is the one under test; load and upstream share the other. */
export const CORE = { proxy: 0, load: 1 } as const;

const running = new Set<ChildProcess>();

export interface Started {
  readonly pid: number;
  stop(): Promise<void>;
}

export interface Start {
  readonly core: number;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly stdio?: StdioOptions;
  readonly nice?: number;
  readonly cwd?: string;
}

export function start({ core, command, env, stdio, nice, cwd }: Start): Started & { readonly child: ChildProcess } {
  const priority = nice === undefined ? [] : ["nice", "-n", String(nice)];
  // taskset and nice replace themselves with the command: the pid is the command's own.
  const child = spawn("taskset", ["-c", String(core), ...priority, ...command], {
    cwd,
    stdio: stdio ?? ["ignore", "ignore", "inherit"],
    env: env ?? { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return { pid: child.pid ?? -1, child, stop: () => stopped(child) };
}

export async function stopped(child: ChildProcess, limitMs = 10_000): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    const late = setTimeout(() => child.kill("SIGKILL"), limitMs);
    child.once("exit", () => {
      clearTimeout(late);
      resolve();
    });
    child.kill("SIGTERM");
  });
}

/** For whatever ends the bench without its own clean-up. */
export function killAll(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** Nanoseconds of CPU of a process, all of its threads together. */
export function cpuNs(pid: number): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`))
    sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ", 1)[0]);
  return sum;
}

/** Resolves when somebody listens there. */
export async function listening(port: number, limitMs = 10_000): Promise<void> {
  const end = performance.now() + limitMs;
  for (;;) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = net.connect({ host: "127.0.0.1", port });
      socket.once("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
    if (open) return;
    if (performance.now() > end) throw new Error(`nobody listens on port ${port}`);
    await pause(20);
  }
}

export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  await new Promise((resolve) => {
    server.close(resolve);
  });
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** A tool of the system; null: not installed. */
export function installed(tool: string): string | null {
  const found = spawnSync("sh", ["-c", `command -v ${tool}`], {
    encoding: "utf8",
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  return found.status === 0 ? found.stdout.trim() : null;
}
