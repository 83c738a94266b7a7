/**
 * A new pod has the gateway in it, first and unchanged. What is demanded is what `src/injection` writes: the same functions make
 * the containers and volumes here, with CEL expressions where injection puts a value of the installation or of the pod.
 */
import { NAMESPACE_LABEL } from "#contract/control-environment.ts";
import { ANNOTATION, CONTAINER, PROXY_UID, VOLUME } from "#contract/names.ts";
import { PROXY_ENV } from "#contract/proxy-environment.ts";
import { gatewayVolumes, initContainer, sidecarContainer } from "#injection/gateway-containers.ts";
import { STAMP } from "#injection/inject.ts";
import type { InjectionOptions } from "#injection/options.ts";
import { POD_CONTROLLERS, UNSTAMPED_CONTROLLER } from "#injection/owner.ts";
import type { Container } from "#injection/pod.ts";
import { celLiteral, hole, quote, quotedList } from "./cel.ts";
import { MESH_TEXT } from "./mesh.ts";
import { type Check, NOT_EXEMPT, type Policy, pods } from "./policy.ts";

export const OUR_NAMES = quotedList(Object.values(CONTAINER));
export const OUR_VOLUMES = quotedList(Object.values(VOLUME));

/** The ConfigMap's keys are the options' own names. */
const param = (name: string): string => `params.data[${quote(name)}]`;
const given = (name: string): string => hole(param(name));

/** Options in which each string is the expression that yields it. */
function holes(bundleFromFile: boolean): InjectionOptions {
  const options = {
    image: given("image"),
    imagePullPolicy: given("imagePullPolicy"),
    imagePullSecrets: [],
    dataplane: given("dataplane"),
    cluster: given("cluster"),
    tier: hole("variables.tier"),
    collector: { url: given("collectorUrl"), ca: "" },
    bundle: {
      url: bundleFromFile ? "" : given("bundleUrl"),
      configMap: bundleFromFile ? given("bundleConfigMap") : "",
      publicKey: "",
      keyId: given("bundleKeyId"),
      scope: hole("variables.scope"),
    },
    resolvers: [],
    resources: { init: {}, sidecar: {} },
    limitRange: null,
    stateSize: given("stateSize"),
    trustSize: given("trustSize"),
    runtimeClasses: [],
    devices: [],
  };
  // Three of them are enumerations of words, for which no hole is one.
  return options as unknown as InjectionOptions;
}

const PARTS = { uid: PROXY_UID.first, inbound: [], resources: { init: {}, sidecar: {} } } as const;

/** What the controller makes at run time; `runtimePolicy` compares these, with a ConfigMap that it writes. */
const RUNTIME: Readonly<Record<string, string>> = {
  [PROXY_ENV.collectorCa]: "ca.crt",
  [PROXY_ENV.bundleKey]: "bundle-key.pem",
};
const RESOLVERS: Readonly<Record<string, string>> = { [PROXY_ENV.resolvers]: "resolvers" };

/** The value of a variable of a container's environment; an error, and so a denial, where it is not there exactly once. */
const valueOf = (container: string, name: string): string =>
  `(size(${container}.env.filter(e, e.name == ${quote(name)})) == 1 ? ${container}.env.filter(e, e.name == ${quote(name)})[0][?"value"].orValue("") : "twice or never")`;

/** `variables.init == …`, but for what may differ: resources (a LimitRange, a VPA), and what the API server adds about resizing. */
function equality(variable: string, container: Container): string {
  const { resources: _, ...rest } = container;
  const env = (container.env ?? []).map((entry) => {
    if (entry.name === PROXY_ENV.mesh) return { ...entry, value: hole("variables.mesh") };
    if (entry.name === PROXY_ENV.uid) return { ...entry, value: hole("variables.uidText") };
    if (entry.name === PROXY_ENV.inbound || Object.hasOwn({ ...RUNTIME, ...RESOLVERS }, entry.name))
      return { ...entry, value: hole(valueOf(variable, entry.name)) };
    return entry;
  });
  const security = JSON.parse(
    JSON.stringify(container.securityContext, (_key, value: unknown) =>
      value === PARTS.uid ? hole("variables.uid") : value,
    ),
  ) as object;
  const expected = { ...rest, env, securityContext: security, resources: hole(`${variable}.resources`) };
  const plain = celLiteral(expected);
  const resizable = celLiteral({ ...expected, resizePolicy: hole(`${variable}.resizePolicy`) });
  return `${variable} == (has(${variable}.resizePolicy) ? ${resizable} : ${plain})`;
}

