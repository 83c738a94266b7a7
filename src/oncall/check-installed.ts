/** What the chart installs: is it there, of one version, pinned by digest, of a priority that is not evicted first, and answering. */
import { CONTROL_OBJECT, CONTROL_SERVICE } from "#contract/control-environment.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import type { KubeObject, Resource } from "#kube/port.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";
import { at, listAt, numberAt, textAt } from "./members.ts";

export interface Component {
  readonly name: string;
  readonly resource: Resource;
  readonly found: KubeObject | null;
}

/** Whether the installation keeps its own certificates and guard; without, there is no controller (`certificates.managed: false`). */
export async function isManaged({ cluster, namespace }: Facts): Promise<boolean> {
  return (await cluster.get(ADMIN_RESOURCE.configMap, CONTROL_OBJECT.guarded, namespace)) !== null;
}

export async function components(facts: Facts): Promise<readonly Component[]> {
  const wanted: readonly (readonly [string, Resource])[] = [
    [CONTROL_SERVICE.webhook, ADMIN_RESOURCE.deployment],
    ...((await isManaged(facts)) ? [[CONTROL_SERVICE.controller, ADMIN_RESOURCE.deployment] as const] : []),
    [CONTROL_SERVICE.collector, ADMIN_RESOURCE.statefulSet],
  ];
  return Promise.all(
    wanted.map(async ([name, resource]) => ({
      name,
      resource,
      found: await facts.cluster.get(resource, name, facts.namespace),
    })),
  );
}

export async function checkInstalled(facts: Facts, ownVersion: string): Promise<Finding[]> {
  const { namespace } = facts;
  const found = await components(facts);
  const findings = found.flatMap((one) => running(one, namespace));
  if (findings.length === 0) findings.push(ok("installed", found.map(({ name }) => name).join(", ")));
  if (!(await isManaged(facts)))
    findings.push(
      warn(
        "installed",
        "there is no controller (certificates.managed: false): nobody restores what is changed, policies of the cluster are not served",
        "install with certificates.managed: true, or watch the webhook configurations yourself",
      ),
    );
  return [...findings, ...versions(found, ownVersion), ...(await priorities(facts, found))];
}

function running({ name, resource, found }: Component, namespace: string): Finding[] {
  const kind = resource.kind.toLowerCase();
  if (found === null)
    return [
      fail(
        "installed",
        `${resource.kind} ${namespace}/${name} is missing`,
        "helm upgrade --install puts it back; another namespace is named by --namespace",
      ),
    ];
  const wanted = numberAt(found, "spec", "replicas");
  const ready = numberAt(found, "status", "readyReplicas");
  const updated = numberAt(found, "status", "updatedReplicas");
  const look = `kubectl -n ${namespace} describe ${kind} ${name}; kubectl -n ${namespace} get pods,events`;
  if (ready === 0) return [fail("installed", `${name}: none of ${wanted} replicas is ready`, look)];
  if (ready < wanted) return [warn("installed", `${name}: ${ready} of ${wanted} replicas are ready`, look)];
  if (updated < wanted) return [warn("installed", `${name}: a rollout is under way (${updated} of ${wanted})`, look)];
  return [];
}

function versions(found: readonly Component[], ownVersion: string): Finding[] {
  const label = (object: KubeObject | null): string => object?.metadata.labels?.["app.kubernetes.io/version"] ?? "";
  const seen = [...new Set(found.map((one) => label(one.found)).filter((version) => version !== ""))];
  const images = found.flatMap(({ found: object }) =>
    listAt(object, "spec", "template", "spec", "containers").map((container) => textAt(container, "image")),
  );
  const findings: Finding[] = [];
  if (seen.length > 1)
    findings.push(warn("versions", `the control plane runs ${seen.join(" and ")}`, "finish the upgrade: helm upgrade"));
  else if (seen[0] !== undefined && seen[0] !== ownVersion)
    findings.push(
      warn(
        "versions",
        `the cluster runs ${seen[0]}, this command line is ${ownVersion}`,
        `npm install -g sidegate@${seen[0]}`,
      ),
    );
  else if (seen[0] !== undefined) findings.push(ok("versions", seen[0]));
  const loose = [...new Set(images.filter((image) => !image.includes("@sha256:")))];
  if (loose.length > 0)
    findings.push(
      warn(
        "versions",
        `not pinned by digest: ${loose.join(", ")}`,
        "set images.proxy.digest and images.control.digest",
      ),
    );
  return findings;
}

async function priorities({ cluster, namespace }: Facts, found: readonly Component[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  const known = new Map<string, KubeObject | null>();
  for (const { name, found: object } of found) {
    if (object === null) continue;
    const wanted = textAt(object, "spec", "template", "spec", "priorityClassName");
    if (wanted === "") {
      const says = `${name} has no priority class: a full node evicts it first, and then new agent pods are refused`;
      findings.push(warn("priority", says, "set priorityClassName (default system-cluster-critical)"));
      continue;
    }
    if (!known.has(wanted)) known.set(wanted, await cluster.get(ADMIN_RESOURCE.priorityClass, wanted));
    if (known.get(wanted) === null)
      findings.push(
        fail(
          "priority",
          `${name} names priority class ${wanted}, which is not there`,
          `kubectl -n ${namespace} get priorityclasses; set priorityClassName`,
        ),
      );
  }
  if (findings.length > 0 || known.size === 0) return findings;
  return [ok("priority", [...known.keys()].join(", "))];
}

/** Of each Service of ours: addresses that are ready. */
export async function checkEndpoints(facts: Facts): Promise<Finding[]> {
  const { cluster, namespace } = facts;
  const services = (await components(facts)).map(({ name }) => name);
  const slices = await cluster.all(ADMIN_RESOURCE.endpointSlice, { namespace });
  const counts = services.map((service) => {
    const own = slices.filter(({ metadata }) => metadata.labels?.["kubernetes.io/service-name"] === service);
    const ready = own
      .flatMap((slice) => listAt(slice, "endpoints"))
      .filter((endpoint) => at(endpoint, "conditions", "ready") !== false);
    return { service, ready: ready.length };
  });
  const silent = counts.filter(({ ready }) => ready === 0);
  if (silent.length === 0)
    return [ok("endpoints", counts.map(({ service, ready }) => `${service}: ${ready}`).join(", "))];
  return silent.map(({ service }) =>
    fail(
      "endpoints",
      `Service ${service} has no ready address`,
      `kubectl -n ${namespace} get pods,endpointslices; kubectl -n ${namespace} logs -l app.kubernetes.io/component=${service.replace("sidegate-", "")}`,
    ),
  );
}
