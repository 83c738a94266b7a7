/**
 * Every metric of the sidecar, in one place: name, type, help, labels, and how many series each may have. Together at most 150
 * (a test), whatever the agent does and however many targets there are. No label carries a host, path, statement or name that an
 * agent chose.
 */
import type { Distribution, Metric, MetricSpec, Registry, Series } from "./metrics.ts";

/** 10 µs to 100 ms: a cached decision, one with 20 rules, one that was out of fuel. */
const DECISION_BUCKETS = [0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.02, 0.1] as const;

export const SIDECAR_METRICS = {
  build: {
    name: "sidegate_build_info",
    type: "gauge",
    help: "Always 1; which program and which Node.",
    labels: ["version", "node"],
    maxSeries: 1,
  },
  tier: {
    name: "sidegate_tier_info",
    type: "gauge",
    help: "Always 1; what this sidecar's isolation holds against.",
    labels: ["tier"],
    maxSeries: 1,
  },
  ready: { name: "sidegate_ready", type: "gauge", help: "1 when ready.", labels: [], maxSeries: 1 },
  connections: {
    name: "sidegate_connections_total",
    type: "counter",
    help: "Connections of the agent, by the last stage they reached and how that ended.",
    labels: ["stage", "outcome"],
    maxSeries: 16,
  },
  open: {
    name: "sidegate_open_connections",
    type: "gauge",
    help: "Connections open now: the agent's, and ours to upstreams.",
    labels: ["leg"],
    maxSeries: 2,
  },
  transferred: {
    name: "sidegate_transferred_bytes_total",
    type: "counter",
    unit: "bytes",
    help: "Bytes carried, up (to the upstream) and down.",
    labels: ["direction"],
    maxSeries: 2,
  },
  tlsHandshakes: {
    name: "sidegate_tls_handshakes_total",
    type: "counter",
    help: "TLS handshakes with the agent. tls-untrusted-by-agent: its client does not trust the pod's authority.",
    labels: ["outcome"],
    maxSeries: 5,
  },
  operations: {
    name: "sidegate_operations_total",
    type: "counter",
    help: "Operations judged, by protocol, verdict and code.",
    labels: ["protocol", "verdict", "code"],
    maxSeries: 39,
  },
  decisionSeconds: {
    name: "sidegate_decision_duration_seconds",
    type: "histogram",
    unit: "seconds",
    help: "Time from asking the judge to its answer, evaluated or from the cache.",
    labels: [],
    maxSeries: 1,
    buckets: DECISION_BUCKETS,
  },
  policy: {
    name: "sidegate_policy_info",
    type: "gauge",
    help: "Always 1; the revision and mode of the bundle in force. Absent: no bundle, everything is denied.",
    labels: ["revision", "mode"],
    maxSeries: 1,
  },
  policyAge: {
    name: "sidegate_policy_age_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Time since the bundle in force was loaded.",
    labels: [],
    maxSeries: 1,
  },
  policyUpdates: {
    name: "sidegate_policy_updates_total",
    type: "counter",
    help: "Bundles offered, by what came of them.",
    labels: ["outcome"],
    maxSeries: 6,
  },
  targets: { name: "sidegate_targets", type: "gauge", help: "Targets in force.", labels: [], maxSeries: 1 },
  auditRecords: {
    name: "sidegate_audit_written_records_total",
    type: "counter",
    unit: "records",
    help: "Lines of the record written to the spool.",
    labels: [],
    maxSeries: 1,
  },
  auditFolded: {
    name: "sidegate_audit_folded_records_total",
    type: "counter",
    unit: "records",
    help: "Repeats that were counted on a line instead of having their own.",
    labels: [],
    maxSeries: 1,
  },
  auditLagRecords: {
    name: "sidegate_audit_lag_records",
    type: "gauge",
    unit: "records",
    help: "Lines that the collector has not acknowledged.",
    labels: [],
    maxSeries: 1,
  },
  auditLagSeconds: {
    name: "sidegate_audit_lag_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Age of the oldest line that the collector has not acknowledged.",
    labels: [],
    maxSeries: 1,
  },
  spoolBytes: {
    name: "sidegate_spool_bytes",
    type: "gauge",
    unit: "bytes",
    help: "Size of the spool.",
    labels: [],
    maxSeries: 1,
  },
  spoolLimit: {
    name: "sidegate_spool_limit_bytes",
    type: "gauge",
    unit: "bytes",
    help: "Size at which the spool is full and operations are refused.",
    labels: [],
    maxSeries: 1,
  },
  spoolSecondsLeft: {
    // The unit is not last, so it is not declared: the name is what runbooks know.
    name: "sidegate_spool_seconds_left",
    type: "gauge",
    help: "Seconds until the spool is full at the present rate; +Inf: it does not grow.",
    labels: [],
    maxSeries: 1,
  },
  auditUnrecorded: {
    name: "sidegate_audit_unrecorded_total",
    type: "counter",
    help: "Operations let through without a record, where the namespace's audit.onFull says so; each gap is counted in the record too.",
    labels: [],
    maxSeries: 1,
  },
  frozen: {
    name: "sidegate_frozen",
    type: "gauge",
    help: "1 while the pod is frozen: everything is denied until somebody lifts it.",
    labels: [],
    maxSeries: 1,
  },
  shipments: {
    name: "sidegate_audit_shipments_total",
    type: "counter",
    help: "Batches sent to the collector, by outcome.",
    labels: ["outcome"],
    maxSeries: 3,
  },
  upstreamDials: {
    name: "sidegate_upstream_dials_total",
    type: "counter",
    help: "Upstream connections asked for: new, or reused from the pool.",
    labels: ["from"],
    maxSeries: 2,
  },
  upstreamFaults: {
    name: "sidegate_upstream_faults_total",
    type: "counter",
    help: "Upstream connections that failed, by fault.",
    labels: ["fault"],
    maxSeries: 10,
  },
  dns: {
    name: "sidegate_dns_queries_total",
    type: "counter",
    help: "Queries to the gateway's resolver, by answer.",
    labels: ["answer"],
    maxSeries: 9,
  },
  rejected: {
    name: "sidegate_rejected_packets_total",
    type: "counter",
    help: "Packets that the kernel's rules rejected (ICMP destination unreachable sent).",
    labels: ["family"],
    maxSeries: 2,
  },
  loopDelay: {
    name: "sidegate_event_loop_max_delay_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Longest delay of the event loop since the last scrape.",
    labels: [],
    maxSeries: 1,
  },
  logDropped: {
    name: "sidegate_log_dropped_lines_total",
    type: "counter",
    help: "Lines of the log dropped because nobody read it.",
    labels: [],
    maxSeries: 1,
  },
  cpu: {
    name: "process_cpu_seconds_total",
    type: "counter",
    unit: "seconds",
    help: "CPU time, user and system.",
    labels: [],
    maxSeries: 1,
  },
  memory: {
    name: "process_resident_memory_bytes",
    type: "gauge",
    unit: "bytes",
    help: "Resident memory.",
    labels: [],
    maxSeries: 1,
  },
  started: {
    name: "process_start_time_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Start of the process, Unix time.",
    labels: [],
    maxSeries: 1,
  },
} as const satisfies Record<string, MetricSpec>;

type Specs = Readonly<Record<string, MetricSpec>>;
export type Registered<S extends Specs> = {
  readonly [K in keyof S]: Metric<S[K]["type"] extends "histogram" ? Distribution : Series>;
};
export type SidecarMetrics = Registered<typeof SIDECAR_METRICS>;

/** Makes the metrics of a catalogue; used as `metrics.connections.with("detected", "unknown").add(1)`. */
export function register<const S extends Specs>(registry: Registry, specs: S): Registered<S> {
  const made: Record<string, Metric<Series> | Metric<Distribution>> = {};
  for (const [key, spec] of Object.entries(specs))
    made[key] = spec.type === "histogram" ? registry.histogram(spec) : registry[spec.type](spec);
  return made as Registered<S>;
}
