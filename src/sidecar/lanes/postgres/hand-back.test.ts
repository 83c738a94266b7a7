/** What a server may say to DISCARD ALL, and when the session ends instead. With a real server: test/integration/postgres-pool.test.ts. */
import { describe, expect, test } from "vitest";
import { KeptChunk } from "#core/kept-chunk.ts";
import type { Ports } from "#sidecar/seam/lane.ts";
import type { Resumable, Upstream } from "#sidecar/seam/leg.ts";
import { noticeText, readyText } from "./codec/backend.ts";
import { queryText } from "./codec/frontend.ts";
import { message } from "./codec/text.ts";
import { DISCARD_MS, HandBack } from "./hand-back.ts";
import { KnownSession } from "./known-session.ts";

function bench(): {
  readonly said: string[];
  readonly became: () => "waits" | "closed" | "open";
  readonly known: KnownSession;
  readonly handBack: HandBack;
  answer(text: string): void;
  late(): void;
} {
  const said: string[] = [];
  let became: "waits" | "closed" | "open" = "open";
  let late = (): void => {};
  const known = new KnownSession("alike");
  const upstream: Pick<Upstream, "write" | "resume" | "reset" | "release"> = {
    write: (_permit, bytes) => said.push(String(bytes)) > 0,
    resume() {},
    reset() {
      became = "closed";
    },
    release(reusable: boolean, as?: Resumable) {
      expect([reusable, as?.alike, as?.known]).toEqual([true, "alike", known]);
      became = "waits";
    },
  };
  const ports = {
    connect: {},
    peer: { target: { name: "db", hosts: ["db.test"], ports: [5_432] } },
    after: (ms: number, fire: () => void) => {
      expect(ms).toBe(DISCARD_MS);
      late = fire;
      return { cancel: () => void (late = () => {}) };
    },
  };
  const handBack = new HandBack(ports as unknown as Ports, upstream as Upstream, known);
  return {
    said,
    became: () => became,
    known,
    handBack,
    answer: (text) => handBack.data(new KeptChunk(Buffer.from(text, "latin1"))),
    late: () => late(),
  };
}

const DISCARDED = message("C", "DISCARD ALL\0");
const status = (name: string, value: string): string => message("S", `${name}\0${value}\0`);
const whole = status("TimeZone", "UTC") + noticeText("N", [["M", "x"]]) + DISCARDED + readyText("I");

describe("a session that is handed back", () => {
  test("is asked to forget everything, and waits when it has, however its answer is cut", () => {
    for (let cut = 0; cut <= whole.length; cut++) {
      const b = bench();
      expect(b.said).toEqual([queryText("DISCARD ALL")]);
      b.answer(whole.slice(0, cut));
      expect(b.became()).toBe(cut < whole.length ? "open" : "waits");
      b.answer(whole.slice(cut));
      expect(b.became(), String(cut)).toBe("waits");
      expect(b.known.told).toBe(status("TimeZone", "UTC"));
      b.late();
      expect(b.became()).toBe("waits");
    }
  });

  test.each([
    ["it does not answer", ""],
    ["it has not forgotten yet", DISCARDED],
    ["it fails", noticeText("E", [["M", "no"]]) + readyText("I")],
    ["it says that it did something else", message("C", "DISCARD PLANS\0") + readyText("I")],
    ["it is ready without having done it", readyText("I")],
    ["a transaction is open", DISCARDED + readyText("T")],
    ["rows come", message("D", "\0\0") + DISCARDED + readyText("I")],
    ["it does it twice", DISCARDED + DISCARDED + readyText("I")],
    ["it says more than that", DISCARDED + readyText("I") + readyText("I")],
    ["a byte is too many", `${DISCARDED}${readyText("I")}S`],
    ["it reads texts in another way now", status("standard_conforming_strings", "off") + DISCARDED + readyText("I")],
    ["it talks without end", noticeText("N", [["M", "x".repeat(60_000)]]).repeat(2)],
    ["it is no PostgreSQL", "HTTP/1.1 400 Bad Request"],
  ])("ends where %s", (_, answer) => {
    const b = bench();
    b.answer(answer);
    b.late();
    expect(b.became()).toBe("closed");
  });

  test("ends where its server ends it", () => {
    const b = bench();
    b.handBack.ended();
    expect(b.became()).toBe("closed");
  });
});
