/** What several checks look at, asked for once: the namespaces that opted in, the options of injection, the cluster's clock. */
import { CONTROL_OBJECT, NAMESPACE_LABEL } from "#contract/control-environment.ts";
import { completeOptions, type RuntimeData } from "#injection/complete-options.ts";
import type { InjectionOptions } from "#injection/options.ts";
import { parseOptions } from "#injection/options-text.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import type { KubeObject } from "#kube/port.ts";
import type { Cluster } from "./cluster.ts";
import { textsAt } from "./members.ts";

/** The chart's, with what injection writes. */
export const INJECTION_MAP = "sidegate-injection";
/** What is never asked about; `excludedNamespaces` adds to them, and no label there has any effect either. */
const NEVER = ["kube-system", "kube-public", "kube-node-lease"] as const;

export interface Facts {
  readonly cluster: Cluster;
  /** The control plane's. */
  readonly namespace: string;
  readonly wallMs: () => number;
  readonly namespaces: () => Promise<readonly KubeObject[]>;
  /** With label `all` or `opt-in`, in the order of their names. */
  readonly optedIn: () => Promise<readonly KubeObject[]>;
  readonly injection: () => Promise<Injection>;
  readonly runtime: () => Promise<RuntimeData | null>;
}

export interface Injection {
  /** Null: not there, or not readable as such: `why`. */
  readonly options: InjectionOptions | null;
  readonly why: string;
  /** Flat values of the same ConfigMap. */
  readonly data: Readonly<Record<string, string>>;
}

export function createFacts(cluster: Cluster, namespace: string, wallMs: () => number): Facts {
  const namespaces = once(() => cluster.all(ADMIN_RESOURCE.namespace));
  const runtime = once(async () => {
    const map = await cluster.get(ADMIN_RESOURCE.configMap, CONTROL_OBJECT.runtime, namespace);
    return map === null ? null : textsAt(map, "data");
  });
  return {
    cluster,
    namespace,
    wallMs,
    namespaces,
    optedIn: once(async () => (await namespaces()).filter((one) => isOptedIn(one, namespace))),
    runtime,
    injection: once(async () => {
      const map = await cluster.get(ADMIN_RESOURCE.configMap, INJECTION_MAP, namespace);
      if (map === null) return { options: null, why: `ConfigMap ${namespace}/${INJECTION_MAP} is missing`, data: {} };
      const data = textsAt(map, "data");
      try {
        const options = parseOptions([data["options.yaml"] ?? ""]);
        return { options: completeOptions(options, (await runtime()) ?? {}) ?? options, why: "", data };
      } catch (fault) {
        const why = `ConfigMap ${namespace}/${INJECTION_MAP}: ${fault instanceof Error ? fault.message : String(fault)}`;
        return { options: null, why, data };
      }
    }),
  };
}

export function isOptedIn({ metadata }: KubeObject, own: string): boolean {
  const asked = metadata.labels?.[NAMESPACE_LABEL.inject];
  return (asked === "all" || asked === "opt-in") && !isExcluded(metadata.name, own);
}

export function isExcluded(namespace: string, own: string): boolean {
  return namespace === own || NEVER.some((one) => one === namespace);
}

function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | null = null;
  return () => (answer ??= ask());
}
