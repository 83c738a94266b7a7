/**
 * What every lane must hold, whatever it speaks (docs/architecture.md): one suite, run for each lane with its own fixtures.
 *
 * Input may come in any pieces and break off anywhere; lengths may lie; other protocols may knock; each permit is finished
 * exactly once; nothing of what is refused goes on. The fakes of `ports.ts` throw where a lane breaks a leg's or a judge's rules.
 */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Lane } from "#sidecar/seam/lane.ts";
import type { LegFault } from "#sidecar/seam/leg.ts";
import { Bench, type FakeTime, type Setting } from "./ports.ts";

/** One act as it is on the wire. latin1 texts. */
export interface Act {
  readonly request: string;
  /** What the upstream must get for it. */
  readonly forwarded: string;
  readonly answer: string;
  /** What the agent must get for it. */
  readonly delivered: string;
  /** The word with which its permit is finished. */
  readonly status: string;
}

export interface Fixtures {
  readonly make: (time: FakeTime) => Lane;
  readonly setting: Partial<Setting>;
  /** Brings a fresh connection to where acts begin (a login); what was said until then counts for nothing. */
  readonly prepare?: (bench: Bench) => void;
  /** First bytes of FOREIGN that are this protocol's own, by name. */
  readonly own?: readonly string[];
  /** What a held act's client is told now and then, taken out of what it got. */
  readonly withoutKeepAlive?: (text: string) => string;
  /** judged: the lane asks for each act; carried: all of it goes under the connection's permit. */
  readonly kind: "judged" | "carried";
  readonly acts: readonly Act[];
  /** Refused, each a whole connection's worth; `upstream`: what may have been passed on before (a valid act in front). */
  readonly malformed: readonly { readonly name: string; readonly bytes: string }[];
  /** Length fields at and over their caps. */
  readonly lengths: readonly { readonly name: string; readonly bytes: string; readonly taken: boolean }[];
  /** Whether what the agent got is a refusal that its client understands; and whether the connection goes on behind it. */
  readonly refusal: (text: string) => { readonly understood: boolean; readonly goesOn: boolean };
  /** Answers of an upstream that must not reach the agent as if they were whole. */
  readonly badAnswers: readonly { readonly name: string; readonly bytes: string }[];
}

