import { describe, expect, test } from "vitest";
import { Gate } from "../../../test/support/loopback.ts";
import { UpstreamQueue } from "./queue.ts";

function make(): { readonly gate: Gate; readonly queue: UpstreamQueue; readonly answers: boolean[] } {
  const gate = new Gate();
  const answers: boolean[] = [];
  return { gate, queue: new UpstreamQueue(gate, (ok) => answers.push(ok)), answers };
}

describe("bytes that wait for their records", () => {
  test("may leave at once when nothing is unwritten", () => {
    const { queue } = make();
    queue.push("a");
    queue.push("b");
    expect(queue.take()).toEqual(["a", "b"]);
    expect([queue.take(), queue.length, queue.bytes]).toEqual([null, 0, 0]);
  });

  test("leave together when the turn's records are written", () => {
    const { gate, queue, answers } = make();
    gate.clean = false;
    queue.push("head");
    queue.push("body");
    expect(queue.take()).toBeNull();
    gate.answer(true);
    expect(answers).toEqual([true]);
    expect(queue.take()).toEqual(["head", "body"]);
  });

  test("that came after the question wait for the next answer, where records were added meanwhile", () => {
    const { gate, queue, answers } = make();
    gate.clean = false;
    queue.push("recorded");
    // Another connection's callback of the same answer adds a record, and its operation's bytes are queued here.
    const [then] = gate.waiting.splice(0);
    queue.push("not recorded yet");
    then?.(true);
    expect(queue.take()).toEqual(["recorded"]);
    expect(queue.take()).toBeNull();
    expect(queue.bytes).toBe("not recorded yet".length);
    gate.answer(true);
    expect(queue.take()).toEqual(["not recorded yet"]);
    expect(answers).toEqual([true, true]);
  });

  test("keep their order behind bytes that were free before", () => {
    const { gate, queue } = make();
    queue.push("connecting");
    gate.clean = false;
    queue.push("unwritten");
    expect(queue.take()).toEqual(["connecting"]);
    queue.push("more");
    expect(queue.take()).toBeNull();
    gate.answer(true);
    expect(queue.take()).toEqual(["unwritten", "more"]);
  });

  test("never leave when the records could not be written", () => {
    const { gate, queue, answers } = make();
    gate.clean = false;
    queue.push("unrecorded");
    gate.answer(false);
    expect(answers).toEqual([false]);
    expect(queue.take()).toBeNull();
  });
});
