/**
 * Long readings in a thread of their own: a search that goes through the whole store, or its verification, would hold up every
 * sidecar's batch, for SQLite answers synchronously. Its connection reads only.
 */
import type { MessagePort, Worker } from "node:worker_threads";
import { assertNever } from "#core/assert-never.ts";
import { type CoveredBoot, coverageOf } from "./coverage.ts";
import type { Filter, Found } from "./store/port.ts";
import { openSqlite } from "./store/sqlite.ts";
import { ALIVE_MS, type VerifyReport, verifyStore } from "./verify.ts";

export type Question =
  | { readonly kind: "find"; readonly filter: Filter }
  | { readonly kind: "coverage"; readonly namespace: string | null; readonly sinceMs: number; readonly nowMs: number }
  | { readonly kind: "verify"; readonly publicKey: string; readonly nowMs: number };

interface Answers {
  readonly find: readonly Found[];
  readonly coverage: readonly CoveredBoot[];
  readonly verify: VerifyReport;
}

export interface WorkerData {
  readonly database: string;
}

interface Said {
  readonly id: number;
  readonly answer?: unknown;
  readonly fault?: string;
}

/** The thread's side: one question after the other. */
export function serveReading(port: MessagePort, { database }: WorkerData): void {
  let last: Promise<void> = Promise.resolve();
  port.on("message", ({ id, question }: { readonly id: number; readonly question: Question }) => {
    last = last.then(async () => {
      let said: Said;
      try {
        said = { id, answer: await answerOf(database, question) };
      } catch (fault) {
        said = { id, fault: fault instanceof Error ? fault.message : String(fault) };
      }
      port.postMessage(said);
    });
  });
}

export async function answerOf(database: string, question: Question): Promise<unknown> {
  const store = openSqlite(database, "read");
  try {
    switch (question.kind) {
      case "find":
        return await store.find(question.filter);
      case "coverage": {
        const { namespace, sinceMs, nowMs } = question;
        const only = namespace === null ? null : new Set([namespace]);
        return await coverageOf(store, only, { sinceMs, nowMs, aliveMs: ALIVE_MS });
      }
      case "verify": {
        const { publicKey, nowMs } = question;
        return await verifyStore({ store, nowMs, aliveMs: ALIVE_MS, publicKey, expect: null });
      }
      default:
        return assertNever(question);
    }
  } finally {
    await store.close();
  }
}

/** Too long a reading, or too many at once: the question can be narrowed, or asked again. */
export class ReadingFault extends Error {
  readonly code: "busy" | "timeout" | "failed" | "yielded";
  constructor(code: ReadingFault["code"], message: string) {
    super(message);
    this.code = code;
  }
}

interface Waiting {
  readonly question: Question;
  readonly limitMs: number;
  resolve(answer: unknown): void;
  reject(fault: Error): void;
}

const MAX_WAITING = 32;

/** Our side: starts the thread when it is first asked, ends it where a question takes too long, and starts another. */
export class ReadThread {
  readonly #start: () => Worker;
  readonly #waiting: Waiting[] = [];
  #worker: Worker | null = null;
  #current: { readonly id: number; readonly asked: Waiting; readonly timer: NodeJS.Timeout } | null = null;
  #ids = 0;
  #closed = false;

  constructor(start: () => Worker) {
    this.#start = start;
  }

  /** Rejects with ReadingFault. */
  async ask<K extends Question["kind"]>(question: Question & { kind: K }, limitMs: number): Promise<Answers[K]> {
    if (this.#closed || this.#waiting.length >= MAX_WAITING) throw new ReadingFault("busy", "too many readings wait");
    return await new Promise<Answers[K]>((resolve, reject) => {
      this.#waiting.push({ question, limitMs, resolve: (answer) => resolve(answer as Answers[K]), reject });
      this.#next();
    });
  }

  /** What is under way is ended, and its asker told `yielded`. */
  interrupt(): void {
    if (this.#current !== null) this.#drop(new ReadingFault("yielded", "something more urgent had to be done"));
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const asked of this.#waiting.splice(0)) asked.reject(new ReadingFault("busy", "the collector ends"));
    this.#drop(new ReadingFault("busy", "the collector ends"));
    await Promise.resolve();
  }

  #next(): void {
    if (this.#current !== null) return;
    const asked = this.#waiting.shift();
    if (asked === undefined) return;
    const id = ++this.#ids;
    const timer = setTimeout(() => this.#drop(new ReadingFault("timeout", "the reading took too long")), asked.limitMs);
    this.#current = { id, asked, timer };
    const worker = (this.#worker ??= this.#made());
    worker.postMessage({ id, question: asked.question }, []);
  }

  #made(): Worker {
    const worker = this.#start();
    worker.unref();
    worker.on("message", ({ id, answer, fault }: Said) => {
      const current = this.#current;
      if (current === null || current.id !== id) return;
      clearTimeout(current.timer);
      this.#current = null;
      if (fault === undefined) current.asked.resolve(answer);
      else current.asked.reject(new ReadingFault("failed", fault));
      this.#next();
    });
    worker.on("error", (fault) => this.#drop(new ReadingFault("failed", String(fault)), worker));
    worker.on("exit", () => this.#drop(new ReadingFault("failed", "the reading thread ended"), worker));
    return worker;
  }

  /** The thread goes; what it was at is told `fault`; the next question gets another one. `worker`: only if it is still that one. */
  #drop(fault: Error, worker: Worker | null = this.#worker): void {
    if (worker === null || worker !== this.#worker) return;
    this.#worker = null;
    void worker.terminate();
    const current = this.#current;
    this.#current = null;
    if (current !== null) {
      clearTimeout(current.timer);
      current.asked.reject(fault);
    }
    this.#next();
  }
}
