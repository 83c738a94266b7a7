/**
 * Pod → patch: the one pure function that webhook, drift check and command line share. Injecting what was injected changes nothing.
 *
 * Fails closed: whatever would run past the gateway is a denial that names the field, and then there is no patch at all.
 */
import { ANNOTATION, CONTAINER, PROXY_UID } from "#contract/names.ts";
import { diffJson, type PatchOperation } from "#core/json-diff.ts";
import { type AgentPlan, planAgent } from "./agent-container.ts";
import { askedResources } from "./asked-resources.ts";
import { forbiddenInContainer } from "./forbidden-container.ts";
import { forbiddenInPod } from "./forbidden-pod.ts";
import { forbiddenInVolume, hasOurVolumeName } from "./forbidden-volume.ts";
import { foreignCredentials, foreignCredentialsText } from "./foreign-credentials.ts";
import { type GatewayParts, gatewayVolumes, initContainer, sidecarContainer } from "./gateway-containers.ts";
import { planInbound } from "./inbound-ports.ts";
import { containerDifferences, namedDifferences } from "./look-alike.ts";
import { forbiddenByMesh, meshIn, planMesh } from "./mesh.ts";
import type { InjectionOptions } from "./options.ts";
import { type Container, type Pod, readPod, type Volume } from "./pod.ts";
import { agentContainers, hasOurName, placedContainers } from "./pod-containers.ts";
import { fitResources } from "./resources.ts";
import { SAFE_TO_EVICT, safeToEvict } from "./safe-to-evict.ts";
import type { Violation } from "./violation.ts";

/** The form of the stamp; a sidecar of another form is another release's. */
export const STAMP = "1";

/** Annotations that only the caller can know (who made the pod), written over what the author says. Null: taken away. */
export type Stamps = Readonly<Record<string, string | null>>;

export type Injection =
  | {
      readonly kind: "injected";
      /** The pod as it will run. */
      readonly pod: Pod;
      /** RFC 6902; empty where the pod was injected already. */
      readonly patch: readonly PatchOperation[];
      readonly uid: number;
      /** Credentials that the pod brings of its own, by name; never by value. */
      readonly foreign: readonly string[];
      readonly warnings: readonly Violation[];
    }
  | { readonly kind: "denied"; readonly violations: readonly Violation[] };

/**
 * `value`: a pod or a pod template, parsed. `drawUid`: a random number of the range `PROXY_UID`, both ends included.
 */
export function injectPod(
  value: unknown,
  options: InjectionOptions,
  drawUid: () => number,
  stamps: Stamps = {},
): Injection {
  const reading = readPod(value);
  if (reading.kind === "malformed") return { kind: "denied", violations: reading.violations };
  const { pod } = reading;
  const volumes = pod.spec.volumes ?? [];
  const chained = meshIn(pod, options);
  const agents = agentContainers(pod).filter(
    ({ container }) => !chained?.containers.some((c) => c.container === container),
  );
  const inbound = planInbound(pod);
  const asked = askedResources(pod, options);
  const plans = new Map(agents.map((agent) => [agent.container, planAgent(agent, volumes, options)]));
  const violations = [
    ...forbiddenInPod(pod, options),
    ...agents.flatMap(({ container, field }) => forbiddenInContainer(container, field, options)),
    ...volumes.flatMap((volume, index) =>
      hasOurVolumeName(volume.name) ? [] : forbiddenInVolume(volume, `spec.volumes[${index}]`),
    ),
    ...inbound.violations,
    ...asked.violations,
    ...[...plans.values()].flatMap((plan) => plan.violations),
  ];
  if (chained !== null) {
    const asTheyRun = agents.map((agent) => ({
      ...agent,
      container: plans.get(agent.container)?.container ?? agent.container,
    }));
    violations.push(...forbiddenByMesh(pod, chained, asTheyRun, options));
    for (const { container } of chained.containers)
      plans.set(container, {
        container: planMesh(container, chained.mesh),
        replaced: [],
        warnings: [],
        violations: [],
      });
  }
  const uid = chooseUid(pod, drawUid);
  if (uid.kind === "denied") return { kind: "denied", violations: [...violations, uid.violation] };
  const parts = fitParts(uid.uid, inbound.ports, asked.resources, options.limitRange);
  if (parts.kind === "impossible") return { kind: "denied", violations: [...violations, parts.violation] };
  const whole = { ...parts.parts, mesh: chained?.present ? chained.mesh : null };
  const gateway = [initContainer(whole, options), sidecarContainer(whole, options)];
  const ourVolumes = gatewayVolumes(options);
  violations.push(...lookAlikes(pod, gateway, ourVolumes));
  if (violations.length > 0) return { kind: "denied", violations };

  const injected = assemble(pod, plans, gateway, ourVolumes, options);
  const theirs = new Set(meshIn(injected, options)?.containers.map(({ field }) => field));
  const foreign = foreignCredentials(
    injected,
    agentContainers(injected).filter(({ field }) => !theirs.has(field)),
  );
  const evicted = safeToEvict(pod.metadata?.annotations?.[SAFE_TO_EVICT], ourVolumes);
  const stamped = stamp(injected, uid.uid, foreign, { ...stamps, [SAFE_TO_EVICT]: evicted });
  return {
    kind: "injected",
    pod: stamped,
    patch: diffJson(pod, stamped),
    uid: uid.uid,
    foreign,
    warnings: [
      ...inbound.warnings,
      ...[...plans.values()].flatMap((plan) => plan.warnings),
      ...foreign.map((what) => ({ field: what, message: "a credential that the gateway did not give" })),
    ],
  };
}

