/** Every metric of the webhook, in one place. No label carries a word of an author's. */
import type { MetricSpec } from "#process/metrics.ts";
import type { Registered } from "#process/register-metrics.ts";

export const WEBHOOK_METRICS = {
  reviews: {
    name: "sidegate_admission_reviews_total",
    type: "counter",
    help: "Admission reviews answered, by path, outcome and the first field that spoke against it.",
    labels: ["path", "outcome", "reason"],
    maxSeries: 100,
  },
  duration: {
    name: "sidegate_admission_duration_seconds",
    type: "histogram",
    unit: "seconds",
    help: "From the whole request to the answer.",
    labels: ["path"],
    maxSeries: 4,
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1],
  },
  certificate: {
    name: "sidegate_certificate_expiry_seconds",
    type: "gauge",
    unit: "seconds",
    help: "When the serving certificate ends, in Unix time.",
    labels: [],
    maxSeries: 1,
  },
  reloads: {
    name: "sidegate_webhook_reloads_total",
    type: "counter",
    help: "Exchanged files taken over or refused (certificate, options).",
    labels: ["what", "outcome"],
    maxSeries: 4,
  },
} as const satisfies Record<string, MetricSpec>;

export type WebhookMetrics = Registered<typeof WEBHOOK_METRICS>;
