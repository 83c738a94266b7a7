/**
 * Services that send to a port of an agent's pod which the gateway keeps closed: neither a container port, nor a probe's, nor in the
 * annotation. Nobody inside the pod sees the refused connection, so it is told on the pod, with the way out.
 *
 * A look at what is declared, not at packets: what connects without a Service is not seen here.
 */
import { ANNOTATION, CONTAINER } from "#contract/names.ts";
import { PROXY_ENV } from "#contract/proxy-environment.ts";
import { Lru } from "#core/lru.ts";
import type { Tell } from "#kube/events.ts";
import { type KubeObject, keyOf, nameOf } from "#kube/port.ts";
import { type Labels, selects } from "./selector.ts";

/** Of one Service, what leads to pods. */
export interface ServicePorts {
  readonly namespace: string;
  readonly name: string;
  readonly selector: Labels;
  /** Numbers and names of container ports; TCP. */
  readonly targets: readonly (number | string)[];
}

interface ServiceObject extends KubeObject {
  readonly spec?: {
    readonly type?: string;
    readonly selector?: Labels;
    readonly ports?: readonly {
      readonly port: number;
      readonly targetPort?: number | string;
      readonly protocol?: string;
    }[];
  };
}

/** Null: it leads to no pod by labels. */
export function servicePorts(object: KubeObject): ServicePorts | null {
  const { spec = {} } = object as ServiceObject;
  const { selector = {}, ports = [] } = spec;
  if (Object.keys(selector).length === 0 || spec.type === "ExternalName") return null;
  const targets = ports
    .filter(({ protocol = "TCP" }) => protocol === "TCP")
    .map(({ port, targetPort }) => targetPort ?? port);
  return { ...nameOf(object), selector, targets };
}

interface PodObject extends KubeObject {
  readonly spec?: {
    readonly containers?: readonly {
      readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
    }[];
    readonly initContainers?: readonly {
      readonly name: string;
      readonly env?: readonly { readonly name: string; readonly value?: string }[];
    }[];
  };
}

/** Null: it has no gateway. What init was told, not what the annotation says now. */
export function openPorts(pod: KubeObject): ReadonlySet<number> | null {
  const init = (pod as PodObject).spec?.initContainers?.find(({ name }) => name === CONTAINER.init);
  if (init === undefined) return null;
  const text = init.env?.find(({ name }) => name === PROXY_ENV.inbound)?.value ?? "";
  return new Set(
    text
      .split(",")
      .filter((item) => item !== "")
      .map(Number),
  );
}

/** Ports of the pod at which the Service's connections are refused. A name that no container has is the Service's own mistake. */
export function closedTo(service: ServicePorts, pod: KubeObject): readonly number[] {
  const { namespace = "", labels = {} } = pod.metadata;
  const open = openPorts(pod);
  if (open === null || service.namespace !== namespace || !selects({ matchLabels: service.selector }, labels))
    return [];
  const named = ((pod as PodObject).spec?.containers ?? []).flatMap(({ ports = [] }) => ports);
  const numbers = service.targets.flatMap((target) =>
    typeof target === "number" ? [target] : (named.find(({ name }) => name === target)?.containerPort ?? []),
  );
  return numbers.filter((port) => !open.has(port));
}

export interface UndeclaredPorts {
  /** Called for each pod that arrives or is looked at again. */
  look(pod: KubeObject): void;
}

/** So many pods and ports are remembered as told; the Event's own name keeps others from being told twice. */
const TOLD = 10_000;

/** `services`: those of a namespace. */
export function createUndeclaredPorts(
  services: (namespace: string) => Iterable<ServicePorts>,
  tell: Tell,
): UndeclaredPorts {
  const told = new Lru<string, true>(TOLD);
  return {
    look(pod) {
      if (pod.metadata.annotations?.[ANNOTATION.injected] === undefined) return;
      for (const service of services(pod.metadata.namespace ?? ""))
        for (const port of closedTo(service, pod)) {
          const key = `${pod.metadata.uid ?? keyOf(nameOf(pod))}/${service.name}/${port}`;
          if (told.get(key) !== undefined) continue;
          told.set(key, true);
          const message = `Service ${service.name} sends to port ${port}, which no container declares, so the gateway refuses it: add a containerPort, or ${port} to the annotation ${ANNOTATION.inboundPorts} of the pod's template`;
          tell({ about: pod, type: "Warning", reason: "InboundPortClosed", message });
        }
    },
  };
}
