/**
 * The first denial of each (target, code) of a pod and hour, as an Event on that pod: whoever wonders why an agent does not work looks
 * there first. Out of what was stored, so that the record is there when somebody asks for it.
 *
 * Bounded for an agent that is denied without end: per pod and hour, and in all. The Event says nothing that could be erased later: no
 * path, no statement.
 */
import { describeOperation } from "#audit/describe.ts";
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";
import type { Tell } from "#kube/events.ts";
import type { Sender } from "./ingest.ts";
import { object, parse, text } from "./rows.ts";
import type { RecordRow } from "./store/port.ts";

const HOUR_MS = 3_600_000;
const PODS = 10_000;
const PER_POD = 20;
/** In all, a minute: the API server is not ours to fill. */
const PER_MINUTE = 300;

interface OfPod {
  /** Elapsed milliseconds. */
  readonly sinceMs: number;
  readonly told: Set<string>;
}

export type DenialEvents = (sender: Sender, row: RecordRow) => void;

export function createDenialEvents({ tell, clock }: { readonly tell: Tell; readonly clock: Clock }): DenialEvents {
  const pods = new Lru<string, OfPod>(PODS);
  let minute = { sinceMs: 0, told: 0 };

  /** Whether there is room for one more. */
  function fits(now: number): boolean {
    if (now - minute.sinceMs >= 60_000) minute = { sinceMs: now, told: 0 };
    return minute.told++ < PER_MINUTE;
  }

  return ({ claims }, row) => {
    // Of another cluster: its pods are not here.
    if (claims === null || claims.cluster?.own === false) return;
    const now = clock.elapsedMs();
    let known = pods.get(claims.uid);
    if (known === undefined || now - known.sinceMs >= HOUR_MS) {
      known = { sinceMs: now, told: new Set() };
      pods.set(claims.uid, known);
    }
    const { told } = known;
    const key = `${row.target ?? row.host ?? ""}\0${row.code ?? ""}`;
    if (told.has(key) || told.size > PER_POD || !fits(now)) return;
    told.add(key);
    const about = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { namespace: claims.namespace, name: claims.pod, uid: claims.uid },
    };
    const message =
      told.size > PER_POD
        ? `more was denied within this hour: sidegate audit query -n ${claims.namespace} --pod ${claims.pod} --verdict deny`
        : messageOf(row, claims.namespace);
    tell({ about, type: "Warning", reason: "Denied", message });
  };
}

function messageOf(row: RecordRow, namespace: string): string {
  const core = parse(row.core) ?? {};
  const decision = object(core["decision"]);
  const operation = describeOperation({ ...object(core["pre"]), protocol: core["protocol"], action: core["action"] });
  const policies = Array.isArray(decision["policies"]) ? decision["policies"].map(String).join(", ") : "";
  const rule = text(decision["rule"]);
  const by = policies === "" ? "" : ` by policy ${policies}${rule === null ? "" : ` (${rule})`}`;
  return `${operation}: ${row.code ?? "denied"}${by}; sidegate why ${row.boot}-${row.seq} -n ${namespace}`;
}
