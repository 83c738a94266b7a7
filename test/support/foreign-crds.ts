/**
 * Of other software's kinds, the fields that the chart uses, strictly: enough for an API server to refuse a misspelt one. From the API
 * references of Prometheus Operator (monitoring.coreos.com/v1) and cert-manager (cert-manager.io/v1).
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

const CERTIFICATE = object(
  {
    secretName: text,
    issuerRef: object({ name: text, kind: text, group: text }, ["name"]),
    duration: text,
    renewBefore: text,
    usages: list(text),
    dnsNames: list(text),
    privateKey: object({
      algorithm: text,
      size: { type: "integer" },
      rotationPolicy: { type: "string", enum: ["Never", "Always"] },
    }),
  },
  ["secretName", "issuerRef"],
);

export interface Crd {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: object;
}

export function foreignCrds(): readonly Crd[] {
  const monitoring = Object.entries(KINDS).map(([kind, spec]) => crd("monitoring.coreos.com", kind, spec));
  return [...monitoring, crd("cert-manager.io", "Certificate", CERTIFICATE)];
}

function crd(group: string, kind: string, spec: object): Crd {
  const singular = kind.toLowerCase();
  const schema = { openAPIV3Schema: { type: "object", required: ["spec"], properties: { spec } } };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${singular}s.${group}` },
    spec: {
      group,
      scope: "Namespaced",
      names: { kind, listKind: `${kind}List`, plural: `${singular}s`, singular },
      versions: [{ name: "v1", served: true, storage: true, schema }],
    },
  };
}
