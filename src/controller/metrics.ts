/** Every metric of the controller, in one place. No label carries a word of an author's. */
import type { Distribution, Metric, MetricSpec, Registry, Series } from "#process/metrics.ts";

export const CONTROLLER_METRICS = {
  bundleAnswers: {
    name: "sidegate_bundle_answers_total",
    type: "counter",
    help: "Requests for bundles answered, by status.",
    labels: ["status"],
    maxSeries: 16,
  },
  bundleWaiting: {
    name: "sidegate_bundle_waiting",
    type: "gauge",
    help: "Sidecars that wait in a long poll here.",
    labels: [],
    maxSeries: 1,
  },
  credentials: {
    name: "sidegate_credential_requests_total",
    type: "counter",
    help: "Requests of sidecars for credentials, by what came of them: given, or why not.",
    labels: ["outcome"],
    maxSeries: 24,
  },
  pods: {
    name: "sidegate_pods",
    type: "gauge",
    help: "Running pods with a gateway, by whether there is a bundle for them.",
    labels: ["bundle"],
    maxSeries: 2,
  },
  sets: {
    name: "sidegate_policy_sets",
    type: "gauge",
    help: "Distinct sets of policies that running pods have.",
    labels: [],
    maxSeries: 1,
  },
  policies: {
    name: "sidegate_policies",
    type: "gauge",
    help: "Policies, by the Ready condition that the leader last saw.",
    labels: ["kind", "ready"],
    maxSeries: 6,
  },
  reconcile: {
    name: "sidegate_reconcile_duration_seconds",
    type: "histogram",
    unit: "seconds",
    help: "Finding out what each pod is to be given.",
    labels: [],
    maxSeries: 1,
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
  },
  compile: {
    name: "sidegate_compile_duration_seconds",
    type: "histogram",
    unit: "seconds",
    help: "Checking, testing and building one set of policies.",
    labels: [],
    maxSeries: 1,
    buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  },
  leading: {
    name: "sidegate_leader",
    type: "gauge",
    help: "1 while this replica leads.",
    labels: [],
    maxSeries: 1,
  },
  restored: {
    name: "sidegate_guard_restored_total",
    type: "counter",
    help: "Admission objects of ours that were changed or deleted by somebody, and put right.",
    labels: ["kind", "how"],
    maxSeries: 8,
  },
  drifted: {
    name: "sidegate_drifted_pods",
    type: "gauge",
    help: "Running pods that should have a gateway and do not have it as it is injected, by what is wrong.",
    labels: ["what"],
    maxSeries: 2,
  },
  observing: {
    name: "sidegate_observing_namespaces",
    type: "gauge",
    help: "Namespaces in observe mode: what policy would deny goes on there.",
    labels: [],
    maxSeries: 1,
  },
  observeEnd: {
    name: "sidegate_observe_end_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    help: "When the first of them is enforced again, in Unix time; 0: none is in observe mode.",
    labels: [],
    maxSeries: 1,
  },
  freezes: {
    name: "sidegate_freezes",
    type: "gauge",
    help: "Freezes in force, by scope: pod, namespace or all.",
    labels: ["scope"],
    maxSeries: 3,
  },
  frozenPods: {
    name: "sidegate_frozen_pods",
    type: "gauge",
    help: "Running pods with a gateway that are frozen.",
    labels: [],
    maxSeries: 1,
  },
  exemptPods: {
    name: "sidegate_exempt_pods",
    type: "gauge",
    help: "Running pods without a gateway because an exemption is in force.",
    labels: [],
    maxSeries: 1,
  },
  exemptions: {
    name: "sidegate_exemptions",
    type: "gauge",
    help: "Exemptions in the chart's values, by whether their last day has passed.",
    labels: ["state"],
    maxSeries: 2,
  },
  certificate: {
    name: "sidegate_controller_certificate_expiry_seconds",
    type: "gauge",
    unit: "seconds",
    help: "When the serving certificate ends, in Unix time.",
    labels: [],
    maxSeries: 1,
  },
  faults: {
    name: "sidegate_controller_faults_total",
    type: "counter",
    help: "Faults of the controller's work, by where; each is in its log.",
    labels: ["where"],
    maxSeries: 32,
  },
} as const satisfies Record<string, MetricSpec>;

type Kinds = typeof CONTROLLER_METRICS;
export type ControllerMetrics = {
  readonly [K in keyof Kinds]: Kinds[K]["type"] extends "histogram" ? Metric<Distribution> : Metric<Series>;
};

export function declareControllerMetrics(registry: Registry): ControllerMetrics {
  const declared = Object.entries(CONTROLLER_METRICS as Record<string, MetricSpec>).map(([key, spec]) => [
    key,
    spec.type === "counter"
      ? registry.counter(spec)
      : spec.type === "gauge"
        ? registry.gauge(spec)
        : registry.histogram(spec),
  ]);
  return Object.fromEntries(declared) as ControllerMetrics;
}
