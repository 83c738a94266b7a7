/**
 * At which ports a pod may be reached: declared container ports, each probe's port (a kubelet that cannot reach it kills the pod),
 * and what the author adds by annotation. Everything else that comes in is refused by the rules that init writes.
 */
import { ANNOTATION, OUR_PORT_NUMBERS } from "#contract/names.ts";
import type { Container, Pod } from "./pod.ts";
import { agentContainers } from "./pod-containers.ts";
import type { Violation } from "./violation.ts";

/** Our own cap: a pod with more is a mistake, and the rule set grows with it. */
const MAX_PORTS = 256;

export interface InboundPlan {
  /** TCP, ascending, without repeats. */
  readonly ports: readonly number[];
  readonly warnings: readonly Violation[];
  readonly violations: readonly Violation[];
}

export function planInbound(pod: Pod): InboundPlan {
  const ports = new Set<number>();
  const warnings: Violation[] = [];
  const violations: Violation[] = [];
  for (const { container, field } of agentContainers(pod)) {
    for (const [index, port] of (container.ports ?? []).entries()) {
      if (port.protocol === undefined || port.protocol === "TCP") ports.add(port.containerPort);
      else
        warnings.push({
          field: `${field}.ports[${index}].protocol`,
          message: `${port.protocol} is not carried: this port cannot be reached`,
        });
    }
    for (const [name, port] of probePorts(container)) {
      const number = typeof port === "number" ? port : namedPort(container, port);
      if (number === null)
        warnings.push({ field: `${field}.${name}`, message: `no port of this container is named ${String(port)}` });
      else ports.add(number);
    }
  }
  const text = pod.metadata?.annotations?.[ANNOTATION.inboundPorts] ?? "";
  const field = `metadata.annotations[${ANNOTATION.inboundPorts}]`;
  for (const item of text.split(",").map((part) => part.trim())) {
    if (item === "") continue;
    if (/^\d{1,5}$/.test(item) && Number(item) >= 1 && Number(item) <= 65_535) ports.add(Number(item));
    else violations.push({ field, message: `${JSON.stringify(item.slice(0, 32))} is no port from 1 to 65535` });
  }
  for (const port of OUR_PORT_NUMBERS)
    if (ports.has(port)) violations.push({ field, message: `${port} is a port of the gateway; use another` });
  if (ports.size > MAX_PORTS) violations.push({ field, message: `more than ${MAX_PORTS} inbound ports` });
  return { ports: [...ports].sort((a, b) => a - b), warnings, violations };
}

function probePorts(container: Container): [field: string, port: number | string][] {
  const { livenessProbe, readinessProbe, startupProbe, lifecycle } = container;
  const handlers = {
    livenessProbe,
    readinessProbe,
    startupProbe,
    "lifecycle.postStart": lifecycle?.postStart,
    "lifecycle.preStop": lifecycle?.preStop,
  };
  return Object.entries(handlers).flatMap(([name, handler]) =>
    (["httpGet", "tcpSocket", "grpc"] as const).flatMap((kind): [string, number | string][] => {
      const port = handler?.[kind]?.port;
      return port === undefined ? [] : [[`${name}.${kind}.port`, port]];
    }),
  );
}

/** Named ports belong to their container; a number may also come as text. */
function namedPort(container: Container, name: string): number | null {
  if (/^\d{1,5}$/.test(name)) return Number(name);
  const port = (container.ports ?? []).find((candidate) => candidate.name === name);
  return port?.containerPort ?? null;
}
