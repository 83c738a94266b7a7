import { expect, test } from "vitest";
import type { Target } from "#contract/target.ts";
import { createConnections } from "./connections.ts";
import type { ConnectionJudge } from "./judge/judges.ts";
import type { Lane, Peer } from "./seam/lane.ts";
import type { Inbound, Upstreams } from "./seam/stages.ts";
import type { Permit, Refusal } from "./seam/verdict.ts";

const TARGET: Target = { name: "billing", hosts: ["billing.test"], ports: [443] };
const PERMIT = { kind: "permit", scope: "connect", seq: 1 } as unknown as Permit<"connect">;

function bench() {
  const seen = { opened: 0, reset: 0, finished: [] as string[], asked: 0, refusal: null as Refusal | null };
  let gone = (): void => {};
  const leg = {
    bytesIn: 0,
    bytesOut: 0,
    onGone: (then: () => void) => (gone = then),
    listen: () => {},
    reset: () => {
      seen.reset++;
      gone();
    },
  } as unknown as Inbound;
  const judge = {
    protect: () => {},
    again: () => {
      seen.asked++;
      return seen.refusal;
    },
    finish: (_permit: Permit, outcome: { status: string }) => seen.finished.push(outcome.status),
    close: () => {},
  } as unknown as ConnectionJudge;
  const lane = {
    protocol: "tcp",
    alpn: [],
    sniff: null,
    open: () => {
      seen.opened++;
      return { revised() {}, drain() {}, opened() {}, data() {}, drained() {}, secured() {}, ended() {}, failed() {} };
    },
  } as unknown as Lane;
  const connections = createConnections({
    upstreams: { dial: () => ({}) } as unknown as Upstreams,
    wheel: { after: () => ({ cancel() {} }), stop() {} },
    gate: { clean: true, committed: (then) => then(true) },
    meters: { ended() {}, handshake() {}, dialed() {}, upstreamFault() {} },
    opaqueTls: lane,
    opaqueTcp: lane,
    fault: (_where, error) => {
      throw error;
    },
  });
  const connection = connections.add(leg, judge);
  const peer: Peer = {
    host: "billing.test",
    port: 443,
    target: TARGET,
    secure: false,
    limits: { headerMs: 1, idleMs: 1, totalMs: 0 },
  };
  return { seen, connections, open: () => connection.open(lane, peer, PERMIT) };
}

test("a connection whose permit is revoked during its handshake never opens", () => {
  const { seen, connections, open } = bench();
  seen.refusal = { kind: "refusal" } as Refusal;
  connections.revised([TARGET]);
  open();
  expect(seen).toMatchObject({ opened: 0, reset: 1, asked: 1, finished: ["revoked"] });
});

test("a connection whose target changed during its handshake is ended, and the agent connects anew", () => {
  const { seen, connections, open } = bench();
  connections.revised([{ ...TARGET, endpoints: ["192.0.2.7:443"] }]);
  open();
  expect(seen).toMatchObject({ opened: 0, reset: 1, finished: ["target-changed"] });
});

test("a new bundle that still allows a connection in its handshake lets it open", () => {
  const { seen, connections, open } = bench();
  connections.revised([TARGET]);
  open();
  expect(seen).toMatchObject({ opened: 1, reset: 0, asked: 1, finished: [] });
});

test("without a new bundle nothing is asked twice", () => {
  const { seen, open } = bench();
  open();
  expect(seen).toMatchObject({ opened: 1, asked: 0 });
});
