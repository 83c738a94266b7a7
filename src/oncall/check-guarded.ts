/**
 * Our webhook configurations, admission policies, their bindings and our custom resource definitions: there, and as the chart wrote
 * them. The API server asks no admission about the first three, so whoever may write them can open the gate.
 */
import { CONTROL_OBJECT } from "#contract/control-environment.ts";
import { customResources } from "#contract/custom-resources.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import { differences } from "#kube/compare.ts";
import type { KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import { describeStanding, standingOf } from "../controller/definitions.ts";
import { type Desired, readDesired } from "../controller/guard.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";
import { at, listAt, textAt, textsAt } from "./members.ts";

export const WEBHOOK_KINDS = [RESOURCE.mutatingWebhook, RESOURCE.validatingWebhook] as const;
const RESTORE =
  "the controller restores it within seconds: kubectl -n NS logs deployment/sidegate-controller; else helm upgrade";

export async function checkGuarded({ cluster, namespace }: Facts): Promise<Finding[]> {
  const map = await cluster.get(ADMIN_RESOURCE.configMap, CONTROL_OBJECT.guarded, namespace);
  if (map === null) return present(await webhooks({ cluster }), "webhooks");
  let desired: readonly Desired[];
  try {
    desired = readDesired(textsAt(map, "data"));
  } catch (fault) {
    const why = fault instanceof Error ? fault.message : String(fault);
    return [fail("guard", `ConfigMap ${namespace}/${CONTROL_OBJECT.guarded} cannot be read: ${why}`, "helm upgrade")];
  }
  const fix = RESTORE.replace("NS", namespace);
  const findings: Finding[] = [];
  for (const { resource, object } of desired) {
    const check = resource.plural.includes("webhook") ? "webhooks" : "admission";
    const { name } = object.metadata;
    const live = await cluster.get(resource, name);
    if (live === null) {
      findings.push(fail(check, `${resource.kind} ${name} is missing`, fix));
      continue;
    }
    const wrong = [
      ...differences(at(object, "webhooks") ?? null, at(live, "webhooks") ?? null, "webhooks"),
      ...differences(at(object, "spec") ?? null, at(live, "spec") ?? null, "spec"),
    ];
    if (wrong.length > 0)
      findings.push(fail(check, `${resource.kind} ${name} differs from the chart's: ${wrong.join(", ")}`, fix));
  }
  const count = (webhook: boolean): number =>
    desired.filter(({ resource }) => resource.plural.includes("webhook") === webhook).length;
  for (const [check, webhook, what] of [
    ["webhooks", true, "configurations"],
    ["admission", false, "policies and bindings"],
  ] as const) {
    if (findings.some((one) => one.check === check)) continue;
    if (count(webhook) > 0) findings.push(ok(check, `${count(webhook)} ${what} as the chart wrote them`));
    else
      findings.push(
        warn(
          check,
          "secondLock.enabled is false: while the webhook's configuration is missing, agent pods start without the gateway",
          "secondLock.enabled: true",
        ),
      );
  }
  return findings;
}

export async function webhooks({ cluster }: Pick<Facts, "cluster">): Promise<readonly (KubeObject | null)[]> {
  return Promise.all(WEBHOOK_KINDS.map((resource) => cluster.get(resource, "sidegate")));
}

function present(found: readonly (KubeObject | null)[], check: string): Finding[] {
  const missing = WEBHOOK_KINDS.filter((_, index) => found[index] === null);
  if (missing.length === 0)
    return [warn(check, "there, but nobody keeps them as the chart wrote them", "certificates.managed: true")];
  return missing.map(({ kind }) => fail(check, `${kind} sidegate is missing`, "helm upgrade --install"));
}

export async function checkDefinitions({ cluster, namespace }: Facts): Promise<Finding[]> {
  const findings: Finding[] = [];
  const apply = "kubectl apply --server-side --force-conflicts -f charts/gateway/crds";
  const fix = `the controller writes it (values crds.upgrade), its log says why not: kubectl -n ${namespace} logs deployment/sidegate-controller; else ${apply}`;
  for (const wanted of customResources()) {
    const { name } = wanted.metadata;
    const live = await cluster.get(ADMIN_RESOURCE.definition, name);
    const standing = standingOf(wanted, live);
    if (standing.kind === "newer" && standing.serves)
      findings.push(
        warn("definitions", `${name} ${describeStanding(standing)}`, "use the command line of that release"),
      );
    else if (standing.kind !== "current")
      findings.push(fail("definitions", `CustomResourceDefinition ${name} ${describeStanding(standing)}`, fix));
    const served = listAt(live, "status", "conditions").some(
      (one) => textAt(one, "type") === "Established" && textAt(one, "status") === "True",
    );
    if (live !== null && !served)
      findings.push(fail("definitions", `${name} is not established`, `kubectl describe crd ${name}`));
  }
  return findings.length > 0 ? findings : [ok("definitions", `${customResources().length} at this release's schema`)];
}
