/** Connections, bytes, upstreams, and the record on its way out of the pod. */
import { type Dashboard, IN_NAMESPACE } from "./dashboard.ts";

const rate = (metric: string, by: string): string =>
  `sum by (${by}) (rate(${metric}{${IN_NAMESPACE}}[$__rate_interval]))`;

export const DATA_PATH: Dashboard = {
  file: "data-path",
  title: "Data path",
  about: "Connections, bytes and upstreams of the sidecars, and the record on its way out of the pod.",
  rows: [
    {
      title: "Connections",
      panels: [
        {
          title: "Open connections",
          about: "The agents'.",
          kind: "lines",
          unit: "short",
          queries: [
            { expr: `sum by (leg) (sidegate_open_connections{${IN_NAMESPACE}})`, legend: "{{leg}}", always: true },
          ],
        },
        {
          title: "Ends of connections",
          about: "By the stage that they reached, and how that ended.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: rate("sidegate_connections_total", "stage, outcome"),
              legend: "{{stage}} {{outcome}}",
              always: true,
            },
          ],
        },
        {
          title: "Bytes",
          about: "up: to the upstreams.",
          kind: "lines",
          unit: "Bps",
          queries: [
            { expr: rate("sidegate_transferred_bytes_total", "direction"), legend: "{{direction}}", always: true },
          ],
        },
        {
          title: "TLS handshakes with agents",
          about: "tls-untrusted-by-agent: a client with authorities of its own.",
          kind: "lines",
          unit: "ops",
          queries: [{ expr: rate("sidegate_tls_handshakes_total", "outcome"), legend: "{{outcome}}" }],
        },
        {
          title: "Rejected packets",
          about: "What the kernel's rules turned away: UDP, QUIC, other protocols.",
          kind: "lines",
          unit: "ops",
          queries: [{ expr: rate("sidegate_rejected_packets_total", "family"), legend: "{{family}}", always: true }],
        },
      ],
    },
    {
      title: "Upstreams",
      panels: [
        {
          title: "Upstream connections",
          about: "New, or from the pool.",
          kind: "lines",
          unit: "ops",
          queries: [{ expr: rate("sidegate_upstream_dials_total", "from"), legend: "{{from}}", always: true }],
        },
        {
          title: "Upstream faults",
          about: "Not resolved, not reached, not trusted, malformed.",
          kind: "lines",
          unit: "ops",
          queries: [{ expr: rate("sidegate_upstream_faults_total", "fault"), legend: "{{fault}}" }],
        },
      ],
    },
    {
      title: "The record, on its way",
      panels: [
        {
          title: "Seconds until a spool is full",
          about: "The ten with least. Under ten minutes an alert; full: denied. Infinite: it does not grow.",
          kind: "lines",
          unit: "s",
          queries: [
            {
              expr: `bottomk(10, sidegate_spool_seconds_left{${IN_NAMESPACE}})`,
              legend: "{{namespace}}/{{pod}}",
              always: true,
            },
          ],
        },
        {
          title: "Spool, of its limit",
          about: "The ten fullest.",
          kind: "lines",
          unit: "percentunit",
          queries: [
            {
              expr: `topk(10, sidegate_spool_bytes{${IN_NAMESPACE}} / sidegate_spool_limit_bytes{${IN_NAMESPACE}})`,
              legend: "{{namespace}}/{{pod}}",
              always: true,
            },
          ],
        },
        {
          title: "Not acknowledged yet",
          about: "Age of the oldest line, the ten oldest. Beyond 30 s what is not a read waits.",
          kind: "lines",
          unit: "s",
          queries: [
            {
              expr: `topk(10, sidegate_audit_lag_seconds{${IN_NAMESPACE}})`,
              legend: "{{namespace}}/{{pod}}",
              always: true,
            },
          ],
        },
        {
          title: "Lines and batches",
          about: "Lines written, repeats counted on a line, batches sent by outcome.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: `sum(rate(sidegate_audit_written_records_total{${IN_NAMESPACE}}[$__rate_interval]))`,
              legend: "lines",
              always: true,
            },
            {
              expr: `sum(rate(sidegate_audit_folded_records_total{${IN_NAMESPACE}}[$__rate_interval]))`,
              legend: "folded",
              always: true,
            },
            { expr: rate("sidegate_audit_shipments_total", "outcome"), legend: "batches {{outcome}}", always: true },
          ],
        },
        {
          title: "Denied or unrecorded for want of a record",
          about: "audit_…: denied; unrecorded: went on all the same, where audit.onFull says so. 0 is good.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: `sum by (code) (rate(sidegate_operations_total{${IN_NAMESPACE},code=~"audit_.+"}[$__rate_interval]))`,
              legend: "{{code}}",
            },
            {
              expr: `sum(rate(sidegate_audit_unrecorded_total{${IN_NAMESPACE}}[$__rate_interval]))`,
              legend: "unrecorded",
              always: true,
            },
          ],
        },
      ],
    },
  ],
};
