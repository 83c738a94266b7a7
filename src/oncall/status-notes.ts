/** What is open or closed on purpose, and what is not Ready: as the objects of the cluster say it. */
import { MAX_OBSERVE_MS, NAMESPACE_LABEL, OBSERVE_UNTIL } from "#contract/control-environment.ts";
import { exemptUid } from "#injection/mesh.ts";
import { readPod } from "#injection/pod.ts";
import { listFreezes } from "#kube/freezes.ts";
import type { KubeObject } from "#kube/port.ts";
import { observeNamespace } from "../controller/observed.ts";
import type { Facts, Injection } from "./facts.ts";
import { period } from "./finding.ts";
import { at, listAt, numberAt, textAt } from "./members.ts";
import { type Exemption, exemptionText, hasEnded } from "./standing.ts";

export interface Note {
  /** Namespace, or namespace/name. */
  readonly of: string;
  readonly says: string;
}

/** What the controller says of each; one that it has not looked at since it changed is not Ready either. */
export function readiness(objects: readonly KubeObject[]): Note[] {
  return objects.flatMap((object) => {
    const { namespace = "", name, generation = 0 } = object.metadata;
    const of = `${object.kind ?? ""} ${namespace === "" ? "" : `${namespace}/`}${name}`;
    const ready = listAt(object, "status", "conditions").find((condition) => textAt(condition, "type") === "Ready");
    if (numberAt(object, "status", "observedGeneration") !== generation)
      return [{ of, says: "not looked at by the controller yet" }];
    if (textAt(ready, "status") === "True") return [];
    const [line = ""] = textAt(ready, "message").split("\n");
    return [{ of, says: `not Ready: ${textAt(ready, "reason") || "no condition"}${line === "" ? "" : `: ${line}`}` }];
  });
}

export function observeNotes(namespace: KubeObject, nowMs: number): Note[] {
  const { name, labels = {}, annotations = {} } = namespace.metadata;
  if (labels[NAMESPACE_LABEL.mode] !== "observe") return [];
  const until = annotations[OBSERVE_UNTIL] ?? "";
  const { observeUntilMs } = observeNamespace(namespace, nowMs);
  if (observeUntilMs > 0)
    return [
      {
        of: name,
        says: `observe mode until ${until} (${period(observeUntilMs - nowMs)} left): denials of policy are recorded, not carried out`,
      },
    ];
  const why =
    until === ""
      ? `annotation ${OBSERVE_UNTIL} is missing`
      : Date.parse(until) <= nowMs
        ? `it ended at ${until}`
        : `${until} is no time within ${MAX_OBSERVE_MS / 86_400_000} days`;
  return [{ of: name, says: `labelled ${NAMESPACE_LABEL.mode}=observe, but enforced: ${why}` }];
}

export function exemptionNote(exemption: Exemption, nowMs: number): Note {
  const ended = hasEnded(exemption, nowMs);
  return {
    of: exemption.namespace,
    says: `${exemptionText(exemption)}${ended ? "; ITS DATE HAS PASSED: take it out of the chart's values" : ""}`,
  };
}

/** Pods out of which a mesh's proxy goes un-judged, behind the gateway, by namespace. */
export function meshNotes(pods: readonly KubeObject[]): Note[] {
  const by = new Map<string, number>();
  for (const pod of pods) {
    const reading = readPod(pod);
    const uid = reading.kind === "pod" ? exemptUid(reading.pod) : null;
    if (uid === null) continue;
    const key = `${pod.metadata.namespace ?? ""} ${uid}`;
    by.set(key, (by.get(key) ?? 0) + 1);
  }
  return [...by].map(([key, count]) => {
    const [of = "", uid = ""] = key.split(" ");
    const many = count === 1 ? "1 pod" : `${count} pods`;
    return { of, says: `${many} with a chained mesh: behind the gateway its proxy goes out as uid ${uid}, un-judged` };
  });
}

export function insecure(target: KubeObject): Note[] {
  if (at(target, "spec", "insecureCredential") !== true) return [];
  const of = `EgressTarget ${target.metadata.namespace ?? ""}/${target.metadata.name}`;
  return [
    {
      of,
      says: `insecureCredential: ${textAt(target, "spec", "credential") || "its credential"} goes over unverified TLS to ${listAt(target, "spec", "endpoints").join(", ")}`,
    },
  ];
}

export async function freezeNotes(
  { cluster, namespace }: Facts,
  only: string,
): Promise<{ readonly notes: readonly Note[]; readonly missing: string }> {
  try {
    const found = await listFreezes(cluster.kube, namespace, only);
    const everywhere = only === "" || only === namespace ? [] : await listFreezes(cluster.kube, namespace, namespace);
    return {
      notes: [...found, ...everywhere].map(({ namespace: at_, pod, frozen, pods }) => ({
        of: frozen.scope === "all" ? "every agent" : pod === null ? at_ : `${at_}/${pod}`,
        says: `frozen by ${frozen.by} since ${frozen.since}: ${frozen.reason}${pods === null ? "" : ` (${pods} pods)`}`,
      })),
      missing: "",
    };
  } catch (fault) {
    return {
      notes: [],
      missing: `freezes were not looked at: ${fault instanceof Error ? fault.message : String(fault)}`,
    };
  }
}

/** The chart's values as the options have them; in older releases only who is exempt is known. */
export function readExemptions({ options, data }: Pick<Injection, "options" | "data">): Exemption[] {
  const listed = listAt(options, "exemptions").map((entry) => ({
    namespace: textAt(entry, "namespace"),
    serviceAccount: textAt(entry, "serviceAccount"),
    until: textAt(entry, "until"),
    reason: textAt(entry, "reason"),
  }));
  if (listed.length > 0) return listed;
  return (data["exemptions"] ?? "").split("\n").flatMap((line) => {
    const [namespace = "", serviceAccount = ""] = line.split("/");
    return serviceAccount === "" ? [] : [{ namespace, serviceAccount, until: "", reason: "" }];
  });
}
