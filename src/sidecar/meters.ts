/** Counts what the judge said, in series that are found once and kept. */
import type { Decision } from "#contract/decision.ts";
import { DENIALS } from "#contract/denial.ts";
import type { Series } from "#process/metrics.ts";
import type { SidecarMetrics } from "#process/sidecar-metrics.ts";
import type { JudgeOptions } from "./judge/judges.ts";

/** A policy's own codes are its author's words and many: one label for all of them. */
const POLICY_CODE = "policy";

export function countVerdicts(metrics: SidecarMetrics): NonNullable<JudgeOptions["counted"]> {
  const kept = new Map<string, Series>();
  const seconds = metrics.decisionSeconds.with();
  const foldedRecords = metrics.auditFolded.with();
  // Nearly always the same as before; making the key costs more than counting.
  let last: Series | null = null;
  let lastOf: { readonly protocol: string; readonly verdict: string; readonly decision: Decision } | null = null;

  function seriesOf(protocol: string, verdict: string, { code, would }: Decision): Series {
    const word = code === "" ? (would === null ? "" : "would") : Object.hasOwn(DENIALS, code) ? code : POLICY_CODE;
    const key = `${protocol} ${verdict} ${word}`;
    let series = kept.get(key);
    if (series === undefined) {
      series = metrics.operations.with(protocol, verdict, word);
      kept.set(key, series);
    }
    return series;
  }

  return (protocol, verdict, decision, folded, ms) => {
    if (folded) foldedRecords.add(1);
    if (last === null || lastOf?.decision !== decision || lastOf.protocol !== protocol || lastOf.verdict !== verdict) {
      last = seriesOf(protocol, verdict, decision);
      lastOf = { protocol, verdict, decision };
    }
    last.add(1);
    seconds.observe(ms / 1000);
  };
}

/** What happens to connections; told by connections.ts and pipeline.ts. */
export interface ConnectionMeters {
  /** A connection's end: the stage it reached, and how that ended. */
  ended(stage: "accepted" | "admitted" | "opened", outcome: string, bytesUp: number, bytesDown: number): void;
  handshake(outcome: string): void;
  dialed(reused: boolean): void;
  upstreamFault(fault: string): void;
}

export function meterConnections(metrics: SidecarMetrics): ConnectionMeters {
  const up = metrics.transferred.with("up");
  const down = metrics.transferred.with("down");
  const reused = metrics.upstreamDials.with("pool");
  const fresh = metrics.upstreamDials.with("new");
  return {
    ended(stage, outcome, bytesUp, bytesDown) {
      metrics.connections.with(stage, outcome).add(1);
      up.add(bytesUp);
      down.add(bytesDown);
    },
    handshake: (outcome) => metrics.tlsHandshakes.with(outcome).add(1),
    dialed: (fromPool) => (fromPool ? reused : fresh).add(1),
    upstreamFault: (fault) => metrics.upstreamFaults.with(fault).add(1),
  };
}
