/** What happens to a pod after it was made, and around it: updates, entering, tokens, a namespace's labels. */
import { OBSERVE_UNTIL } from "#contract/control-environment.ts";
import { API_GROUP, CONTAINER, LABEL, PROXY_UID, TOKEN_AUDIENCE } from "#contract/names.ts";
import { OUR_PORTS } from "#injection/forbidden-container.ts";
import { LOCKED_ANNOTATIONS } from "#injection/update.ts";
import { quote, quotedList } from "./cel.ts";
import { containerChecks, runtimeAnnotations } from "./forbidden.ts";
import { OUR_NAMES, OUR_VOLUMES } from "./gateway.ts";
import { EXEMPT_VARIABLES } from "./mesh.ts";
import { type Check, type Policy, pods } from "./policy.ts";

const ours = (object: string, list: string): string =>
  `${object}.spec.?${list}.orValue([]).filter(c, c.name in ${OUR_NAMES})`;

const UID = `c.?securityContext.?runAsUser.orValue(object.spec.?securityContext.?runAsUser.orValue(-1))`;
const OWN_UID = `(${UID} >= 0 && (${UID} < ${PROXY_UID.first} || ${UID} > ${PROXY_UID.last}))`;

/** `RuntimeDefault `, `Localhost sidegate/agent.json`; of an optional SeccompProfile. */
const profileText = (profile: string): string =>
  `(${profile}.?type.orValue("") + " " + ${profile}.?localhostProfile.orValue(""))`;
/** The container's, else the pod's: whole, never a member of each. */
const OWN_PROFILE = profileText("c.?securityContext.?seccompProfile.or(object.spec.?securityContext.?seccompProfile)");

/** Containers whose image is not what it was; the API server keeps names and order. */
function changedImages(list: string): Check {
  const found = `object.spec.?${list}.orValue([]).filter(c, !(c.name in ${OUR_NAMES}))`;
  const unchanged = `oldObject.spec.?${list}.orValue([]).exists(o, o.name == c.name && o.?image.orValue("") == c.?image.orValue(""))`;
  return {
    expression: `${found}.all(c, ${unchanged} || (${OWN_UID} && ${UID} != variables.exempt && size(c.?securityContext.?capabilities.?add.orValue([])) == 0))`,
    message: `spec.${list}[].image: a changed image needs an explicit securityContext.runAsUser, outside the gateway's range; a mesh's containers keep theirs`,
  };
}

const same = (path: string): string =>
  `object.metadata.?${path}.orValue("") == oldObject.metadata.?${path}.orValue("")`;

/** Any namespace: an injected pod stays what it is, also where the namespace's label has gone. */
export function updatePolicy(): Policy {
  return {
    name: "sidegate-updates",
    about:
      "An injected pod keeps the gateway, its stamps and its labels; compared with the pod as it was, never with this release.",
    params: false,
    // A kubelet's statuses too: that door leaves labels and annotations to whoever may open it.
    rules: [pods("UPDATE", "ephemeralcontainers", "resize", "status")],
    conditions: { injected: `size(${ours("oldObject", "initContainers")}) > 0` },
    variables: {
      added: `object.spec.?ephemeralContainers.orValue([]).filter(c, !oldObject.spec.?ephemeralContainers.orValue([]).exists(o, o.name == c.name))`,
      ...EXEMPT_VARIABLES,
    },
    checks: [
      {
        expression: `${ours("object", "initContainers")} == ${ours("oldObject", "initContainers")} && object.spec.initContainers[0].name == oldObject.spec.initContainers[0].name && !object.spec.containers.exists(c, c.name in ${OUR_NAMES})`,
        message: "spec.initContainers: the gateway's containers stay as they are",
      },
      ...LOCKED_ANNOTATIONS.map((name) => ({
        expression: same(`annotations[?${quote(name)}]`),
        message: `metadata.annotations[${name}]: is the gateway's stamp and stays as it is`,
      })),
      {
        expression: same(`labels[?${quote(LABEL.inject)}]`),
        message: `metadata.labels[${LABEL.inject}]: stays as it is while the pod runs`,
      },
      // Containers that start again may be given what they say then.
      runtimeAnnotations(
        `oldObject.metadata.?annotations[?k].orValue("") == object.metadata.annotations[k] && oldObject.metadata.?annotations[?k].hasValue()`,
      ),
      changedImages("containers"),
      changedImages("initContainers"),
      ...ephemeralChecks(),
    ],
  };
}