/** First bytes of what else may be spoken on a wrong port. */
export const FOREIGN: readonly (readonly [string, string])[] = [
  ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
  ["SSH", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"],
  ["PostgreSQL", "\x00\x00\x00\x29\x00\x03\x00\x00user\x00alice\x00database\x00prod\x00\x00"],
  ["PostgreSQL SSLRequest", "\x00\x00\x00\x08\x04\xd2\x16\x2f"],
  ["Redis", "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n"],
  ["Redis inline", "PING\r\n"],
  ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["SMTP", "EHLO agent.example\r\n"],
  ["MongoDB", "\x3f\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xd4\x07\x00\x00"],
  ["SOCKS5", "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"],
  ["DNS over TCP", "\x00\x1d\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"],
  ["a line of text", "hello world\n"],
  ["zero bytes", "\x00".repeat(64)],
  ["0xff", "\xff".repeat(64)],
];

const bytesOf = (text: string): Buffer => Buffer.from(text, "latin1");

export function conformance(name: string, fixtures: Fixtures): void {
  const fresh = (setting: Partial<Setting> = {}): Bench =>
    new Bench(fixtures.make, { ...fixtures.setting, ...setting });
  const bench = (setting: Partial<Setting> = {}): Bench => {
    const b = fresh(setting);
    if (fixtures.prepare !== undefined) {
      fixtures.prepare(b);
      b.forget();
    }
    return b;
  };
  const judged = fixtures.kind === "judged";

  /** Both directions of one act, each in the pieces that `cut` makes. */
  function run(b: Bench, act: Act, cut: (bytes: Buffer) => Buffer[]): void {
    const sentBefore = b.sent.length;
    const toldBefore = b.agent.text.length;
    for (const piece of cut(bytesOf(act.request))) b.say(piece);
    expect(b.sent.slice(sentBefore)).toBe(act.forwarded);
    for (const piece of cut(bytesOf(act.answer))) b.upstream.answer(piece);
    expect(b.agent.text.slice(toldBefore)).toBe(act.delivered);
  }

  function leave(b: Bench): void {
    b.session.failed("reset");
    expect(b.judge.open, "permits that nobody finished").toBe(0);
    for (const u of b.upstreams) expect(u.open, "an upstream was left open").toBe(false);
    expect(
      b.judge.held.filter((h) => h.abandoned === null),
      "held operations that were neither settled nor given up",
    ).toEqual([]);
  }

  /** Where the lane asks for each act: how their permits were finished, none being open. */
  function finished(b: Bench, statuses: readonly string[] | null): void {
    expect(b.judge.open).toBe(0);
    expect(b.judge.statuses).toEqual(judged && statuses !== null ? statuses : b.judge.statuses);
  }

  describe(`${name}: input in pieces`, () => {
    for (const act of fixtures.acts) {
      const title = JSON.stringify(act.request.slice(0, 40));
      test(`reads ${title} whole and byte by byte alike`, () => {
        for (const size of [100_000, 1, 2, 3, 7]) {
          const b = bench();
          run(b, act, (bytes) => pieces(bytes, size));
          finished(b, [act.status]);
          leave(b);
        }
      });

      test(`reads ${title} alike at every split`, () => {
        for (let at = 1; at < Math.max(act.request.length, act.answer.length); at++) {
          const b = bench();
          run(b, act, (bytes) => (at < bytes.length ? [bytes.subarray(0, at), bytes.subarray(at)] : [bytes]));
          finished(b, [act.status]);
          leave(b);
        }
      });

      test(`leaves nothing open wherever ${title} breaks off`, () => {
        for (const end of ["ended", "failed"] as const)
          for (let at = 0; at < act.request.length; at++) {
            const b = bench();
            b.say(act.request.slice(0, at));
            if (end === "ended") b.session.ended();
            else b.session.failed("reset");
            finished(b, null);
            expect(b.sent).not.toBe(act.forwarded);
            leave(b);
          }
      });

      test(`never makes a whole answer of one to ${title} that breaks off`, () => {
        for (const end of ["ended", "failed"] as const)
          for (let at = 0; at < act.answer.length; at++) {
            const b = bench();
            b.say(act.request);
            if (at > 0) b.upstream.answer(act.answer.slice(0, at));
            if (!b.upstream.open) continue;
            if (end === "ended") b.upstream.endSide();
            else b.upstream.fail("reset");
            finished(b, null);
            const whole = b.agent.text === act.delivered && !b.agent.resetByLane;
            expect(whole, `${at} bytes, then ${end}`).toBe(false);
            leave(b);
          }
      });
    }

    test("answers acts that were sent at once in their order", () => {
      for (const size of [100_000, 1, 5]) {
        const b = bench();
        const all = bytesOf(fixtures.acts.map((act) => act.request).join(""));
        for (const piece of pieces(all, size)) b.say(piece);
        for (const [i, act] of fixtures.acts.entries()) {
          expect(b.sent).toBe(
            judged
              ? fixtures.acts
                  .slice(0, i + 1)
                  .map((a) => a.forwarded)
                  .join("")
              : all.toString("latin1"),
          );
          b.upstream.answer(act.answer);
        }
        expect(b.agent.text).toBe(fixtures.acts.map((act) => act.delivered).join(""));
        finished(
          b,
          fixtures.acts.map((act) => act.status),
        );
        leave(b);
      }
    });
  });

  const refuses = judged || fixtures.malformed.length + fixtures.lengths.length > 0;
  const perhaps = refuses ? describe : (_title: string, _tests: () => void): void => {};
  perhaps(`${name}: what is refused`, () => {
    for (const { name: what, bytes } of fixtures.malformed)
      test(`passes nothing on of ${what}`, () => {
        for (const size of [100_000, 1]) {
          const b = bench();
          for (const piece of pieces(bytesOf(bytes), size)) b.say(piece);
          // In pieces a head may have been permitted before its body turned out to be wrong.
          const passedOn = size === 1 ? "" : b.sent;
          expect(passedOn).toBe("");
          const permitted = size === 1 ? [] : b.judge.permits.filter((p) => p.scope === "ask");
          expect(permitted).toEqual([]);
          expect(b.judge.refused.length, "refusals on record").toBe(1);
          expect(fixtures.refusal(b.agent.text)).toEqual({ understood: true, goesOn: false });
          expect(b.agent.endedByLane || b.agent.resetByLane).toBe(true);
          leave(b);
        }
      });

    for (const { name: what, bytes, taken } of fixtures.lengths)
      test(`${taken ? "takes" : "refuses"} ${what}`, () => {
        const b = bench();
        for (const piece of pieces(bytesOf(bytes), 16_384)) b.say(piece);
        expect(b.judge.refused.length).toBe(taken ? 0 : 1);
        expect(taken || fixtures.refusal(b.agent.text).understood).toBe(true);
        leave(b);
      });

    if (judged) {
      for (const [what, bytes] of FOREIGN.filter(([what]) => fixtures.own?.includes(what) !== true))
        test(`does not take ${what} for its own protocol`, () => {
          const b = fresh();
          b.say(bytes);
          b.time.pass(20_000);
          expect(b.sent).toBe("");
          expect(b.judge.asked).toEqual([]);
          leave(b);
        });

      test("answers a denied act in its own protocol, and goes on", () => {
        for (const act of fixtures.acts)
          for (const size of [100_000, 1]) {
            const b = bench();
            b.judge.answers = ["deny", "allow"];
            for (const piece of pieces(bytesOf(act.request), size)) b.say(piece);
            // A session that logged in has its upstream already; it hears nothing of this.
            expect([b.upstreams.length, b.sent]).toEqual([fixtures.prepare === undefined ? 0 : 1, ""]);
            expect(fixtures.refusal(b.agent.text)).toEqual({ understood: true, goesOn: true });
            const told = b.agent.text.length;
            run(b, act, (bytes) => [bytes]);
            expect(b.agent.text.slice(told)).toBe(act.delivered);
            leave(b);
          }
      });

      test("waits on its own connection for a held act, and then does it", () => {
        for (const act of fixtures.acts) {
          const b = bench();
          b.judge.answers = ["hold"];
          b.say(act.request);
          b.time.pass(3_600_000);
          const strip = fixtures.withoutKeepAlive ?? ((text: string) => text);
          expect([b.sent, strip(b.agent.text), b.judge.held.length]).toEqual(["", "", 1]);
          const [entry] = b.judge.held;
          if (entry === undefined) throw new Error("nothing is held");
          entry.abandoned = "settled";
          entry.waiter.settled(entry.held, b.judge.permit("ask"));
          expect(b.sent).toBe(act.forwarded);
          b.upstream.answer(act.answer);
          expect(strip(b.agent.text)).toBe(act.delivered);
          leave(b);
        }
      });

      test("gives a held act up when its client leaves", () => {
        for (const how of ["ended", "failed"] as const) {
          const b = bench();
          b.judge.answers = ["hold"];
          b.say(fixtures.acts[0]?.request ?? "");
          if (how === "ended") b.session.ended();
          else b.session.failed("reset");
          expect(b.judge.held.map((h) => h.abandoned)).toEqual(["client-left"]);
          expect(b.sent).toBe("");
          leave(b);
        }
      });

      for (const { name: what, bytes } of fixtures.badAnswers)
        test(`does not pass an answer on as whole that has ${what}`, () => {
          for (const size of [100_000, 1]) {
            const b = bench();
            b.say(fixtures.acts[0]?.request ?? "");
            for (const piece of pieces(bytesOf(bytes), size)) if (b.upstream.open) b.upstream.answer(piece);
            expect(b.upstream.released ?? false).toBe(false);
            expect(b.judge.open).toBe(0);
            const refused = fixtures.refusal(b.agent.text);
            expect(b.agent.resetByLane || (refused.understood && !refused.goesOn)).toBe(true);
            leave(b);
          }
        });
    }
  });

  describe(`${name}: whatever happens`, () => {
    test("survives garbage", () => {
      fc.assert(
        fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { maxLength: 20 }), (chunks) => {
          const b = bench();
          for (const chunk of chunks) b.say(chunk);
          b.time.pass(400_000);
          leave(b);
        }),
        { numRuns: 300 },
      );
    });

    test("finishes each permit exactly once and leaves no upstream open", () => {
      fc.assert(
        fc.property(fc.array(event(fixtures), { maxLength: 40 }), (events) => {
          const b = bench({ limits: { headerMs: 10_000, idleMs: 60_000, totalMs: 120_000 } });
          b.judge.answers = ["allow"];
          for (const happen of events) {
            happen(b);
            if (b.agent.resetByLane) break;
          }
          leave(b);
        }),
        { numRuns: 2_000 },
      );
    });
  });
}

