/** Resident memory of another process, watched: its peak over what it had when idle. From /proc, so also of a process that is not ours to trace. */
import { existsSync, readFileSync } from "node:fs";

const MIB = 1_048_576;
const EVERY_MS = 10;

/** In bytes; 0 where the process has ended. */
function resident(pid: number, field: "VmRSS" | "VmHWM"): number {
  if (!existsSync(`/proc/${pid}/status`)) return 0;
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0) * 1024;
}

export class MemoryWatch {
  readonly #pid: number;
  readonly idleBytes: number;
  /** The highest before: starting takes more than idling does. */
  readonly #highBefore: number;
  #peak = 0;
  readonly #timer: NodeJS.Timeout;

  /** Begins now: what the process has is idle. */
  constructor(pid: number) {
    this.#pid = pid;
    this.idleBytes = resident(pid, "VmRSS");
    this.#highBefore = resident(pid, "VmHWM");
    this.#timer = setInterval(() => this.#look(), EVERY_MS);
  }

  /** Peak over idle so far, in MiB; the kernel's own peak where it rose since, samples else. */
  growthMib(): number {
    this.#look();
    const high = resident(this.#pid, "VmHWM");
    return (Math.max(this.#peak, high > this.#highBefore ? high : 0) - this.idleBytes) / MIB;
  }

  end(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    this.#peak = Math.max(this.#peak, resident(this.#pid, "VmRSS"));
  }
}
