/**
 * What an upstream gets, read by llhttp: exactly the requests that were judged, each whole or broken off, never one more. And what
 * an agent gets: one final answer, the upstream's or a refusal. The corpus is the differential test's, in random pieces.
 */
import { expect, test } from "vitest";
import { createHttpLane } from "#sidecar/lanes/http/lane.ts";
import { Bench, READS_ALL } from "../ports.ts";
import { answers, random, requests } from "./corpus.ts";
import { decodeAnswer } from "./decode.ts";
import { ORACLE_METHODS, Oracle } from "./llhttp.ts";

const CASES = Number(process.env["SIDEGATE_DIFFERENTIAL_CASES"] ?? "100000") / 10;

interface Judged {
  readonly http: { readonly method: string; readonly path: string };
}

test("an upstream reads the requests that were judged, and no other", () => {
  const r = random(7);
  let reached = 0;
  for (let i = 0; i < CASES; i++) {
    const text = requests(r, [2, 8, 25][i % 3] ?? 8);
    const b = new Bench((clock) => createHttpLane({ clock }), { profile: READS_ALL });
    for (let at = 0; at < text.length; ) {
      const to = r.chance(50) ? text.length : Math.min(text.length, at + 1 + r.below(40));
      b.say(text.slice(at, to));
      at = to;
      for (let u = b.upstreams.at(-1); u?.open === true && whole(u.text); u = b.upstreams.at(-1)) {
        const before = b.upstreams.length;
        u.answer("HTTP/1.1 204 No Content\r\n\r\n");
        if (b.upstreams.length === before) break;
      }
      if (b.agent.endedByLane || b.agent.resetByLane) break;
    }
    const permitted = b.judge.asked.map((operation) => JSON.parse(`{${operation.facts}}`) as Judged);
    expect(b.upstreams.length, text).toBeLessThanOrEqual(permitted.length);
    for (const [n, upstream] of b.upstreams.entries()) {
      const judged = permitted[n]?.http;
      if (judged === undefined || !ORACLE_METHODS.has(judged.method)) continue;
      const oracle = new Oracle("request");
      oracle.feed(Buffer.from(upstream.text, "latin1"));
      const [seen, ...more] = oracle.messages;
      const path = decodeURIComponent(seen?.target.split("?", 1)[0] ?? "");
      expect({ error: oracle.error, method: seen?.method, path, more }, text).toEqual({
        error: null,
        method: judged.method,
        path: judged.path,
        more: [],
      });
      reached++;
    }
    b.session.failed("reset");
    expect(b.judge.open, text).toBe(0);
  }
  expect(reached).toBeGreaterThan(CASES / 3);
}, 120_000);

test("an agent reads the answer that its upstream gave, whole, or sees that it got none", () => {
  const r = random(8);
  const request = "GET /a HTTP/1.1\r\nHost: billing.test\r\n\r\n";
  let relayed = 0;
  for (let i = 0; i < CASES; i++) {
    const text = answers(r, [2, 8, 25][i % 3] ?? 8);
    const b = new Bench((clock) => createHttpLane({ clock }));
    b.say(request);
    for (let at = 0; at < text.length && b.upstream.open; ) {
      const to = r.chance(50) ? text.length : Math.min(text.length, at + 1 + r.below(40));
      b.upstream.answer(text.slice(at, to));
      at = to;
    }
    if (b.upstream.open) b.upstream.endSide();
    expect([b.judge.open, b.upstreams.length], text).toEqual([0, 1]);
    const status = Number(b.judge.statuses[0]);
    // No answer: a refusal of ours, or the connection breaks off.
    const told = !Number.isNaN(status) || b.agent.resetByLane || b.agent.text.includes("Sidegate-Event: ");
    expect(told, text).toBe(true);
    if (Number.isNaN(status)) continue;
    const given = decodeAnswer(Buffer.from(text, "latin1")).messages.at(-1);
    const oracle = new Oracle("answer");
    oracle.feed(Buffer.from(b.agent.text, "latin1"));
    if (b.agent.endedByLane) oracle.finish();
    const seen = oracle.messages.at(-1);
    expect({ error: oracle.error, status: seen?.status, length: seen?.length, complete: seen?.complete }, text).toEqual(
      {
        error: null,
        status,
        length: given?.length,
        complete: true,
      },
    );
    expect(oracle.messages.filter((m) => m.status >= 200).length, text).toBe(1);
    expect(b.agent.text).not.toMatch(/^(?:Alt-Svc|Sidegate-Event):/im);
    relayed++;
  }
  expect(relayed).toBeGreaterThan(CASES / 5);
}, 120_000);

/** Whether a request is there to its end. */
function whole(text: string): boolean {
  const oracle = new Oracle("request");
  oracle.feed(Buffer.from(text, "latin1"));
  return oracle.messages.at(-1)?.complete === true;
}