const MISSING =
  "spec.initContainers: the gateway's containers are missing or not the first two. Its webhook puts them in; make the pod anew once it answers";
const DIFFERS = "differs from what the gateway injects; leave it to the webhook";

/** Only where both are there: else one message is enough. */
const guarded = (expression: string): string => `!variables.present || (${expression})`;

function volumeChecks(): Check[] {
  const fromFile = gatewayVolumes(holes(true));
  return fromFile.map((volume) => {
    const found = `object.spec.?volumes.orValue([]).filter(v, v.name == ${quote(volume.name)})`;
    const equal = `size(${found}) == 1 && dyn(${found}[0]) == ${celLiteral(volume)}`;
    const expression =
      volume.name === VOLUME.bundle ? `${param("bundleConfigMap")} == "" ? size(${found}) == 0 : (${equal})` : equal;
    return { expression: guarded(expression), message: `spec.volumes[${volume.name}]: ${DIFFERS}` };
  });
}

const annotation = (name: string): string => `object.metadata.?annotations[?${quote(name)}].orValue("")`;

const RESOURCES = `(has(c.resources.requests) ? c.resources.requests : {}).all(k, k in ["cpu", "memory", "ephemeral-storage"]) && (has(c.resources.limits) ? c.resources.limits : {}).all(k, k in ["cpu", "memory", "ephemeral-storage"]) && !has(c.resources.claims)`;

/** Of the chart's parameters. */
export const DEPLOYER = `(request.userInfo.username in params.data["deployers"].split("\\n"))`;

export const TIER_VARIABLES = {
  asked: `namespaceObject.metadata.?labels[?${quote(NAMESPACE_LABEL.tier)}].orValue("")`,
  tier: `variables.asked in ["enforced", "locked"] ? variables.asked : ${param("tier")}`,
} as const;

