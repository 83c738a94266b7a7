/**
 * The way that every agent's pod goes, gone once without leaving one: a dry run passes the API server's own admission, our webhook
 * (which answers dry runs) and our policies. Whatever refuses is told in its own words.
 */
import { ANNOTATION, LABEL } from "#contract/names.ts";
import { isOwnRight } from "./cluster.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";
import { textAt } from "./members.ts";

const MAX_NAMESPACES = 50;
const LIMIT_MS = 20_000;
const POD = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { generateName: "sidegate-doctor-", labels: { [LABEL.inject]: "true" } },
  spec: {
    automountServiceAccountToken: false,
    containers: [
      {
        name: "app",
        image: "sidegate.invalid/doctor:1",
        securityContext: { runAsUser: 65_532, runAsNonRoot: true },
        resources: { requests: { cpu: "10m", memory: "16Mi" }, limits: { cpu: "100m", memory: "32Mi" } },
      },
    ],
  },
} as const;

export async function checkAdmission(facts: Facts): Promise<Finding[]> {
  const names = (await facts.optedIn()).map(({ metadata }) => metadata.name);
  const asked = names.length === 0 ? ["default"] : names.slice(0, MAX_NAMESPACES);
  const findings: Finding[] = [];
  for (const namespace of asked) findings.push(await goOnce(facts, namespace));
  if (names.length > asked.length)
    findings.push(
      warn(
        "admission try",
        `only the first ${asked.length} of ${names.length} namespaces were tried`,
        "the others are as their labels say",
      ),
    );
  const wrong = findings.filter(({ state }) => state !== "ok");
  return wrong.length > 0
    ? wrong
    : findings
        .slice(0, 1)
        .map((one) =>
          asked.length === 1 ? one : ok("admission try", `a pod would be injected in ${asked.join(", ")}`),
        );
}

async function goOnce({ cluster, namespace: own }: Facts, namespace: string): Promise<Finding> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods?dryRun=All`;
  const started = performance.now();
  const { status, text } = await cluster.raw({ method: "POST", path, body: POD, limitMs: LIMIT_MS });
  const tookMs = Math.round(performance.now() - started);
  const answer = parsed(text);
  if (status === 201) {
    if (textAt(answer, "metadata", "annotations", ANNOTATION.injected) !== "")
      return ok("admission try", `a pod would be injected in namespace ${namespace} (${tookMs} ms)`);
    const fix = `neither the webhook nor the admission policies saw it: helm upgrade, then kubectl get mutatingwebhookconfiguration,validatingadmissionpolicybinding | grep sidegate`;
    return fail("admission try", `namespace ${namespace}: an agent's pod would start WITHOUT the gateway`, fix);
  }
  const message = textAt(answer, "message") || `status ${status}`;
  if (status === 403 && isOwnRight({ message }))
    return fail(
      "admission try",
      `namespace ${namespace}: your account may not create pods there, so it was not tried`,
      "ask for the verb create on pods",
    );
  return fail(
    "admission try",
    `namespace ${namespace}: an agent's pod is refused: ${message.slice(0, 600)}`,
    wayOut(message, own, namespace),
  );
}

/** The messages and ways out of docs/operations.md, where a first word tells them apart. */
function wayOut(message: string, own: string, namespace: string): string {
  if (message.includes("failed calling webhook"))
    return `no replica of the webhook answers, or its certificate is not trusted: kubectl -n ${own} get pods,endpointslices,events`;
  if (message.includes("violates PodSecurity"))
    return `kubectl label namespace ${namespace} pod-security.kubernetes.io/enforce=privileged --overwrite; where the cluster's own default says it, exempt the namespace there`;
  if (message.includes("exceeded quota") || message.includes("must specify"))
    return "the namespace's ResourceQuota: raise it, or set injection.resources";
  if (message.includes("no params found"))
    return `ConfigMap sidegate-injection or sidegate-runtime of ${own} is missing: helm upgrade, or kubectl -n ${own} logs deployment/sidegate-controller`;
  if (message.includes("differs from what the gateway injects"))
    return "webhook and policies are of different releases: wait for the rollout, else helm upgrade";
  return "the message says which field; docs/troubleshooting.md lists them";
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
