/**
 * Of Prometheus Operator's three kinds, the fields that the chart uses, strictly: enough for an API server to refuse a misspelt one. From
 * the operator's API reference (monitoring.coreos.com/v1).
 */
const text = { type: "string" } as const;
const texts = { type: "object", additionalProperties: text } as const;
const list = (items: object): object => ({ type: "array", items });
const object = (properties: Readonly<Record<string, object>>, required: readonly string[] = []): object => ({
  type: "object",
  properties,
  ...(required.length > 0 && { required }),
});

const duration = { type: "string", pattern: "^(0|([0-9]+(ms|s|m|h|d|w|y))+)$" };
const selector = object({
  matchLabels: texts,
  matchExpressions: list({ type: "object", "x-kubernetes-preserve-unknown-fields": true }),
});
const relabelings = list(
  object({
    sourceLabels: list(text),
    separator: text,
    targetLabel: text,
    regex: text,
    replacement: text,
    action: { type: "string", enum: ["replace", "keep", "drop", "labelmap", "labeldrop", "labelkeep"] },
  }),
);
const scrape = {
  path: text,
  scheme: { type: "string", enum: ["http", "https"] },
  port: text,
  interval: duration,
  relabelings,
};
const key = object({ name: text, key: text, optional: { type: "boolean" } }, ["key"]);
const tlsConfig = object({
  serverName: text,
  insecureSkipVerify: { type: "boolean" },
  ca: object({ configMap: key, secret: key }),
});
const namespaceSelector = object({ any: { type: "boolean" }, matchNames: list(text) });

const KINDS = {
  ServiceMonitor: object({ selector, namespaceSelector, endpoints: list(object({ ...scrape, tlsConfig })) }, [
    "selector",
    "endpoints",
  ]),
  PodMonitor: object({ selector, namespaceSelector, podMetricsEndpoints: list(object(scrape)) }, ["selector"]),
  PrometheusRule: object({
    groups: list(
      object(
        {
          name: { type: "string", minLength: 1 },
          interval: duration,
          rules: list(
            object({ alert: text, record: text, expr: text, for: duration, labels: texts, annotations: texts }, [
              "expr",
            ]),
          ),
        },
        ["name"],
      ),
    ),
  }),
} as const;

export interface Crd {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: object;
}

export function monitoringCrds(): readonly Crd[] {
  return Object.entries(KINDS).map(([kind, spec]) => {
    const singular = kind.toLowerCase();
    return {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: `${singular}s.monitoring.coreos.com` },
      spec: {
        group: "monitoring.coreos.com",
        scope: "Namespaced",
        names: { kind, listKind: `${kind}List`, plural: `${singular}s`, singular },
        versions: [
          {
            name: "v1",
            served: true,
            storage: true,
            schema: { openAPIV3Schema: { type: "object", required: ["spec"], properties: { spec } } },
          },
        ],
      },
    };
  });
}
