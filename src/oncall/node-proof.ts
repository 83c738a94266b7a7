/**
 * Proves on real nodes what injection relies on: a pod with our init container alone, which writes the rules into its own network
 * namespace and tries each of them, as it does in an agent's pod. One pod for each kind of node, bounded in time, removed again.
 *
 * Fails where the proof did not come: a node that could not be tried is not a node that holds.
 */
import { randomInt } from "node:crypto";
import { CONTAINER, PROXY_UID } from "#contract/names.ts";
import { PROXY_COMMAND } from "#contract/proxy-environment.ts";
import { initContainer } from "#injection/gateway-containers.ts";
import type { InjectionOptions } from "#injection/options.ts";
import { agentProfile } from "#injection/seccomp-profile.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import { KubeError, type KubeObject } from "#kube/port.ts";
import type { Cluster } from "./cluster.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail, ok } from "./finding.ts";
import { at, textAt } from "./members.ts";
import { type NodeKind, nodeKinds } from "./node-kinds.ts";
import { type EndedPod, podEnded, podLog, reasonOf, statusOf } from "./short-pod.ts";
import { noContainerFinding, VSOCK_TRIAL, vsockFinding } from "./vsock-trial.ts";

const PROOF = "node proof";
const TRIAL = "vsock";
export const PROOF_LABEL = { "app.kubernetes.io/name": "sidegate", "app.kubernetes.io/component": "doctor" } as const;
const LIMIT_S = 60;
/** Pulling the image comes on top. */
const WAIT_MS = 120_000;
/** The kubelet's words for a container that the runtime refuses, a missing or unreadable seccomp profile among the reasons. */
const NOT_MADE: ReadonlySet<string> = new Set([
  "CreateContainerError",
  "CreateContainerConfigError",
  "RunContainerError",
]);
const MAX_KINDS = 30;
const PARALLEL = 4;
/** Yields each kind's finding as it comes. `signal`: what was made is removed, then it ends. */
export async function* proveNodes(facts: Facts, signal: AbortSignal): AsyncGenerator<Finding> {
  const { cluster, namespace } = facts;
  const { options, why } = await facts.injection();
  if (options === null) {
    yield fail(PROOF, `${why}: it names the image to try with`, "helm upgrade");
    return;
  }
  await removeLeftovers(cluster, namespace);
  const { kinds, unready } = nodeKinds(await cluster.all(ADMIN_RESOURCE.node));
  for (const says of unready) yield fail(PROOF, `not tried, no node is ready of: ${says}`, "kubectl get nodes");
  for (const { says } of kinds.slice(MAX_KINDS))
    yield fail(
      PROOF,
      `not tried, there are more than ${MAX_KINDS} kinds of nodes: ${says}`,
      "try it on one of them by hand",
    );
  const tried = kinds.slice(0, MAX_KINDS);
  for (let from = 0; from < tried.length; from += PARALLEL) {
    if (signal.aborted) {
      for (const { says } of tried.slice(from))
        yield fail(PROOF, `not tried, it was stopped before: ${says}`, "run it again");
      return;
    }
    yield* (
      await Promise.all(
        tried.slice(from, from + PARALLEL).map((kind) => prove({ cluster, namespace, options, signal }, kind)),
      )
    ).flat();
  }
}

interface Proving {
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly options: InjectionOptions;
  readonly signal: AbortSignal;
}

async function prove({ cluster, namespace, options, signal }: Proving, kind: NodeKind): Promise<readonly Finding[]> {
  const where = `${kind.node}${kind.nodes > 1 ? ` (one of ${kind.nodes})` : ""}: ${kind.says}`;
  const pod = proofPod(options, kind.node, namespace);
  const name = { namespace, name: pod.metadata.name };
  try {
    await cluster.kube.create(ADMIN_RESOURCE.pod, pod);
  } catch (fault) {
    const message = fault instanceof Error ? fault.message : String(fault);
    const fix = message.includes("PodSecurity")
      ? `kubectl label namespace ${namespace} pod-security.kubernetes.io/enforce=privileged --overwrite, for the time of this`
      : "the message says what is missing";
    return [fail(PROOF, `${where}: ${message}`, fix)];
  }
  try {
    let noTrial = "";
    const early = (now: KubeObject): EndedPod | null => {
      const why = notMade(now);
      const over = why === "" ? null : proofEnded(now);
      if (over !== null) noTrial = why;
      return over;
    };
    const ended = await podEnded(cluster, name, { limitMs: WAIT_MS, signal, early });
    const read = (container: string): Promise<string> => podLog(cluster, name, container).catch(() => "");
    const proof = verdict(where, ended, await read(CONTAINER.init));
    if (noTrial !== "") return [proof, noContainerFinding(where, noTrial, options)];
    return [proof, vsockFinding(where, await read(TRIAL), options)];
  } catch (fault) {
    return [fail(PROOF, `${where}: ${fault instanceof Error ? fault.message : String(fault)}`, "run it again")];
  } finally {
    await cluster.remove(ADMIN_RESOURCE.pod, name).catch((fault: unknown) => {
      if (!(fault instanceof KubeError && fault.status === 404)) throw fault;
    });
  }
}

