/** A process of a scenario, driven from the test: see actor.py. Orders are answered one by one; each has 20 s. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { findProgram } from "../../support/require.ts";

export type Address = readonly [host: string, port: number];

export interface Answer {
  readonly ok: boolean;
  /** `EPERM`, `TIMEOUT`, … */
  readonly error?: string;
  readonly address?: Address;
  readonly from?: Address;
  readonly peer?: Address;
  readonly original?: Address | null;
  readonly data?: string;
  readonly bytes?: number;
  readonly connected?: boolean;
  readonly pending?: boolean;
  readonly packets?: readonly string[];
  readonly code?: number;
  readonly out?: unknown;
  readonly err?: string;
}

const ORDER_LIMIT_MS = 20_000;
export const ACTOR_FILE = fileURLToPath(new URL("actor.py", import.meta.url));
/** Not the first `python3` of a PATH that an ordinary user cannot read. */
export const PYTHON = findProgram("python3") ?? "python3";

export class Actor {
  readonly #process: ChildProcess;
  readonly #waiting: ((answer: Answer) => void)[] = [];
  readonly ended: Promise<number | null>;
  stderr = "";

  /** `argv`: whatever ends in the actor reading our stdin. */
  constructor(argv: readonly string[], options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {}) {
    const [file = "", ...args] = argv;
    this.#process = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"], ...options });
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve) => this.#process.once("close", (code) => resolve(code)));
    this.#process.stdin?.on("error", () => undefined);
    const lines = createInterface({ input: this.#process.stdout as NodeJS.ReadableStream });
    lines.on("line", (line) => this.#waiting.shift()?.(JSON.parse(line) as Answer));
    void this.ended.then((code) => {
      for (const waiting of this.#waiting.splice(0)) waiting({ ok: false, error: `ended ${code}: ${this.stderr}` });
    });
  }

  get pid(): number {
    return this.#process.pid ?? -1;
  }

  /** What the kernel said, whatever it was. */
  try(op: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${op}: no answer. ${this.stderr}`)), ORDER_LIMIT_MS);
      this.#waiting.push((answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      this.#process.stdin?.write(`${JSON.stringify({ op, ...parameters })}\n`);
    });
  }

  /** As `try`; throws on a refusal: a step that must work for the scenario to mean anything. */
  async do(op: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<Answer> {
    const answer = await this.try(op, parameters);
    if (!answer.ok) throw new Error(`${op} ${JSON.stringify(parameters)}: ${answer.error}`);
    return answer;
  }

  /** Ends it, and waits until it is gone. */
  async end(): Promise<number | null> {
    this.#process.stdin?.end();
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), 5_000);
    const code = await this.ended;
    clearTimeout(timer);
    return code;
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }
}
