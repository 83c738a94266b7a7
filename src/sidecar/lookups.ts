/** What the agent asked our resolver: counted by answer; a name that no target lists is a denial, and on record (repeats fold). */
import { quote } from "#core/json-text.ts";
import type { SidecarMetrics } from "#process/sidecar-metrics.ts";
import type { QuerySeen } from "./destination/answer.ts";
import type { ConnectionJudge, Judges } from "./judge/judges.ts";

export interface Lookups {
  seen(query: QuerySeen): void;
  /** Ends their session on record. */
  close(): void;
}

export function recordLookups(judges: Judges, metrics: SidecarMetrics): Lookups {
  let judge: ConnectionJudge | null = null;
  function seen({ name, type, answer }: QuerySeen): void {
    metrics.dns.with(answer).add(1);
    if (answer !== "nxdomain" && answer !== "refused") return;
    judge ??= judges.open(
      { client: "", destination: "dns", target: null, host: "dns", port: 53 },
      { host: "dns", port: 53, target: null },
    );
    judge.refuse(answer === "refused" ? "protocol_unsupported" : "target_unknown", "", {
      protocol: "dns",
      action: "read",
      phase: "ask",
      parent: null,
      complete: true,
      run: null,
      traceparent: null,
      facts: `"dns":{"name":${quote(name)},"type":${quote(type)}}`,
      detail: "",
      body: null,
    });
  }
  return { seen, close: () => judge?.close(0, 0, "closed") };
}
