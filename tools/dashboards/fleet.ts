/** Which agents have a gateway, of which version, under which policy; and what it costs. */
import { type Dashboard, IN_NAMESPACE } from "./dashboard.ts";

export const FLEET: Dashboard = {
  file: "fleet",
  title: "Fleet",
  about:
    "Which agents have a gateway, of which version, under which policy; what is not as it should be; what it costs.",
  rows: [
    {
      title: "Now",
      panels: [
        {
          title: "Sidecars that are ready",
          about: "Of those that are scraped.",
          kind: "number",
          unit: "short",
          queries: [{ expr: `sum(sidegate_ready{${IN_NAMESPACE}})`, legend: "ready", always: true }],
        },
        {
          title: "Without a bundle",
          about: "Everything of these is denied. 0 is good.",
          kind: "number",
          unit: "short",
          queries: [
            {
              expr: `count(sidegate_tier_info{${IN_NAMESPACE}} unless on (instance) sidegate_policy_info) or vector(0)`,
              legend: "pods",
              always: true,
            },
          ],
        },
        {
          title: "Outside the gate, or changed",
          about: "Running pods that should have a gateway and do not have it as it is injected. 0 is good.",
          kind: "number",
          unit: "short",
          queries: [
            {
              expr: "sum by (what) (sidegate_drifted_pods and on (instance) sidegate_leader == 1)",
              legend: "{{what}}",
              always: true,
            },
          ],
        },
        {
          title: "Frozen pods",
          about: "They reach nothing until somebody lifts it.",
          kind: "number",
          unit: "short",
          queries: [{ expr: "max(sidegate_frozen_pods)", legend: "frozen", always: true }],
        },
        {
          title: "Namespaces that only observe",
          about: "What policy would deny goes on there.",
          kind: "number",
          unit: "short",
          queries: [{ expr: "max(sidegate_observing_namespaces)", legend: "observing", always: true }],
        },
        {
          title: "First of them is enforced in",
          about: "Empty: none observes.",
          kind: "number",
          unit: "s",
          queries: [{ expr: "min(sidegate_observe_end_timestamp_seconds > 0) - time()", legend: "left" }],
        },
        {
          title: "Policies that are not ready",
          about: "What was in force before stays in force. 0 is good.",
          kind: "number",
          unit: "short",
          queries: [{ expr: 'sum(sidegate_policies{ready!="True"}) or vector(0)', legend: "not ready", always: true }],
        },
        {
          title: "Clients that trust nothing of ours",
          about: "TLS handshakes in the last ten minutes that failed because the client has authorities of its own.",
          kind: "number",
          unit: "short",
          queries: [
            {
              expr: `sum(increase(sidegate_tls_handshakes_total{${IN_NAMESPACE},outcome="tls-untrusted-by-agent"}[10m])) or vector(0)`,
              legend: "handshakes",
              always: true,
            },
          ],
        },
      ],
    },
    {
      title: "Versions, tiers, policies",
      panels: [
        {
          title: "Versions",
          about:
            "Sidecars by version; the control plane's beside them. Others than the control plane's need a rollout.",
          kind: "table",
          unit: "short",
          queries: [
            { expr: `count by (version, node) (sidegate_build_info{${IN_NAMESPACE}})`, legend: "", always: true },
            { expr: "count by (process, version, node) (sidegate_control_build_info)", legend: "", always: true },
          ],
        },
        {
          title: "Tiers and modes",
          about: "advisory: something is open, and named in the record.",
          kind: "table",
          unit: "short",
          queries: [
            { expr: `count by (namespace, tier) (sidegate_tier_info{${IN_NAMESPACE}})`, legend: "", always: true },
            { expr: `count by (namespace, mode) (sidegate_policy_info{${IN_NAMESPACE}})`, legend: "", always: true },
          ],
        },
        {
          title: "Bundles offered",
          about: "By what came of them. refused and unreachable are bad.",
          kind: "lines",
          unit: "short",
          queries: [
            {
              expr: `sum by (outcome) (increase(sidegate_policy_updates_total{${IN_NAMESPACE}}[$__rate_interval]))`,
              legend: "{{outcome}}",
              always: true,
            },
          ],
        },
        {
          title: "Age of the policy in force",
          about: "Oldest and youngest. After a change both fall within seconds.",
          kind: "lines",
          unit: "s",
          queries: [
            { expr: `max(sidegate_policy_age_seconds{${IN_NAMESPACE}})`, legend: "oldest", always: true },
            { expr: `min(sidegate_policy_age_seconds{${IN_NAMESPACE}})`, legend: "youngest", always: true },
          ],
        },
      ],
    },
    {
      title: "What it costs",
      panels: [
        {
          title: "Memory of the sidecars",
          about: "Resident. Beside the limit of injection.resources.sidecar.",
          kind: "lines",
          unit: "bytes",
          queries: [
            {
              expr: `topk(10, process_resident_memory_bytes{${IN_NAMESPACE}} and on (instance) sidegate_tier_info)`,
              legend: "{{namespace}}/{{pod}}",
              always: true,
            },
          ],
        },
        {
          title: "CPU of the sidecars",
          about: "Cores, the ten that use most.",
          kind: "lines",
          unit: "short",
          queries: [
            {
              expr: `topk(10, rate(process_cpu_seconds_total{${IN_NAMESPACE}}[$__rate_interval]) and on (instance) sidegate_tier_info)`,
              legend: "{{namespace}}/{{pod}}",
              always: true,
            },
          ],
        },
        {
          title: "Throttled",
          about: "Part of the periods in which a sidecar had to wait for CPU (cAdvisor).",
          kind: "lines",
          unit: "percentunit",
          queries: [
            {
              expr: `sum by (namespace, pod) (rate(container_cpu_cfs_throttled_periods_total{${IN_NAMESPACE},container="sidegate"}[$__rate_interval])) / sum by (namespace, pod) (rate(container_cpu_cfs_periods_total{${IN_NAMESPACE},container="sidegate"}[$__rate_interval]))`,
              legend: "{{namespace}}/{{pod}}",
            },
          ],
        },
        {
          title: "Longest block of the event loop",
          about: "Since the scrape before, the ten worst. 20 ms is the bound by design.",
          kind: "lines",
          unit: "s",
          queries: [
            {
              expr: `topk(10, sidegate_event_loop_max_delay_seconds{${IN_NAMESPACE}})`,
              legend: "{{namespace}}/{{pod}}",
              always: true,
            },
          ],
        },
      ],
    },
  ],
};