/** Why the runtime cannot make the trial's container; "": it can, or has not tried. Its pod would wait for it until its deadline. */
function notMade(pod: KubeObject): string {
  const waiting = at(statusOf(pod, TRIAL), "state", "waiting");
  const reason = textAt(waiting, "reason");
  return NOT_MADE.has(reason) ? `${reason}: ${textAt(waiting, "message").slice(0, 300)}` : "";
}

/** How the proof beside it ended; null while it runs. */
function proofEnded(pod: KubeObject): EndedPod | null {
  const over = at(statusOf(pod, CONTAINER.init), "state", "terminated");
  if (over === undefined) return null;
  return { kind: at(over, "exitCode") === 0 ? "succeeded" : "failed", why: reasonOf(pod) };
}

/** What init said: `sidegate-init: holds: …`, `FAILS: …`, and by which back end. */
export function verdict(where: string, ended: EndedPod, log: string): Finding {
  const lines = log.split("\n").map((line) => line.replace(/^sidegate-init: /, ""));
  const holds = lines.filter((line) => line.startsWith("holds: ")).length;
  const failing = lines.filter((line) => line.startsWith("FAILS: ")).map((line) => line.slice("FAILS: ".length));
  const by = lines.find((line) => line.startsWith("rules loaded by ")) ?? "";
  if (ended.kind === "succeeded" && holds > 0 && failing.length === 0)
    return ok(PROOF, `${where}: ${holds} properties hold, ${by}`);
  if (ended.kind === "late")
    return fail(
      PROOF,
      `${where}: not ended after ${WAIT_MS / 1000} s (${ended.why})`,
      "kubectl describe node; can it pull the proxy image?",
    );
  if (ended.kind === "stopped") return fail(PROOF, `${where}: stopped before it ended`, "run it again");
  const why = failing.length > 0 ? failing.join("; ") : (lines.findLast((line) => line !== "") ?? ended.why);
  return fail(
    PROOF,
    `${where}: this kernel does not hold: ${why}`,
    "load nf_tables (or ip_tables with REDIRECT and owner) on these nodes, or keep agents off them by a nodeSelector; dataplane: iptables tries the older back end",
  );
}

function proofPod(options: InjectionOptions, node: string, namespace: string): KubeObject {
  const uid = randomInt(PROXY_UID.first, PROXY_UID.last + 1);
  const container = initContainer({ uid, inbound: [], resources: options.resources }, options);
  const pod = {
    metadata: { namespace, name: `sidegate-doctor-${randomInt(2 ** 40).toString(36)}`, labels: PROOF_LABEL },
    spec: {
      containers: [container, trialContainer(options)],
      nodeName: node,
      tolerations: [{ operator: "Exists" }],
      restartPolicy: "Never",
      activeDeadlineSeconds: LIMIT_S,
      terminationGracePeriodSeconds: 1,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: { seccompProfile: { type: "RuntimeDefault" } },
      imagePullSecrets: options.imagePullSecrets.map((name) => ({ name })),
    },
  };
  return pod;
}

/** As an agent's container is, with the proxy image: the one that is there for certain. */
function trialContainer(options: InjectionOptions): object {
  return {
    name: TRIAL,
    image: options.image,
    imagePullPolicy: options.imagePullPolicy,
    command: [PROXY_COMMAND.init[0], "--disable-warning=ExperimentalWarning", "-e", VSOCK_TRIAL],
    resources: { requests: { cpu: "20m", memory: "48Mi" }, limits: { memory: "128Mi" } },
    securityContext: {
      runAsUser: 65_532,
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
      seccompProfile: agentProfile(options),
    },
  };
}

/** Of an earlier try that was killed. */
async function removeLeftovers(cluster: Cluster, namespace: string): Promise<void> {
  const selector = "app.kubernetes.io/component=doctor";
  for (const { metadata } of await cluster.all(ADMIN_RESOURCE.pod, { namespace, labelSelector: selector })) {
    if (metadata.labels?.["app.kubernetes.io/name"] !== "sidegate") continue;
    const ageMs = Date.now() - Date.parse(metadata.creationTimestamp ?? "");
    if (ageMs > 2 * WAIT_MS)
      await cluster.remove(ADMIN_RESOURCE.pod, { namespace, name: metadata.name }).catch(() => undefined);
  }
}
