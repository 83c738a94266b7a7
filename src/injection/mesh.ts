/**
 * A mesh's containers in an agent's pod, where the administrator chains one: what they have to look like so that their uid may go out
 * un-judged, and what everybody else in the pod may not do then. Without it each is refused by name (`forbidden-container.ts`).
 *
 * Fails closed: what a mesh's container has beyond what is listed here may be a way to make it do what its author likes.
 */

import { CONTAINER } from "#contract/names.ts";
import { PROXY_ENV } from "#contract/proxy-environment.ts";
import { forbiddenToAll } from "./forbidden-container.ts";
import type { MeshOptions } from "./mesh-options.ts";
import type { InjectionOptions } from "./options.ts";
import type { Container, Pod } from "./pod.ts";
import { agentContainers, type ContainerList, type PlacedContainer } from "./pod-containers.ts";
import type { Violation } from "./violation.ts";

/** core/v1 Container, Kubernetes 1.34, without what would run another program or let somebody in. */
export const MESH_MEMBERS: ReadonlySet<string> = new Set([
  "args",
  "env",
  "image",
  "imagePullPolicy",
  "lifecycle",
  "livenessProbe",
  "name",
  "ports",
  "readinessProbe",
  "resizePolicy",
  "resources",
  "restartPolicy",
  "securityContext",
  "startupProbe",
  "terminationMessagePath",
  "terminationMessagePolicy",
  "volumeMounts",
]);
/** What a mesh's init container writes its redirects with. */
export const MESH_INIT_CAPABILITIES: ReadonlySet<string> = new Set(["NET_ADMIN", "NET_RAW"]);

export interface MeshInPod {
  readonly mesh: MeshOptions;
  readonly containers: readonly PlacedContainer[];
  /** Whether its proxy is among them: only then does its uid go out. */
  readonly present: boolean;
}

/** Null where no mesh is chained, or the pod has none. */
export function meshIn(pod: Pod, { mesh }: InjectionOptions): MeshInPod | null {
  if (mesh === null) return null;
  const containers = agentContainers(pod).filter(
    ({ container, list }) =>
      list !== "ephemeralContainers" &&
      (container.name === mesh.proxy.container || mesh.init.containers.includes(container.name)),
  );
  if (containers.length === 0) return null;
  return { mesh, containers, present: containers.some(({ container }) => container.name === mesh.proxy.container) };
}

/** As it runs: no new privileges, and the runtime's seccomp profile. Its image, environment and mounts are the mesh's own. */
export function planMesh(container: Container, { proxy }: MeshOptions): Container {
  const { securityContext } = container;
  const own = container.name === proxy.container;
  return {
    ...container,
    securityContext: {
      ...securityContext,
      ...(own && { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } }),
      seccompProfile: { type: "RuntimeDefault" },
    },
  };
}

/** `agents`: everybody else, as they will run. */
export function forbiddenByMesh(
  pod: Pod,
  { mesh, containers, present }: MeshInPod,
  agents: readonly PlacedContainer[],
  options: InjectionOptions,
): Violation[] {
  if (options.tier === "locked")
    return containers.map(({ field }) => ({
      field: `${field}.name`,
      message: `in tier locked nothing but the gateway goes out; exclude this pod from ${mesh.name}`,
    }));
  const found = containers.flatMap(({ container, field, list }) =>
    [...forbiddenToAll(container, options), ...meshContainer(container, list, mesh)].map((violation) => ({
      ...violation,
      field: `${field}.${violation.field}`,
    })),
  );
  if (!present)
    found.push({
      field: `${containers[0]?.field ?? ""}.name`,
      message: `${mesh.name}'s ${mesh.proxy.container} is not in this pod; remove what belongs to it`,
    });
  // Where a container's name may be left out, the only one is meant: nobody executes in the mesh's.
  if (!agents.some(({ list }) => list === "containers"))
    found.push({ field: "spec.containers", message: `has none but ${mesh.name}'s` });
  return [...found, ...agents.flatMap((agent) => besideMesh(pod, agent, mesh, containers))];
}

const no = (field: string, message: string): Violation[] => [{ field, message }];

