/**
 * Runs `opa` in a process of its own: bounded output, bounded time, and no environment but what it needs. Policies and their tests
 * are an author's code.
 */
import { spawn } from "node:child_process";

export interface OpaRun {
  readonly args: readonly string[];
  /** Working folder; arguments are relative to it, so that messages are. */
  readonly cwd: string;
  readonly stdin?: string;
  readonly timeoutMs?: number;
  /** CPU seconds and memory of the process, where a shell can set them (Linux). */
  readonly limits?: { readonly cpuSeconds: number; readonly memoryBytes: number };
}

export interface OpaOutcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What stopped it, when it did not end by itself. */
  readonly stopped: "time" | "output" | "signal" | null;
}

const TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** `sh` sets the limits and becomes opa; a limit that the system does not know is left out. */
const LIMITED = 'ulimit -t "$1" 2>/dev/null; ulimit -v "$2" 2>/dev/null; ulimit -c 0; shift 2; exec "$@"';

/** Rejects only when the program cannot be started. */
export async function runOpa(opa: string, run: OpaRun): Promise<OpaOutcome> {
  const { limits } = run;
  const [program, args] =
    limits === undefined
      ? [opa, run.args]
      : [
          "/bin/sh",
          [
            "-c",
            LIMITED,
            "sh",
            String(limits.cpuSeconds),
            String(Math.floor(limits.memoryBytes / 1024)),
            opa,
            ...run.args,
          ],
        ];
  const { promise, resolve, reject } = Promise.withResolvers<OpaOutcome>();
  const child = spawn(program, args, {
    cwd: run.cwd,
    stdio: "pipe",
    env: {
      HOME: run.cwd,
      GOMAXPROCS: "2",
      // It ends before its heap is worth a collection: a fifth less of a core.
      GOGC: "400",
      ...(limits === undefined ? {} : { GOMEMLIMIT: String(Math.floor(limits.memoryBytes / 2)) }),
    },
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  let bytes = 0;
  let stopped: OpaOutcome["stopped"] = null;
  const stop = (why: "time" | "output"): void => {
    stopped ??= why;
    child.kill("SIGKILL");
  };
  const timer = setTimeout(() => stop("time"), run.timeoutMs ?? TIMEOUT_MS);
  const keep = (into: Buffer[]) => (data: Buffer) => {
    bytes += data.length;
    if (bytes > MAX_OUTPUT_BYTES) stop("output");
    else into.push(data);
  };
  child.stdout.on("data", keep(out));
  child.stderr.on("data", keep(err));
  child.on("error", (fault) => {
    clearTimeout(timer);
    reject(fault);
  });
  child.on("close", (status, signal) => {
    clearTimeout(timer);
    resolve({
      status,
      stdout: Buffer.concat(out).toString("utf8"),
      stderr: Buffer.concat(err).toString("utf8"),
      stopped: stopped ?? (signal === null ? null : "signal"),
    });
  });
  // A program that does not read its input must not bring us down with EPIPE.
  child.stdin.on("error", () => {});
  child.stdin.end(run.stdin ?? "");
  return promise;
}
