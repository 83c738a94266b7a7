/** Every metric of the collector, in one place. No label carries a pod, a namespace or a word of a sender's. */
import type { Distribution, Metric, MetricSpec, Registry, Series } from "#process/metrics.ts";

export const COLLECTOR_METRICS = {
  ready: {
    name: "sidegate_collector_ready",
    type: "gauge",
    help: "1 while records are taken.",
    labels: [],
    maxSeries: 1,
  },
  records: {
    name: "sidegate_collector_stored_records_total",
    type: "counter",
    unit: "records",
    help: "Lines stored durably since the start.",
    labels: [],
    maxSeries: 1,
  },
  bytes: {
    name: "sidegate_collector_received_bytes_total",
    type: "counter",
    unit: "bytes",
    help: "Bytes of batches received since the start.",
    labels: [],
    maxSeries: 1,
  },
  batches: {
    name: "sidegate_collector_batches_total",
    type: "counter",
    help: "Batches answered, by outcome: stored, repeated (all of it was there), refused (who sends may not), limited (one sender had too many under way), full (the volume has no room), failed.",
    labels: ["outcome"],
    maxSeries: 6,
  },
  findings: {
    name: "sidegate_collector_findings_total",
    type: "counter",
    help: "Faults seen in what senders sent: chain, gap, detail, malformed, incomplete.",
    labels: ["finding"],
    maxSeries: 5,
  },
  store: {
    name: "sidegate_collector_store_duration_seconds",
    type: "histogram",
    unit: "seconds",
    help: "From a whole batch to its durable storing, waiting for its turn included.",
    labels: [],
    maxSeries: 1,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
  },
  lag: {
    name: "sidegate_collector_ingest_lag_seconds",
    type: "histogram",
    unit: "seconds",
    help: "How old a batch's newest line was when it was stored, by the sender's clock and ours.",
    labels: [],
    maxSeries: 1,
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 5, 15, 30, 60, 300, 3600],
  },
  kept: {
    name: "sidegate_collector_log_records",
    type: "gauge",
    unit: "records",
    help: "Lines that are kept now.",
    labels: [],
    maxSeries: 1,
  },
  oldest: {
    name: "sidegate_collector_oldest_record_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    help: "When the oldest line that is kept was written, in Unix time; 0: there is none.",
    labels: [],
    maxSeries: 1,
  },
  diskUsed: {
    name: "sidegate_collector_disk_used_bytes",
    type: "gauge",
    unit: "bytes",
    help: "Size of the store's files.",
    labels: [],
    maxSeries: 1,
  },
  diskLimit: {
    name: "sidegate_collector_disk_limit_bytes",
    type: "gauge",
    unit: "bytes",
    help: "Size that the store may have: the configured bound, or what it has and the volume has left.",
    labels: [],
    maxSeries: 1,
  },
  secondsLeft: {
    name: "sidegate_collector_disk_left_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Time until the volume is full at the rate of the last hour; +Inf: it does not grow.",
    labels: [],
    maxSeries: 1,
  },
  full: {
    name: "sidegate_collector_full",
    type: "gauge",
    help: "1 while batches are turned away because the volume has no room.",
    labels: [],
    maxSeries: 1,
  },
  senders: {
    name: "sidegate_collector_senders",
    type: "gauge",
    help: "Sidecars, by state: running (a sign of life in the last 90 s), missing (silent without their last line, and not accepted).",
    labels: ["state"],
    maxSeries: 2,
  },
  verified: {
    name: "sidegate_collector_verified",
    type: "gauge",
    help: "1: the last verification of the whole record found nothing. 0: it found something, or there was none yet (its timestamp is 0 then).",
    labels: [],
    maxSeries: 1,
  },
  verifyFindings: {
    name: "sidegate_collector_verify_findings",
    type: "gauge",
    help: "What the last verification found: tail (something has no end on record) or other (something was changed or is missing).",
    labels: ["kind"],
    maxSeries: 2,
  },
  verifiedAt: {
    name: "sidegate_collector_verify_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    help: "When the last verification ended, in Unix time.",
    labels: [],
    maxSeries: 1,
  },
  reads: {
    name: "sidegate_collector_reads_total",
    type: "counter",
    help: "Questions of readers, by outcome: answered, denied (not allowed to read that namespace), unknown (no valid token), invalid, failed.",
    labels: ["outcome"],
    maxSeries: 5,
  },
  removed: {
    name: "sidegate_collector_removed_records_total",
    type: "counter",
    unit: "records",
    help: "Lines that retention removed, by reason: age or size.",
    labels: ["reason"],
    maxSeries: 2,
  },
  held: {
    name: "sidegate_collector_legal_holds",
    type: "gauge",
    help: "Namespaces under legal hold: nothing of theirs is removed.",
    labels: [],
    maxSeries: 1,
  },
  retainedAt: {
    name: "sidegate_collector_retention_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    help: "When retention last ended without a fault, in Unix time.",
    labels: [],
    maxSeries: 1,
  },
  certificate: {
    name: "sidegate_collector_certificate_expiry_seconds",
    type: "gauge",
    unit: "seconds",
    help: "When the serving certificate ends, in Unix time.",
    labels: [],
    maxSeries: 1,
  },
  reloads: {
    name: "sidegate_collector_reloads_total",
    type: "counter",
    help: "Files read anew, by what and outcome: certificate, keys or retention; taken or refused.",
    labels: ["what", "outcome"],
    maxSeries: 6,
  },
  faults: {
    name: "sidegate_collector_faults_total",
    type: "counter",
    help: "Faults of the collector's work, by where; each is in its log.",
    labels: ["where"],
    maxSeries: 16,
  },
} as const satisfies Record<string, MetricSpec>;

type Kinds = typeof COLLECTOR_METRICS;
export type CollectorMetrics = {
  readonly [K in keyof Kinds]: Kinds[K]["type"] extends "histogram" ? Metric<Distribution> : Metric<Series>;
};

export function declareCollectorMetrics(registry: Registry): CollectorMetrics {
  const declared = Object.entries(COLLECTOR_METRICS as Record<string, MetricSpec>).map(([key, spec]) => [
    key,
    spec.type === "counter"
      ? registry.counter(spec)
      : spec.type === "gauge"
        ? registry.gauge(spec)
        : registry.histogram(spec),
  ]);
  return Object.fromEntries(declared) as CollectorMetrics;
}