function meshContainer(container: Container, list: ContainerList, mesh: MeshOptions): Violation[] {
  const { name, image, securityContext, lifecycle } = container;
  const isProxy = name === mesh.proxy.container;
  const args = (container as { readonly args?: readonly string[] }).args ?? [];
  const wanted = isProxy ? mesh.proxy.args : mesh.init.args;
  const found = Object.keys(container)
    .filter((member) => !MESH_MEMBERS.has(member))
    .flatMap((member) => no(member, `${mesh.name}'s containers have none of their own; remove it`));
  if (!mesh.images.includes(image ?? "")) found.push(...no("image", "is not among the mesh's (value mesh.images)"));
  if (!wanted.every((arg, index) => args[index] === arg))
    found.push(...no("args", `have to begin with ${JSON.stringify(wanted)}`));
  if (!isProxy && (list !== "initContainers" || container.restartPolicy !== undefined))
    found.push(...no("name", `${name} is an init container that ends: it may write rules`));
  if (isProxy && securityContext?.runAsUser !== mesh.uid)
    found.push(...no("securityContext.runAsUser", `has to be ${mesh.uid} (value mesh.uid)`));
  for (const capability of securityContext?.capabilities?.add ?? [])
    if (isProxy || !MESH_INIT_CAPABILITIES.has(capability))
      found.push(...no("securityContext.capabilities.add", `${capability} is more than it needs; remove it`));
  const { livenessProbe, readinessProbe, startupProbe } = container;
  const handlers = {
    livenessProbe,
    readinessProbe,
    startupProbe,
    "lifecycle.postStart": lifecycle?.postStart,
    "lifecycle.preStop": lifecycle?.preStop,
  };
  for (const [handler, value] of Object.entries(handlers))
    if (value?.exec !== undefined)
      found.push(...no(`${handler}.exec`, "would run another program as the mesh's; remove it"));
  for (const [index, variable] of (container.env ?? []).entries())
    if (!mesh.environment.some((known) => isMatch(known, variable.name)))
      found.push(...no(`env[${index}].name`, `${variable.name} is not among the mesh's (value mesh.environment)`));
  for (const [index, { mountPath, subPath, subPathExpr }] of (container.volumeMounts ?? []).entries())
    if (!mesh.mounts.includes(mountPath) || subPath !== undefined || subPathExpr !== undefined)
      found.push(...no(`volumeMounts[${index}].mountPath`, "is not among the mesh's (value mesh.mounts)"));
  return found;
}

/** A name, or the beginning of one with a `*` behind it. */
const isMatch = (known: string, name: string): boolean =>
  known.endsWith("*") ? name.startsWith(known.slice(0, -1)) : name === known;

function besideMesh(
  pod: Pod,
  { container, field }: PlacedContainer,
  mesh: MeshOptions,
  theirs: readonly PlacedContainer[],
): Violation[] {
  const found: Violation[] = [];
  const uid = container.securityContext?.runAsUser ?? pod.spec.securityContext?.runAsUser;
  if (uid === undefined || uid === mesh.uid)
    found.push({
      field: `${field}.securityContext.runAsUser`,
      message:
        uid === undefined
          ? `beside ${mesh.name} each container names its uid, because an image's own is not seen here and ${mesh.uid} goes out un-judged`
          : `${uid} is ${mesh.name}'s; what runs as it is not captured. Use another`,
    });
  for (const [index, { containerPort }] of (container.ports ?? []).entries())
    if (mesh.ports.includes(containerPort))
      found.push({
        field: `${field}.ports[${index}].containerPort`,
        message: `${containerPort} is a port of ${mesh.name}; use another`,
      });
  const shared = new Set(theirs.flatMap((their) => (their.container.volumeMounts ?? []).map(({ name }) => name)));
  for (const [index, { name }] of (container.volumeMounts ?? []).entries())
    if (shared.has(name))
      found.push({
        field: `${field}.volumeMounts[${index}].name`,
        message: `volume ${name} is ${mesh.name}'s; remove the mount`,
      });
  return found;
}

/** Whose uid besides the gateway's goes out of this pod, by what its init was told. Null: nobody's. */
export function exemptUid(pod: Pod): number | null {
  const init = (pod.spec.initContainers ?? []).find(({ name }) => name === CONTAINER.init);
  const text = (init?.env ?? []).find(({ name }) => name === PROXY_ENV.mesh)?.value ?? "";
  return /^\d{1,10}:/.test(text) ? Number(text.slice(0, text.indexOf(":"))) : null;
}
