/**
 * The processes of a run beside the agent: the collector and the sidecar. Each is started with an environment of its own (nothing
 * of the user's), tells when it is ready, and is started again when it dies: the sockets stay ours, so connections wait.
 *
 * Errs towards ending: a child that does not become ready in time, or dies five times in a minute, ends the run.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { openSync } from "node:fs";

export interface ChildPlan {
  readonly name: string;
  readonly node: string;
  readonly entry: string;
  readonly env: Readonly<Record<string, string>>;
  /** Its stderr; appended. */
  readonly log: string;
  /** Descriptors handed down, from 4 on. */
  readonly descriptors: readonly number[];
  /** Where descriptor `3 + descriptors + 1` goes, when it wants one: lines for the terminal. */
  readonly onLines: ((text: string) => void) | null;
  /** What it asks for on its channel, other than "ready". Absent: nobody answers. */
  readonly onMessage?: (message: unknown, reply: (answer: object) => void) => void;
}

export interface Child {
  /** Resolves at the first "ready"; rejects when it never came. */
  readonly ready: Promise<void>;
  readonly pid: () => number;
  /** To the process that is there now; lost where none is. */
  readonly tell: (message: object) => void;
  /** Rejects when it died too often; never resolves before `stop`. */
  readonly failed: Promise<never>;
  /** SIGTERM, and SIGKILL after `limitMs`. */
  stop(limitMs: number): Promise<void>;
}

const FLAGS = ["--disable-sigusr1", "--disable-warning=ExperimentalWarning"];
const READY_MS = 20_000;
const WINDOW_MS = 60_000;
const MAX_DEATHS = 5;

/** The number under which the child finds descriptor `index` of the plan. */
export function descriptorOf(index: number): number {
  return 4 + index;
}

export function startChild(plan: ChildPlan): Child {
  const ready = Promise.withResolvers<void>();
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {}); // told to whoever waits; nobody may
  const deaths: number[] = [];
  let stopping = false;
  let child = launch();

  function launch(): ChildProcess {
    const log = openSync(plan.log, "a", 0o600);
    const lines = plan.onLines === null ? [] : (["pipe"] as const);
    const started = spawn(plan.node, [...FLAGS, plan.entry], {
      stdio: ["ignore", "ignore", log, "ipc", ...plan.descriptors, ...lines],
      env: { ...plan.env },
      detached: true,
    });
    const late = setTimeout(() => started.kill("SIGKILL"), READY_MS);
    started.on("message", (message) => {
      if (isReady(message)) {
        clearTimeout(late);
        ready.resolve();
      } else plan.onMessage?.(message, (answer) => send(started, answer));
    });
    if (plan.onLines !== null) {
      const pipe = started.stdio[descriptorOf(plan.descriptors.length)];
      if (pipe !== null && pipe !== undefined && "setEncoding" in pipe)
        pipe
          .setEncoding("utf8")
          .on("data", plan.onLines)
          .on("error", () => {});
    }
    started.once("error", (error) => failed.reject(error));
    started.once("exit", (code, signal) => {
      clearTimeout(late);
      if (!stopping) died(`${plan.name} ended (${signal ?? code})`);
    });
    return started;
  }

  function died(why: string): void {
    const now = performance.now();
    deaths.push(now);
    if (deaths.filter((at) => now - at < WINDOW_MS).length >= MAX_DEATHS) {
      const error = new Error(`${why} ${MAX_DEATHS} times within a minute; its log is ${plan.log}`);
      ready.reject(error);
      failed.reject(error);
      return;
    }
    child = launch();
  }

  return {
    ready: ready.promise,
    failed: failed.promise,
    pid: () => child.pid ?? -1,
    tell: (message) => send(child, message),
    async stop(limitMs) {
      stopping = true;
      if (child.exitCode !== null || child.signalCode !== null) return;
      await new Promise<void>((resolve) => {
        const late = setTimeout(() => child.kill("SIGKILL"), limitMs);
        child.once("exit", () => {
          clearTimeout(late);
          resolve();
        });
        child.kill("SIGTERM");
      });
    },
  };
}

function isReady(message: unknown): boolean {
  return typeof message === "object" && message !== null && "kind" in message && message.kind === "ready";
}

/** A process that has just died takes no message: whoever comes after it asks again. */
function send(child: ChildProcess, message: object): void {
  if (child.connected) child.send(message, () => {});
}