export function gatewayPolicy(): Policy {
  const both = (make: (options: InjectionOptions) => Container, variable: string): string =>
    guarded(
      `${param("bundleConfigMap")} != "" ? ${equality(variable, make(holes(true)))} : ${equality(variable, make(holes(false)))}`,
    );
  return {
    name: "sidegate-gateway",
    about: "A new agent pod has the gateway's two containers, first and unchanged, and the gateway's volumes.",
    params: true,
    rules: [pods("CREATE")],
    conditions: NOT_EXEMPT,
    variables: {
      inits: "object.spec.?initContainers.orValue([])",
      present: `size(variables.inits) >= 2 && variables.inits[0].name == ${quote(CONTAINER.init)} && variables.inits[1].name == ${quote(CONTAINER.sidecar)}`,
      init: "variables.inits[0]",
      sidecar: "variables.inits[1]",
      uidText: annotation(ANNOTATION.proxyUid),
      uid: `variables.uidText.matches("^[0-9]{10}$") ? int(variables.uidText) : 0`,
      ...TIER_VARIABLES,
      mesh: MESH_TEXT,
      scope: `${param("bundleConfigMap")} == "" ? ${param("cluster")} + "/" + request.namespace : ${param("bundleScope")}`,
      inbound: valueOf("variables.init", PROXY_ENV.inbound),
      owners: "object.metadata.?ownerReferences.orValue([]).filter(o, o.?controller.orValue(false))",
      made: `request.userInfo.username in ${quotedList(POD_CONTROLLERS)}`,
      // Nobody stamps a ReplicationController, and what its template says is its author's word.
      stamped: `variables.made && request.userInfo.username != ${quote(UNSTAMPED_CONTROLLER)}`,
      owner: `variables.made && size(variables.owners) == 1 ? variables.owners[0].kind + "/" + variables.owners[0].name : ""`,
    },
    checks: [
      { expression: "variables.present", message: MISSING },
      {
        expression: guarded(`variables.uid >= ${PROXY_UID.first} && variables.uid <= ${PROXY_UID.last}`),
        message: `metadata.annotations[${ANNOTATION.proxyUid}]: is not of the gateway's range; leave it to the webhook`,
      },
      {
        expression: guarded(equality("variables.init", initContainer(PARTS, holes(false)))),
        message: `spec.initContainers[0]: ${CONTAINER.init} ${DIFFERS}`,
      },
      {
        expression: guarded(`variables.inbound.matches("^[0-9,]*$")`),
        message: `spec.initContainers[0].env[${PROXY_ENV.inbound}]: ${DIFFERS}`,
      },
      {
        expression: both((options) => sidecarContainer(PARTS, options), "variables.sidecar"),
        message: `spec.initContainers[1]: ${CONTAINER.sidecar} ${DIFFERS}`,
      },
      {
        expression: guarded(`[variables.init, variables.sidecar].all(c, ${RESOURCES})`),
        message: "spec.initContainers: the gateway's containers ask for no device",
      },
      {
        expression: guarded(
          `size(variables.inits.filter(c, c.name in ${OUR_NAMES})) == 2 && !object.spec.containers.exists(c, c.name in ${OUR_NAMES})`,
        ),
        message: `spec.containers: ${Object.values(CONTAINER).join(" and ")} are the gateway's names; use others`,
      },
      ...volumeChecks(),
      {
        expression: guarded(`${annotation(ANNOTATION.injected)} == ${quote(STAMP)}`),
        message: `metadata.annotations[${ANNOTATION.injected}]: the gateway's stamp is missing`,
      },
      {
        expression: guarded(`${annotation(ANNOTATION.creator)} == request.userInfo.username`),
        message: `metadata.annotations[${ANNOTATION.creator}]: names somebody else than who makes this pod`,
      },
      {
        expression: guarded(`${annotation(ANNOTATION.workload)} == variables.owner`),
        message: `metadata.annotations[${ANNOTATION.workload}]: a workload counts only from Kubernetes' own controllers`,
      },
      // What a controller's pod bears only the webhook can know; templates may not hold it (sidegate-workloads).
      {
        expression: guarded(
          `variables.stamped || [${[ANNOTATION.workloadCreator, ANNOTATION.templateWriter].map(annotation).join(", ")}].all(t, t == "")`,
        ),
        message: `metadata.annotations[${ANNOTATION.workloadCreator}]: this pod has no workload`,
      },
      {
        expression: guarded(`variables.stamped || ${annotation(ANNOTATION.owner)} == "" || ${DEPLOYER}`),
        message: `metadata.annotations[${ANNOTATION.owner}]: only a deployer (value identity.deployers) names an owner`,
      },
      {
        expression: guarded("object.spec.?automountServiceAccountToken.orValue(true) == false"),
        message: "spec.automountServiceAccountToken: has to be false; agents get no token of the service account",
      },
    ],
  };
}

/** The other half of the sidecar's environment: authority and key are the controller's, not the author's. */
export function runtimePolicy(): Policy {
  return environmentPolicy(
    "sidegate-runtime",
    "A new agent pod trusts this installation's authority and bundle key.",
    RUNTIME,
  );
}

/** Bound to the chart's parameters where its values name resolvers, else to the controller's. */
export function resolversPolicy(): Policy {
  return environmentPolicy(
    "sidegate-resolvers",
    "A new agent pod's sidecar asks the cluster's resolvers, whatever the pod's author would like.",
    RESOLVERS,
  );
}

function environmentPolicy(name: string, about: string, keys: Readonly<Record<string, string>>): Policy {
  return {
    name,
    about,
    params: true,
    rules: [pods("CREATE")],
    conditions: {},
    variables: {
      sidecars: `object.spec.?initContainers.orValue([]).filter(c, c.name == ${quote(CONTAINER.sidecar)})`,
    },
    checks: Object.entries(keys).map(([variable, key]) => ({
      expression: `size(variables.sidecars) == 0 || ${valueOf("variables.sidecars[0]", variable)} == ${param(key)}`,
      message: `spec.initContainers[1].env[${variable}]: ${DIFFERS}`,
    })),
  };
}
