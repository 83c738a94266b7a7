import { describe, expect, test } from "vitest";
import { createOpaqueLane } from "#sidecar/lanes/opaque/lane.ts";
import { Bench } from "./ports.ts";
import { conformance } from "./suite.ts";

const act = (request: string, answer: string) => ({
  request,
  forwarded: request,
  answer,
  delivered: answer,
  status: "",
});

for (const protocol of ["tcp", "tls"] as const)
  conformance(`opaque ${protocol}`, {
    make: (clock) => createOpaqueLane(protocol, clock),
    setting: {},
    kind: "carried",
    acts: [act("\x00\x01\x02 any bytes \xff", "\x80 back"), act("more\r\n", "answers\n")],
    malformed: [],
    lengths: [],
    refusal: () => ({ understood: false, goesOn: false }),
    badAnswers: [],
  });

const bench = (limits = { headerMs: 10_000, idleMs: 60_000, totalMs: 0 }): Bench =>
  new Bench((clock) => createOpaqueLane("tcp", clock), { limits });

describe("bytes carried unread", () => {
  test("go on in the other direction after one has ended", () => {
    const b = bench();
    b.say("request");
    b.session.ended();
    expect([b.upstream.endedByLane, b.agent.endedByLane]).toEqual([true, false]);
    b.upstream.answer("late answer");
    b.upstream.endSide();
    expect([b.agent.text, b.agent.endedByLane, b.upstream.released]).toEqual(["late answer", true, false]);
  });

  test("go on upwards after the upstream has ended its side", () => {
    const b = bench();
    b.upstream.answer("banner");
    b.upstream.endSide();
    expect(b.agent.endedByLane).toBe(true);
    b.say("last words");
    expect([b.sent, b.upstream.open]).toEqual(["last words", true]);
    b.session.ended();
    expect(b.upstream.released).toBe(false);
  });

  test("stop being read while the other side is full", () => {
    const b = bench();
    b.upstream.full = true;
    b.say("a");
    expect(b.agent.paused).toBe(true);
    b.upstream.full = false;
    b.upstream.events.drained();
    expect(b.agent.paused).toBe(false);
    b.agent.full = true;
    b.upstream.answer("b");
    expect(b.upstream.paused).toBe(true);
    b.session.drained();
    expect(b.upstream.paused).toBe(false);
  });

  test("break off on both sides when one breaks off", () => {
    const up = bench();
    up.upstream.fail("reset");
    expect(up.agent.resetByLane).toBe(true);
    const down = bench();
    down.session.failed("reset");
    expect(down.upstream.resetByLane).toBe(true);
  });

  test("are ended when nothing moved for the idle limit, and not before", () => {
    const b = bench();
    b.time.pass(50_000);
    b.say("x");
    b.time.pass(50_000);
    b.upstream.answer("y");
    b.time.pass(59_000);
    expect(b.agent.resetByLane).toBe(false);
    b.time.pass(61_000);
    expect([b.agent.resetByLane, b.upstream.resetByLane]).toEqual([true, true]);
  });

  test("are ended at the total limit, however lively", () => {
    const b = bench({ headerMs: 10_000, idleMs: 60_000, totalMs: 100_000 });
    for (let i = 0; i < 9; i++) {
      b.time.pass(10_000);
      b.say("x");
    }
    expect(b.agent.resetByLane).toBe(false);
    b.time.pass(10_100);
    expect(b.agent.resetByLane).toBe(true);
  });

  test("end when the connection's permit is revoked", () => {
    const b = bench();
    b.session.revised();
    expect(b.upstream.open).toBe(true);
    b.session.failed("reset");
    expect(b.upstream.resetByLane).toBe(true);
    expect(b.judge.finished, "the pipeline finishes its own permit").toEqual([]);
  });

  test("are not begun where the dial fails at once", () => {
    const b = new Bench((clock) => createOpaqueLane("tcp", clock), { dial: "unresolved" });
    expect([b.agent.resetByLane, b.upstream.open]).toEqual([true, false]);
    expect(b.time.pending).toBe(0);
  });
});