function ephemeralChecks(): Check[] {
  const what = "spec.ephemeralContainers[]";
  return [
    {
      expression: `variables.added.all(c, !(c.name in ${OUR_NAMES}) && !(c.?targetContainerName.orValue("") in ${OUR_NAMES}))`,
      message: `${what}.targetContainerName: the gateway's process is not to be looked into`,
    },
    {
      expression: `variables.added.all(c, ${OWN_UID} && ${UID} != variables.exempt)`,
      message: `${what}.securityContext.runAsUser: an ephemeral container needs an explicit uid, outside the gateway's range, and not a mesh's`,
    },
    {
      expression: `variables.exempt == -1 || variables.added.all(t, !(object.spec.?initContainers.orValue([]) + object.spec.containers).exists(c, c.name == t.?targetContainerName.orValue("") && ${UID} == variables.exempt))`,
      message: `${what}.targetContainerName: the mesh's process is not to be looked into`,
    },
    {
      expression: `variables.added.all(c, !c.?volumeMounts.orValue([]).exists(m, m.name in ${OUR_VOLUMES}))`,
      message: `${what}.volumeMounts: a volume of the gateway's`,
    },
    // Mounts of ours are what injection makes. Devices it cannot have, and the parameters that list them may be gone: a Job's
    // finalizer has to be taken away then too.
    ...containerChecks("variables.added", what).filter(
      ({ expression, message }) => !expression.includes("params.") && !/volumeMounts|seccompProfile/.test(message),
    ),
    // As the pod's agents run, who cannot change it: what injection wrote on that day, whatever it writes today.
    {
      expression: `variables.added.all(c, [${OWN_PROFILE}].all(p, p == ${profileText(`object.spec.containers.filter(a, variables.exempt == -1 || ${UID.replaceAll("c.?", "a.?")} != variables.exempt)[0].?securityContext.?seccompProfile`)} && p.matches("^(RuntimeDefault|Localhost) ")))`,
      message: `${what}.securityContext.seccompProfile: has to be that of the pod's agents`,
    },
  ];
}

/** Who binds a pod to a node gives it the binding's annotations: after admission, and whether or not he may change pods. */
export function bindingPolicy(): Policy {
  const none = (list: string): string =>
    `object.metadata.?${list}.orValue({}).all(k, !k.startsWith(${quote(`${API_GROUP}/`)}))`;
  return {
    name: "sidegate-bindings",
    about: "Whoever binds a pod to a node writes none of the gateway's annotations and labels into it.",
    params: false,
    rules: [{ apiGroups: [""], resources: ["pods/binding", "bindings"], operations: ["CREATE"] }],
    conditions: {},
    variables: {},
    checks: ["annotations", "labels"].map((list) => ({
      expression: none(list),
      message: `metadata.${list}: those of ${API_GROUP} are the gateway's to write`,
    })),
  };
}

/** Any namespace: our names are nobody else's. */
export function entryPolicy(): Policy {
  return {
    name: "sidegate-entry",
    about: "Nobody executes in, attaches to or forwards a port of the gateway's containers.",
    params: false,
    rules: [{ apiGroups: [""], resources: ["pods/exec", "pods/attach", "pods/portforward"], operations: ["CONNECT"] }],
    conditions: {},
    variables: {},
    checks: [
      {
        expression: `!(object.?container.orValue("") in ${OUR_NAMES})`,
        message: `${Object.values(CONTAINER).join(" and ")} are the gateway's containers; nobody goes in there`,
      },
      {
        expression: `!object.?ports.orValue([]).exists(p, p in ${quotedList(OUR_PORTS)})`,
        message: "a port of the gateway's; nobody forwards it",
      },
    ],
  };
}

export function lockedEntryPolicy(): Policy {
  return {
    name: "sidegate-locked-entry",
    about: "Tier locked: no port is forwarded into an agent's pod.",
    params: false,
    rules: [{ apiGroups: [""], resources: ["pods/portforward"], operations: ["CONNECT"] }],
    conditions: {},
    variables: {},
    checks: [{ expression: "false", message: "in tier locked no port is forwarded into a pod; use a Service" }],
  };
}