function pieces(bytes: Buffer, size: number): Buffer[] {
  const all: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) all.push(bytes.subarray(at, at + size));
  return all;
}

const FAULTS: readonly LegFault[] = ["refused", "unreachable", "unresolved", "reset", "timeout", "audit", "tls-name"];

/** Everything that can happen to a session, in any order. */
function event(fixtures: Fixtures): fc.Arbitrary<(b: Bench) => void> {
  const acts = fixtures.acts;
  const part = fc.tuple(fc.nat(acts.length - 1), fc.nat(), fc.nat());
  const cut = (text: string, from: number, to: number): string => {
    const a = from % (text.length + 1);
    const z = to % (text.length + 1);
    return text.slice(Math.min(a, z), Math.max(a, z));
  };
  const open = (b: Bench) => b.upstreams.filter((u) => u.open);
  return fc.oneof(
    { weight: 6, arbitrary: fc.nat(acts.length - 1).map((i) => (b: Bench) => say(b, acts[i]?.request ?? "")) },
    { weight: 6, arbitrary: fc.nat(acts.length - 1).map((i) => (b: Bench) => answer(b, acts[i]?.answer ?? "")) },
    {
      weight: 2,
      arbitrary: part.map(
        ([i, f, t]) =>
          (b: Bench) =>
            say(b, cut(acts[i]?.request ?? "", f, t)),
      ),
    },
    {
      weight: 2,
      arbitrary: part.map(
        ([i, f, t]) =>
          (b: Bench) =>
            answer(b, cut(acts[i]?.answer ?? "", f, t)),
      ),
    },
    fc.constantFrom(...FAULTS).map((fault) => (b: Bench) => open(b).at(-1)?.fail(fault)),
    fc.constant((b: Bench) => {
      const upstream = open(b).at(-1);
      if (upstream?.ended === false) upstream.endSide();
    }),
    fc.constant((b: Bench) => open(b).at(-1)?.events.drained()),
    fc.constant((b: Bench) => {
      if (!ENDED.has(b)) b.session.ended();
      ENDED.add(b);
    }),
    fc.constant((b: Bench) => b.session.drained()),
    fc.constant((b: Bench) => b.session.revised()),
    fc.constant((b: Bench) => b.session.drain()),
    fc.constantFrom(1_000, 11_000, 61_000, 130_000).map((ms) => (b: Bench) => b.time.pass(ms)),
    fc.constantFrom("allow" as const, "deny" as const, "hold" as const).map((verdict) => (b: Bench) => {
      b.judge.answers = [verdict];
    }),
    fc
      .constantFrom("fresh" as const, "reused" as const, "refused" as const, "unresolved" as const)
      .map((how) => (b: Bench) => {
        b.dial = how;
      }),
    fc.boolean().map((full) => (b: Bench) => {
      b.agent.full = full;
      for (const u of b.upstreams) u.full = full;
    }),
    fc.boolean().map((allow) => (b: Bench) => {
      const waiting = b.judge.held.find((h) => h.abandoned === null);
      if (waiting === undefined) return;
      waiting.abandoned = "settled";
      waiting.waiter.settled(waiting.held, allow ? b.judge.permit("ask") : b.judge.refusal("denied", "policy", "No."));
    }),
  );
}

const ENDED = new WeakSet<Bench>();

/** Nobody speaks after its end. */
function say(b: Bench, text: string): void {
  if (text !== "" && !ENDED.has(b)) b.say(text);
}

function answer(b: Bench, text: string): void {
  const upstream = b.upstreams.at(-1);
  if (text !== "" && upstream?.open === true && !upstream.ended) upstream.answer(text);
}
