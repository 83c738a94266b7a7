/**
 * What an author's container may not ask for. As `forbidden-pod.ts`: a visible list of rules, all that speak are reported.
 */
import { OUR_PORT_NUMBERS } from "#contract/names.ts";
import { confined, isReservedUid, RESERVED_UID } from "./forbidden-pod.ts";
import type { InjectionOptions } from "./options.ts";
import type { Container } from "./pod.ts";
import { agentProfile, foreignProfile } from "./seccomp-profile.ts";
import type { Violation } from "./violation.ts";

/** Answers with the member below the container, and why it is refused. */
type ContainerRule = (container: Container, options: InjectionOptions) => readonly Violation[];

const no = (field: string, message: string): readonly Violation[] => [{ field, message }];
const NOTHING: readonly Violation[] = [];

export const OUR_PORTS: ReadonlySet<number> = new Set(OUR_PORT_NUMBERS);

/** core/v1 SecurityContext, Kubernetes 1.34. What is invented later may be a new privilege. */
export const SECURITY_MEMBERS: ReadonlySet<string> = new Set([
  "allowPrivilegeEscalation",
  "appArmorProfile",
  "capabilities",
  "privileged",
  "procMount",
  "readOnlyRootFilesystem",
  "runAsGroup",
  "runAsNonRoot",
  "runAsUser",
  "seLinuxOptions",
  "seccompProfile",
  "windowsOptions",
]);

/** The containers that a mesh puts into each pod, by the names that they always have. */
export const MESH: ReadonlyMap<string, string> = new Map([
  ["istio-proxy", "Istio"],
  ["istio-init", "Istio"],
  ["istio-validation", "Istio"],
  ["linkerd-proxy", "Linkerd"],
  ["linkerd-init", "Linkerd"],
  ["linkerd-network-validator", "Linkerd"],
  ["consul-dataplane", "Consul"],
  ["kuma-sidecar", "Kuma"],
]);

/** Resources that are no devices: core/v1, and huge pages. */
export const PLAIN_RESOURCE = /^(cpu|memory|ephemeral-storage|hugepages-.+)$/;

/** What holds for an author's containers alone: those of a chained mesh have rules of their own for these (`mesh.ts`). */
const AUTHORS_RULES: readonly ContainerRule[] = [
  function mesh({ name }) {
    const mesh = MESH.get(name);
    return mesh === undefined
      ? NOTHING
      : no("name", `${mesh} would redirect the same connections; exclude this pod from one of the two`);
  },
  function capabilities({ securityContext }) {
    const add = securityContext?.capabilities?.add ?? [];
    return add.length > 0
      ? no("securityContext.capabilities.add", `agents run without capabilities; remove ${add.join(", ")}`)
      : NOTHING;
  },
  function runAsUser({ securityContext }, { tier }) {
    return tier === "locked" && securityContext?.runAsUser === undefined
      ? no(
          "securityContext.runAsUser",
          "in tier locked each container names its uid, because an image's is not seen here",
        )
      : NOTHING;
  },
];

const RULES: readonly ContainerRule[] = [
  function unknownSecurity({ securityContext }) {
    return Object.keys(securityContext ?? {})
      .filter((member) => !SECURITY_MEMBERS.has(member))
      .flatMap((member) => no(`securityContext.${member}`, "is not known to this release of the gateway; remove it"));
  },
  function privileged({ securityContext }) {
    return securityContext?.privileged === true
      ? no("securityContext.privileged", "a privileged container can undo every rule; remove it")
      : NOTHING;
  },
  function procMount({ securityContext }) {
    return securityContext?.procMount !== undefined && securityContext.procMount !== "Default"
      ? no("securityContext.procMount", "only Default keeps the kernel's files masked")
      : NOTHING;
  },
  function seccomp({ securityContext }, options) {
    const why = foreignProfile(securityContext?.seccompProfile, agentProfile(options));
    return why === null ? NOTHING : no("securityContext.seccompProfile.type", why);
  },
  function appArmor({ securityContext }) {
    return securityContext?.appArmorProfile?.type === "Unconfined"
      ? no("securityContext.appArmorProfile.type", "Unconfined is not permitted; remove it")
      : NOTHING;
  },
  function seLinux({ securityContext }) {
    return securityContext?.seLinuxOptions !== undefined && !confined(securityContext.seLinuxOptions)
      ? no("securityContext.seLinuxOptions", "only the container types of the Pod Security baseline are permitted")
      : NOTHING;
  },
  function windows({ securityContext }) {
    return securityContext?.windowsOptions !== undefined
      ? no("securityContext.windowsOptions", "the gateway works on Linux nodes only")
      : NOTHING;
  },
  function reservedUid({ securityContext }) {
    return isReservedUid(securityContext?.runAsUser) ? no("securityContext.runAsUser", RESERVED_UID) : NOTHING;
  },
  function ports({ ports }) {
    return (ports ?? []).flatMap(({ containerPort, hostPort }, index) => {
      const found: Violation[] = [];
      if (hostPort !== undefined && hostPort !== 0)
        found.push(...no(`ports[${index}].hostPort`, "a port of the node is outside the gateway; use a Service"));
      if (OUR_PORTS.has(containerPort))
        found.push(...no(`ports[${index}].containerPort`, `${containerPort} is a port of the gateway; use another`));
      return found;
    });
  },
  function probeHosts(container) {
    const { livenessProbe, readinessProbe, startupProbe, lifecycle } = container;
    const handlers = {
      livenessProbe,
      readinessProbe,
      startupProbe,
      "lifecycle.postStart": lifecycle?.postStart,
      "lifecycle.preStop": lifecycle?.preStop,
    };
    return Object.entries(handlers).flatMap(([name, handler]) =>
      (["httpGet", "tcpSocket"] as const).flatMap((kind) =>
        handler?.[kind]?.host
          ? no(`${name}.${kind}.host`, "the node would open this connection, past the gateway; remove the host")
          : NOTHING,
      ),
    );
  },
  function devices({ resources, volumeDevices }, { devices }) {
    const found: Violation[] = [];
    if ((volumeDevices ?? []).length > 0)
      found.push(
        ...no("volumeDevices", "block devices are out of the gateway's sight; use a volume with a file system"),
      );
    if ((resources?.claims ?? []).length > 0)
      found.push(...no("resources.claims", "a device may open a network of its own; remove the claim"));
    for (const part of ["requests", "limits"] as const)
      for (const name of Object.keys(resources?.[part] ?? {}))
        if (!PLAIN_RESOURCE.test(name) && !devices.includes(name))
          found.push(
            ...no(
              `resources.${part}[${name}]`,
              `this device is not among those that open no network (devices: ${devices.join(", ") || "none"})`,
            ),
          );
    return found;
  },
];

/** Whoever it belongs to; `field` is the member below it. */
export function forbiddenToAll(container: Container, options: InjectionOptions): readonly Violation[] {
  return RULES.flatMap((rule) => rule(container, options));
}

/** `field`: `spec.containers[0]`. */
export function forbiddenInContainer(container: Container, field: string, options: InjectionOptions): Violation[] {
  return [...AUTHORS_RULES, ...RULES]
    .flatMap((rule) => rule(container, options))
    .map((violation) => ({
      field: `${field}.${violation.field}`,
      message: violation.message,
    }));
}