export function tokenPolicy(): Policy {
  return {
    name: "sidegate-tokens",
    about: "Only a kubelet asks for a token of the gateway's audience.",
    params: false,
    rules: [{ apiGroups: [""], resources: ["serviceaccounts/token"], operations: ["CREATE"] }],
    conditions: { audience: `${quote(TOKEN_AUDIENCE)} in object.spec.?audiences.orValue([])` },
    variables: {},
    checks: [
      {
        expression: `"system:nodes" in request.userInfo.?groups.orValue([])`,
        message: `spec.audiences: tokens for "${TOKEN_AUDIENCE}" are given to pods by their kubelet only`,
      },
    ],
  };
}

/**
 * The API server takes labels and annotations by these two as well. Nobody needs them for ours; and without parameters, so that no
 * namespace's end ever waits for something of ours.
 */
export function namespacePartsPolicy(): Policy {
  const kept = (list: string, name: string): string =>
    `object.metadata.?${list}[?${quote(name)}].orValue("") == oldObject.metadata.?${list}[?${quote(name)}].orValue("")`;
  return {
    name: "sidegate-namespace-parts",
    about: "A namespace's status and finalizers are no way to its labels.",
    params: false,
    rules: [{ apiGroups: [""], resources: ["namespaces/status", "namespaces/finalize"], operations: ["UPDATE"] }],
    conditions: {},
    variables: {},
    checks: [
      ...["inject", "tier", "mode"].map((name) => ["labels", `${API_GROUP}/${name}`] as const),
      ["annotations", OBSERVE_UNTIL] as const,
    ].map(([list, name]) => ({
      expression: kept(list, name),
      message: `metadata.${list}[${name}]: is changed on the namespace itself, by those who may`,
    })),
  };
}

/** A namespace's labels, from loose to strict; a step upwards is everybody's who may write the namespace. */
export function namespacePolicy(): Policy {
  const date = (object: string): string => `${object}.metadata.?annotations[?${quote(OBSERVE_UNTIL)}].orValue("")`;
  // A new namespace had nothing: it may opt in and be of any tier, but not observe only.
  const was = (expression: string): string => `(request.operation == "CREATE" ? "" : ${expression})`;
  const dateBefore = was(date("oldObject"));
  const before = (name: string): string =>
    was(`oldObject.metadata.?labels[?${quote(`${API_GROUP}/${name}`)}].orValue("")`);
  const after = (name: string): string => `object.metadata.?labels[?${quote(`${API_GROUP}/${name}`)}].orValue("")`;
  const manager = `request.userInfo.username in params.data["guardManagers"].split("\\n") || request.userInfo.?groups.orValue([]).exists(g, g in params.data["guardGroups"].split("\\n")) || authorizer.group(${quote(API_GROUP)}).resource("namespaces").name(request.name).check("unguard").allowed()`;
  return {
    name: "sidegate-namespaces",
    about: "Only guard.managers take a namespace out of the gateway, lower its tier, or let it observe only.",
    params: true,
    rules: [{ apiGroups: [""], resources: ["namespaces"], operations: ["CREATE", "UPDATE"] }],
    conditions: {
      changed: [
        ...["inject", "tier", "mode"].map((name) => `${after(name)} != ${before(name)}`),
        `${date("object")} != ${dateBefore}`,
      ].join(" || "),
    },
    variables: { manager },
    checks: [
      {
        expression: `${after("inject")} == ${before("inject")} || ${after("inject")} == "all" || ${before("inject")} == "" || variables.manager`,
        message: `metadata.labels[${API_GROUP}/inject]: only those in guard.managers take a namespace out of the gateway`,
      },
      {
        expression: `request.operation == "CREATE" || ${after("tier")} == ${before("tier")} || ${after("tier")} == "locked" || variables.manager`,
        message: `metadata.labels[${API_GROUP}/tier]: only those in guard.managers lower a namespace's tier`,
      },
      {
        expression: `${after("mode")} == ${before("mode")} || ${after("mode")} in ["", "enforce"] || variables.manager`,
        message: `metadata.labels[${API_GROUP}/mode]: only those in guard.managers let a namespace observe only`,
      },
      {
        expression: `${date("object")} in ["", ${dateBefore}] || variables.manager`,
        message: `metadata.annotations[${OBSERVE_UNTIL}]: only those in guard.managers say how long a namespace observes only`,
      },
    ],
  };
}
