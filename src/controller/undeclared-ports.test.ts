import { expect, test } from "vitest";
import type { KubeObject } from "#kube/port.ts";
import { createUndeclaredPorts, servicePorts } from "./undeclared-ports.ts";

const service = (targetPort: number | string | undefined, more: object = {}) => {
  const spec = { selector: { app: "agent" }, ports: [{ port: 80, targetPort }], ...more };
  return servicePorts({ metadata: { namespace: "team", name: "front" }, spec } as KubeObject);
};
const pod = (inbound: string, labels: object = { app: "agent" }) =>
  ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "team", name: "agent-1", uid: "u1", labels, annotations: { "sidegate.dev/injected": "1" } },
    spec: {
      initContainers: [{ name: "sidegate-init", env: [{ name: "SIDEGATE_INBOUND", value: inbound }] }],
      containers: [{ name: "app", ports: [{ name: "http", containerPort: 8080 }] }],
    },
  }) as KubeObject;

function told(one: ReturnType<typeof service>, its: KubeObject, times = 1): string[] {
  const said: string[] = [];
  const ports = createUndeclaredPorts(
    (namespace) => (one === null || namespace !== "team" ? [] : [one]),
    ({ reason, message }) => void said.push(`${reason}: ${message}`),
  );
  for (let n = 0; n < times; n++) ports.look(its);
  return said;
}

test("a Service that sends to a closed port is told on the pod, once, with the annotation that opens it", () => {
  const said = told(service(9090), pod("8080"), 3);
  expect(said).toHaveLength(1);
  expect(said[0]).toMatch(/^InboundPortClosed: Service front sends to port 9090.*sidegate\.dev\/inbound-ports/);
});

test.each([
  ["an open port", service(9090), pod("8080,9090")],
  ["a declared port by its name", service("http"), pod("8080")],
  ["a name that no container has", service("grpc"), pod("8080")],
  ["another pod's Service", service(9090), pod("8080", { app: "other" })],
  ["UDP, which is not carried at all", service(53, { ports: [{ port: 53, protocol: "UDP" }] }), pod("8080")],
  ["a Service without a selector", service(9090, { selector: {} }), pod("8080")],
])("%s is nothing to tell", (_what, one, its) => {
  expect(told(one, its)).toEqual([]);
});

test("a Service without targetPort means its own port", () => {
  expect(told(service(undefined), pod("8080"))[0]).toContain("port 80,");
});
