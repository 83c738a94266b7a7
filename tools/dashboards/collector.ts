/** The record where it is kept: what comes in, how much room is left, whether it verifies, who reads it. */
import type { Dashboard } from "./dashboard.ts";

export const COLLECTOR: Dashboard = {
  file: "collector",
  title: "Collector",
  about: "The record where it is kept: what comes in, how much room is left, whether it verifies, and who reads it.",
  rows: [
    {
      title: "Now",
      panels: [
        {
          title: "Takes records",
          about: "1 is good.",
          kind: "number",
          unit: "short",
          queries: [{ expr: "max(sidegate_collector_ready)", legend: "ready", always: true }],
        },
        {
          title: "Volume full in",
          about: "At the rate of the last hour. Infinite: it does not grow.",
          kind: "number",
          unit: "s",
          queries: [{ expr: "min(sidegate_collector_disk_left_seconds)", legend: "left", always: true }],
        },
        {
          title: "Verified",
          about: "1: the last verification found nothing.",
          kind: "number",
          unit: "short",
          queries: [{ expr: "min(sidegate_collector_verified)", legend: "verified", always: true }],
        },
        {
          title: "Sidecars without their last record",
          about: "Nodes or pods that were lost, or killed. 0 is good.",
          kind: "number",
          unit: "short",
          queries: [{ expr: 'max(sidegate_collector_senders{state="missing"})', legend: "missing", always: true }],
        },
      ],
    },
    {
      title: "Coming in",
      panels: [
        {
          title: "Records stored",
          about: "A second.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: "sum(rate(sidegate_collector_stored_records_total[$__rate_interval]))",
              legend: "records",
              always: true,
            },
          ],
        },
        {
          title: "Bytes received",
          about: "A second.",
          kind: "lines",
          unit: "Bps",
          queries: [
            {
              expr: "sum(rate(sidegate_collector_received_bytes_total[$__rate_interval]))",
              legend: "bytes",
              always: true,
            },
          ],
        },
        {
          title: "Batches by outcome",
          about: "full and failed are kept by their senders and come again.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: "sum by (outcome) (rate(sidegate_collector_batches_total[$__rate_interval]))",
              legend: "{{outcome}}",
              always: true,
            },
          ],
        },
        {
          title: "Time to store, and age when stored",
          about: "99 of 100 are faster; younger.",
          kind: "lines",
          unit: "s",
          queries: [
            {
              expr: "histogram_quantile(0.99, sum by (le) (rate(sidegate_collector_store_duration_seconds_bucket[$__rate_interval])))",
              legend: "to store",
              always: true,
            },
            {
              expr: "histogram_quantile(0.99, sum by (le) (rate(sidegate_collector_ingest_lag_seconds_bucket[$__rate_interval])))",
              legend: "age",
              always: true,
            },
          ],
        },
        {
          title: "Sidecars",
          about: "running: a sign of life in the last 90 s.",
          kind: "lines",
          unit: "short",
          queries: [{ expr: "max by (state) (sidegate_collector_senders)", legend: "{{state}}", always: true }],
        },
        {
          title: "Findings",
          about: "Faults in what senders sent. 0 is good.",
          kind: "lines",
          unit: "short",
          queries: [
            {
              expr: "sum by (finding) (increase(sidegate_collector_findings_total[$__rate_interval]))",
              legend: "{{finding}}",
            },
          ],
        },
      ],
    },
    {
      title: "Kept",
      panels: [
        {
          title: "Room",
          about: "What the store has, and what it may have.",
          kind: "lines",
          unit: "bytes",
          queries: [
            { expr: "sum(sidegate_collector_disk_used_bytes)", legend: "used", always: true },
            { expr: "sum(sidegate_collector_disk_limit_bytes)", legend: "limit", always: true },
          ],
        },
        {
          title: "Records kept, and removed",
          about: "removed: by retention, an hour, by reason.",
          kind: "lines",
          unit: "short",
          queries: [
            { expr: "sum(sidegate_collector_log_records)", legend: "kept", always: true },
            {
              expr: "sum by (reason) (increase(sidegate_collector_removed_records_total[1h]))",
              legend: "removed: {{reason}}",
            },
          ],
        },
        {
          title: "Oldest record",
          about: "How long ago it was written. Looked at every 30 s.",
          kind: "lines",
          unit: "s",
          queries: [
            {
              expr: "time() - min(sidegate_collector_oldest_record_timestamp_seconds > 0)",
              legend: "age",
            },
          ],
        },
        {
          title: "Verification",
          about: "Findings of the last one, and how long ago it was.",
          kind: "table",
          unit: "short",
          queries: [
            { expr: "max by (kind) (sidegate_collector_verify_findings)", legend: "" },
            { expr: "time() - max(sidegate_collector_verify_timestamp_seconds > 0)", legend: "" },
          ],
        },
        {
          title: "Legal holds",
          about: "Namespaces of which nothing is removed.",
          kind: "number",
          unit: "short",
          queries: [{ expr: "max(sidegate_collector_legal_holds)", legend: "namespaces", always: true }],
        },
      ],
    },
    {
      title: "Readers and faults",
      panels: [
        {
          title: "Questions of readers",
          about: "denied: not allowed to read that namespace. Each is on record itself.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: "sum by (outcome) (rate(sidegate_collector_reads_total[$__rate_interval]))",
              legend: "{{outcome}}",
            },
          ],
        },
        {
          title: "Faults",
          about: "By where; each is in its log.",
          kind: "lines",
          unit: "ops",
          queries: [
            { expr: "sum by (where) (rate(sidegate_collector_faults_total[$__rate_interval]))", legend: "{{where}}" },
          ],
        },
      ],
    },
  ],
};
