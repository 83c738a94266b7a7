/** What agents ask for, what is decided, and how long deciding takes. */
import { type Dashboard, IN_NAMESPACE } from "./dashboard.ts";

const operations = (more = ""): string => `sidegate_operations_total{${IN_NAMESPACE}${more}}`;

export const DECISIONS: Dashboard = {
  file: "decisions",
  title: "Decisions",
  about: "What agents ask for, what policy says, and how long it takes to say it.",
  rows: [
    {
      title: "Verdicts",
      panels: [
        {
          title: "Operations by verdict",
          about: "A second, of all protocols.",
          kind: "lines",
          unit: "ops",
          queries: [
            { expr: `sum by (verdict) (rate(${operations()}[$__rate_interval]))`, legend: "{{verdict}}", always: true },
          ],
        },
        {
          title: "Operations by protocol",
          about: "A second.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: `sum by (protocol) (rate(${operations()}[$__rate_interval]))`,
              legend: "{{protocol}}",
              always: true,
            },
          ],
        },
        {
          title: "Denials by code",
          about:
            "`policy` stands for all codes that policies bring; the others are ours, and `sidegate why ID` explains one.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: `sum by (code) (rate(${operations(',verdict="deny"')}[$__rate_interval]))`,
              legend: "{{code}}",
              always: true,
            },
          ],
        },
        {
          title: "Denials by namespace",
          about: "The ten with most. A jump: a wrong policy, a new release, or an agent that was taken over.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: `topk(10, sum by (namespace) (rate(${operations(',verdict="deny"')}[$__rate_interval])))`,
              legend: "{{namespace}}",
              always: true,
            },
          ],
        },
        {
          title: "Would be denied",
          about: "In observe mode: what enforcing would deny.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: `sum by (namespace) (rate(${operations(',code="would"')}[$__rate_interval]))`,
              legend: "{{namespace}}",
            },
          ],
        },
        {
          title: "Held for a person",
          about: "Operations that wait for an approval.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: `sum by (namespace) (rate(${operations(',verdict="hold"')}[$__rate_interval]))`,
              legend: "{{namespace}}",
            },
          ],
        },
      ],
    },
    {
      title: "Deciding",
      panels: [
        {
          title: "Time of a decision",
          about: "From asking to the answer, evaluated or from the cache. Some 20 µs evaluated, a few from the cache.",
          kind: "lines",
          unit: "s",
          queries: (["0.5", "0.99"] as const).map((quantile) => ({
            expr: `histogram_quantile(${quantile}, sum by (le) (rate(sidegate_decision_duration_seconds_bucket{${IN_NAMESPACE}}[$__rate_interval])))`,
            legend: quantile,
            always: true as const,
          })),
        },
        {
          title: "Faults of policies",
          about: "Out of fuel, or an error while evaluating: denied. 0 is good.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: `sum by (namespace, code) (rate(${operations(',code=~"policy_error|policy_out_of_fuel"')}[$__rate_interval]))`,
              legend: "{{namespace}} {{code}}",
            },
          ],
        },
        {
          title: "Credentials that fail",
          about: "Cannot be had, nobody configured them, or not taken. 0 is good.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: `sum by (namespace, code) (rate(${operations(',code=~"credential_.+|foreign_credential"')}[$__rate_interval]))`,
              legend: "{{namespace}} {{code}}",
            },
          ],
        },
        {
          title: "Names asked of our resolver",
          about: "nxdomain: no target lists the name.",
          kind: "lines",
          unit: "ops",
          queries: [
            {
              expr: `sum by (answer) (rate(sidegate_dns_queries_total{${IN_NAMESPACE}}[$__rate_interval]))`,
              legend: "{{answer}}",
              always: true,
            },
          ],
        },
      ],
    },
  ],
};
