/** Webhook, controller and certificates: how pods come to have a gateway, and how policies come to them. */
import type { Dashboard } from "./dashboard.ts";

export const INJECTOR: Dashboard = {
  file: "injector",
  title: "Injector and certificates",
  about: "How pods get their gateway and their policies: webhook, controller, certificates, and what was restored.",
  rows: [
    {
      title: "Now",
      panels: [
        {
          title: "Leader",
          about: "1 is good.",
          kind: "number",
          unit: "short",
          queries: [{ expr: "sum(sidegate_leader)", legend: "leaders", always: true }],
        },
        {
          title: "First certificate ends in",
          about: "Managed ones are renewed 30 days before.",
          kind: "number",
          unit: "s",
          queries: [
            {
              expr: "min(sidegate_certificate_expiry_seconds or sidegate_controller_certificate_expiry_seconds or sidegate_collector_certificate_expiry_seconds > 0) - time()",
              legend: "left",
              always: true,
            },
          ],
        },
        {
          title: "Restored in the last day",
          about: "Admission objects of ours that somebody changed or deleted. Each is worth a look.",
          kind: "number",
          unit: "short",
          queries: [
            { expr: "sum(increase(sidegate_guard_restored_total[1d])) or vector(0)", legend: "objects", always: true },
          ],
        },
        {
          title: "Sidecars that wait for changes",
          about: "Long polls at the bundle servers.",
          kind: "number",
          unit: "short",
          queries: [{ expr: "sum(sidegate_bundle_waiting)", legend: "waiting", always: true }],
        },
      ],
    },
    {
      title: "Reviews",
      panels: [
        {
          title: "Reviews by outcome",
          about: "failed: a fault of ours, answered with a refusal.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: "sum by (path, outcome) (rate(sidegate_admission_reviews_total[$__rate_interval]))",
              legend: "{{path}} {{outcome}}",
              always: true,
            },
          ],
        },
        {
          title: "Time of a review",
          about: "99 of 100 are faster. The API server waits for webhook.timeoutSeconds.",
          kind: "lines",
          unit: "s",
          queries: [
            {
              expr: "histogram_quantile(0.99, sum by (le, path) (rate(sidegate_admission_duration_seconds_bucket[$__rate_interval])))",
              legend: "{{path}}",
              always: true,
            },
          ],
        },
        {
          title: "Why pods were refused",
          about: "By the first field that spoke against it.",
          kind: "table",
          unit: "short",
          queries: [
            {
              expr: 'topk(20, sum by (path, reason) (increase(sidegate_admission_reviews_total{outcome="denied"}[$__range])))',
              legend: "",
            },
          ],
        },
        {
          title: "Calls that the API server lost",
          about: "As the API server counts them: nobody answered. 0 is good.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: 'sum by (name, error_type) (rate(apiserver_admission_webhook_rejection_count{name=~".+[.]sidegate[.]dev",error_type!="no_error"}[$__rate_interval]))',
              legend: "{{name}} {{error_type}}",
            },
          ],
        },
      ],
    },
    {
      title: "Policies to bundles",
      panels: [
        {
          title: "Policies",
          about: "By kind, and whether they are ready.",
          kind: "lines",
          unit: "short",
          queries: [{ expr: "max by (kind, ready) (sidegate_policies)", legend: "{{kind}} {{ready}}", always: true }],
        },
        {
          title: "Pods and sets of policies",
          about: "Pods with a gateway, by whether there is a bundle for them; distinct sets of policies.",
          kind: "lines",
          unit: "short",
          queries: [
            { expr: "max by (bundle) (sidegate_pods)", legend: "pods, bundle: {{bundle}}", always: true },
            { expr: "max(sidegate_policy_sets)", legend: "sets", always: true },
          ],
        },
        {
          title: "Finding out, and compiling",
          about: "99 of 100 are faster: what each pod is to be given, and making one set.",
          kind: "lines",
          unit: "s",
          queries: [
            {
              expr: "histogram_quantile(0.99, sum by (le) (rate(sidegate_reconcile_duration_seconds_bucket[$__rate_interval])))",
              legend: "reconcile",
              always: true,
            },
            {
              expr: "histogram_quantile(0.99, sum by (le) (rate(sidegate_compile_duration_seconds_bucket[$__rate_interval])))",
              legend: "compile",
            },
          ],
        },
        {
          title: "Bundles served",
          about: "By status: 200 a new one, 304 nothing new, 401 and 403 refused.",
          kind: "lines",
          unit: "ops",
          queries: [
            { expr: "sum by (status) (rate(sidegate_bundle_answers_total[$__rate_interval]))", legend: "{{status}}" },
          ],
        },
        {
          title: "Faults of the controller",
          about: "By where; each is in its log.",
          kind: "lines",
          unit: "ops",
          queries: [
            { expr: "sum by (where) (rate(sidegate_controller_faults_total[$__rate_interval]))", legend: "{{where}}" },
          ],
        },
        {
          title: "Memory of the control plane",
          about: "Resident, each process.",
          kind: "lines",
          unit: "bytes",
          queries: [
            {
              expr: "process_resident_memory_bytes * on (instance) group_left (process) sidegate_control_build_info",
              legend: "{{process}} {{instance}}",
              always: true,
            },
          ],
        },
      ],
    },
  ],
};