type UidChoice =
  | { readonly kind: "uid"; readonly uid: number }
  | { readonly kind: "denied"; readonly violation: Violation };

/** The stamp's uid counts only beside our containers: alone it may be what an author would like the uid to be. */
function chooseUid(pod: Pod, drawUid: () => number): UidChoice {
  if (!placedContainers(pod).some(({ container }) => hasOurName(container))) return { kind: "uid", uid: drawUid() };
  const text = pod.metadata?.annotations?.[ANNOTATION.proxyUid] ?? "";
  const uid = /^\d{10}$/.test(text) ? Number(text) : 0;
  if (uid >= PROXY_UID.first && uid <= PROXY_UID.last) return { kind: "uid", uid };
  return {
    kind: "denied",
    violation: {
      field: `metadata.annotations[${ANNOTATION.proxyUid}]`,
      message: `a container has a name of the gateway's (${Object.values(CONTAINER).join(", ")}), but the pod bears no stamp of an injection; rename the container`,
    },
  };
}

type PartsFitting =
  | { readonly kind: "parts"; readonly parts: GatewayParts }
  | { readonly kind: "impossible"; readonly violation: Violation };

function fitParts(
  uid: number,
  inbound: readonly number[],
  wanted: InjectionOptions["resources"],
  range: InjectionOptions["limitRange"],
): PartsFitting {
  const init = fitResources(CONTAINER.init, wanted.init, range);
  if (init.kind === "impossible") return init;
  const sidecar = fitResources(CONTAINER.sidecar, wanted.sidecar, range);
  if (sidecar.kind === "impossible") return sidecar;
  return { kind: "parts", parts: { uid, inbound, resources: { init: init.resources, sidecar: sidecar.resources } } };
}

function lookAlikes(pod: Pod, gateway: readonly Container[], ourVolumes: readonly Volume[]): Violation[] {
  const found: Violation[] = [];
  const seen = new Set<string>();
  for (const { container, field, list } of placedContainers(pod)) {
    const expected = gateway.find(({ name }) => name === container.name);
    if (expected === undefined) continue;
    if (list !== "initContainers" || seen.has(container.name))
      found.push({ field: `${field}.name`, message: `${container.name} is the gateway's name; use another` });
    else found.push(...containerDifferences(container, expected, field));
    seen.add(container.name);
  }
  for (const [index, volume] of (pod.spec.volumes ?? []).entries()) {
    if (!hasOurVolumeName(volume.name)) continue;
    const expected = ourVolumes.find(({ name }) => name === volume.name);
    found.push(...namedDifferences(expected ?? {}, volume, `spec.volumes[${index}]`));
  }
  return found;
}

function assemble(
  pod: Pod,
  plans: ReadonlyMap<Container, AgentPlan>,
  gateway: readonly Container[],
  ourVolumes: readonly Volume[],
  options: InjectionOptions,
): Pod {
  const { spec } = pod;
  const planned = (containers: readonly Container[] | undefined): Container[] =>
    (containers ?? []).flatMap((container) => plans.get(container)?.container ?? []);
  const containers = planned(spec.containers);
  const theirInit = planned(spec.initContainers);
  // Ours as they were found, where they were: a LimitRange may have filled them in.
  const ourInit = gateway.map((ours) => spec.initContainers?.find(({ name }) => name === ours.name) ?? ours);

  const mounted = new Set([...containers, ...theirInit].flatMap((c) => (c.volumeMounts ?? []).map(({ name }) => name)));
  const replaced = new Set([...plans.values()].flatMap((plan) => plan.replaced));
  const kept = (spec.volumes ?? []).filter(({ name }) => !replaced.has(name) || mounted.has(name));
  const missing = ourVolumes.filter(({ name }) => !kept.some((volume) => volume.name === name));

  const pulls = spec.imagePullSecrets ?? [];
  const missingPulls = options.imagePullSecrets.filter((name) => !pulls.some((pull) => pull.name === name));
  return {
    ...pod,
    spec: {
      ...spec,
      automountServiceAccountToken: false,
      initContainers: [...ourInit, ...theirInit],
      containers,
      volumes: [...kept, ...missing],
      ...(missingPulls.length > 0 && { imagePullSecrets: [...pulls, ...missingPulls.map((name) => ({ name }))] }),
    },
  };
}

function stamp(pod: Pod, uid: number, foreign: readonly string[], stamps: Stamps): Pod {
  const { [ANNOTATION.foreignCredentials]: _, ...theirs } = pod.metadata?.annotations ?? {};
  const annotations = Object.fromEntries(Object.entries({ ...theirs, ...stamps }).filter(([, text]) => text !== null));
  const text = foreignCredentialsText(foreign);
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      annotations: {
        ...annotations,
        [ANNOTATION.injected]: STAMP,
        [ANNOTATION.proxyUid]: String(uid),
        ...(text !== null && { [ANNOTATION.foreignCredentials]: text }),
      },
    },
  };
}
