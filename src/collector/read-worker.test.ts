/** Long readings beside the collector's own work: what takes too long is ended, what comes after is answered all the same. */
import { EventEmitter } from "node:events";
import type { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { answerOf, ReadThread } from "./read-worker.ts";

class FakeWorker extends EventEmitter {
  readonly asked: { readonly id: number; readonly question: unknown }[] = [];
  terminated = false;
  unref(): void {}
  postMessage(message: { readonly id: number; readonly question: unknown }): void {
    this.asked.push(message);
  }
  terminate(): Promise<number> {
    this.terminated = true;
    return Promise.resolve(1);
  }
  answer(answer: unknown): void {
    this.emit("message", { id: this.asked.at(-1)?.id, answer });
  }
}

function threads(): { readonly made: FakeWorker[]; readonly thread: ReadThread } {
  const made: FakeWorker[] = [];
  const thread = new ReadThread(() => {
    const worker = new FakeWorker();
    made.push(worker);
    return worker as unknown as Worker;
  });
  return { made, thread };
}

const FIND = { kind: "find", filter: { limit: 1 } } as const;

test("one question at a time, each with its own answer, by one thread", async () => {
  const { made, thread } = threads();
  const [a, b] = [thread.ask(FIND, 10_000), thread.ask(FIND, 10_000)];
  expect(made[0]?.asked).toHaveLength(1);
  made[0]?.answer(["first"]);
  expect(await a).toEqual(["first"]);
  made[0]?.answer(["second"]);
  expect(await b).toEqual(["second"]);
  expect(made).toHaveLength(1);
});

test("a question that takes too long costs its thread, and the next one gets another", async () => {
  const { made, thread } = threads();
  const slow = thread.ask(FIND, 1);
  const next = thread.ask(FIND, 10_000);
  await expect(slow).rejects.toMatchObject({ code: "timeout" });
  expect(made[0]?.terminated).toBe(true);
  made[1]?.answer([]);
  expect(await next).toEqual([]);
});

test("a question that gives way says so, and the next one gets another thread; where nothing is asked nothing ends", async () => {
  const { made, thread } = threads();
  thread.interrupt();
  const asked = thread.ask(FIND, 10_000);
  thread.interrupt();
  await expect(asked).rejects.toMatchObject({ code: "yielded" });
  expect(made[0]?.terminated).toBe(true);
  const again = thread.ask(FIND, 10_000);
  made[1]?.answer([]);
  expect(await again).toEqual([]);
});

test("a thread that dies fails what it was at, and nothing else; a store that is not there says so", async () => {
  const { made, thread } = threads();
  const [a, b] = [thread.ask(FIND, 10_000), thread.ask(FIND, 10_000)];
  made[0]?.emit("exit", 1);
  await expect(a).rejects.toMatchObject({ code: "failed" });
  made[1]?.answer(["b"]);
  expect(await b).toEqual(["b"]);
  await expect(answerOf("/nowhere/audit.db", FIND)).rejects.toThrow(/no record/);
});

test("readers wait in a bounded line, and none of them outlives the collector", async () => {
  const { thread } = threads();
  const asked = Array.from({ length: 33 }, () => thread.ask(FIND, 10_000));
  const settled = Promise.allSettled(asked);
  await expect(thread.ask(FIND, 10_000)).rejects.toMatchObject({ code: "busy" });
  await thread.close();
  expect((await settled).every((one) => one.status === "rejected")).toBe(true);
});
