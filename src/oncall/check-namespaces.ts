/** What would refuse an agent's pod, or capture its connections too, in the namespaces that opted in: said before the first pod. */
import { optionsFor } from "#injection/complete-options.ts";
import type { MeshOptions } from "#injection/mesh-options.ts";
import { DEFAULT_OPTIONS, type InjectionOptions } from "#injection/options.ts";
import { POD_SECURITY_LABEL, podSecurityViolation, refusingLevel } from "#injection/pod-security.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import type { KubeObject } from "#kube/port.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";
import { listAt } from "./members.ts";
import { type GatewayNeed, refusedByLimitRange, refusedByQuota } from "./room.ts";

export async function checkPodSecurity(facts: Facts): Promise<Finding[]> {
  const optedIn = await facts.optedIn();
  if (optedIn.length === 0)
    return [
      warn(
        "pod security",
        "no namespace has opted in: nothing is captured",
        "kubectl label namespace NAME sidegate.dev/inject=all",
      ),
    ];
  const findings = optedIn.flatMap(({ metadata: { name, labels = {} } }) => {
    const level = refusingLevel(labels);
    if (level === "") return [];
    // The webhook's own words, before the first pod.
    const says = `namespace ${name}: label ${POD_SECURITY_LABEL}: ${podSecurityViolation(level).message}`;
    return [fail("pod security", says, `kubectl label namespace ${name} ${POD_SECURITY_LABEL}=privileged --overwrite`)];
  });
  const many = optedIn.length === 1 ? "the namespace" : `the ${optedIn.length} namespaces`;
  return findings.length > 0 ? findings : [ok("pod security", `${many} that opted in let init have NET_ADMIN`)];
}

/** Labels and annotations by which a mesh takes a whole namespace. */
const MESHES: readonly {
  readonly mesh: string;
  readonly key: string;
  readonly values: RegExp;
  readonly off: string;
}[] = [
  { mesh: "Istio", key: "istio-injection", values: /^enabled$/, off: "istio-injection=disabled --overwrite" },
  { mesh: "Istio", key: "istio.io/rev", values: /./, off: "istio.io/rev-" },
  {
    mesh: "Istio's ambient mode",
    key: "istio.io/dataplane-mode",
    values: /^ambient$/,
    off: "istio.io/dataplane-mode-",
  },
  {
    mesh: "Linkerd",
    key: "linkerd.io/inject",
    values: /^(enabled|ingress)$/,
    off: "linkerd.io/inject=disabled --overwrite",
  },
  {
    mesh: "Kuma",
    key: "kuma.io/sidecar-injection",
    values: /^(enabled|true)$/,
    off: "kuma.io/sidecar-injection=disabled --overwrite",
  },
  {
    mesh: "Open Service Mesh",
    key: "openservicemesh.io/monitored-by",
    values: /./,
    off: "openservicemesh.io/monitored-by-",
  },
];

/** A chained mesh is named, not refused: its proxy goes out un-judged, behind ours. */
function chained(
  found: string,
  { labels = {} }: KubeObject["metadata"],
  options: InjectionOptions | null,
): MeshOptions | null {
  if (options === null || options.mesh?.name !== found) return null;
  const { mesh, tier } = optionsFor(options, "", labels);
  return tier === "locked" ? null : mesh;
}

export async function checkMesh(facts: Facts): Promise<Finding[]> {
  const optedIn = await facts.optedIn();
  const { options } = await facts.injection();
  const findings = optedIn.flatMap(({ metadata }) => {
    const { name, labels = {}, annotations = {} } = metadata;
    return MESHES.flatMap(({ mesh, key, values, off }) => {
      const [verb, value] = values.test(labels[key] ?? "")
        ? ["label", labels[key]]
        : values.test(annotations[key] ?? "")
          ? ["annotate", annotations[key]]
          : ["", ""];
      if (verb === "") return [];
      const its = chained(mesh, metadata, options);
      if (its !== null)
        return [
          ok(
            "mesh",
            `namespace ${name}: ${mesh} is chained: behind the gateway its proxy goes out as uid ${its.uid}, un-judged`,
          ),
        ];
      const says = `namespace ${name}: ${key}=${value ?? ""}: ${mesh} would redirect the same connections, so its agents' pods are refused by name`;
      return [
        fail(
          "mesh",
          says,
          `kubectl ${verb} namespace ${name} ${off}; or exclude the agents' pods from the mesh, each by its own label`,
        ),
      ];
    });
  });
  return findings.length > 0 || optedIn.length === 0 ? findings : [ok("mesh", "none in the namespaces that opted in")];
}

/** Quotas and LimitRanges against what our two containers ask for. */
export async function checkRoom(facts: Facts): Promise<Finding[]> {
  const { cluster } = facts;
  const optedIn = await facts.optedIn();
  if (optedIn.length === 0) return [];
  const { options } = await facts.injection();
  const need: GatewayNeed = (options ?? DEFAULT_OPTIONS).resources;
  const of = (objects: readonly KubeObject[], namespace: string): readonly KubeObject[] =>
    objects.filter(({ metadata }) => metadata.namespace === namespace);
  const quotas = await cluster.all(ADMIN_RESOURCE.quota);
  const ranges = await cluster.all(ADMIN_RESOURCE.limitRange);
  const findings = optedIn.flatMap(({ metadata: { name } }) => {
    const items = of(ranges, name).flatMap((range) =>
      listAt(range, "spec", "limits").map((item) => ({ name: range.metadata.name, item })),
    );
    return [
      ...items.flatMap(({ name: range, item }) =>
        refusedByLimitRange(need, item).map(({ says, fix }) =>
          fail("room", `namespace ${name}, LimitRange ${range}: ${says}`, fix),
        ),
      ),
      ...of(quotas, name).flatMap((quota) =>
        refusedByQuota(
          need,
          quota,
          items.map(({ item }) => item),
        ).map(({ says, fix, certain }) => {
          const said = `namespace ${name}, ResourceQuota ${quota.metadata.name}: ${says}`;
          return certain ? fail("room", said, fix) : warn("room", said, fix);
        }),
      ),
    ];
  });
  return findings.length > 0 ? findings : [ok("room", "no quota and no LimitRange refuses our containers")];
}
