/**
 * A chained mesh's containers (value `mesh.mode: chain`), and everybody else beside them: the rules of `src/injection/mesh.ts` once more,
 * in CEL. Where no mesh is chained, the parameters say so and each is refused by name (`forbidden.ts`).
 */
import { NAMESPACE_LABEL } from "#contract/control-environment.ts";
import { CONTAINER } from "#contract/names.ts";
import { PROXY_ENV } from "#contract/proxy-environment.ts";
import { MESH_INIT_CAPABILITIES, MESH_MEMBERS } from "#injection/mesh.ts";
import { MAX_MESH_ARGS } from "#injection/mesh-options.ts";
import { quote, quotedList } from "./cel.ts";
import type { Check, Policy } from "./policy.ts";

const param = (name: string): string => `params.data[${quote(name)}]`;
const list = (name: string): string => `${param(name)}.split(",")`;

/** Of all containers in `others`, which a chained mesh brought; in a namespace that is not ours as a whole, none. */
export const MESH_VARIABLES = {
  chain: `${param("meshProxy")} != "" && namespaceObject.metadata.?labels[?${quote(NAMESPACE_LABEL.inject)}].orValue("") == "all"`,
  mesh: `variables.others.filter(c, variables.chain && c.name in ${list("meshNames")})`,
  agents: `variables.others.filter(c, !(variables.chain && c.name in ${list("meshNames")}))`,
} as const;

/** What init is told: the mesh's uid and ports where its proxy is in the pod, else nothing. */
export const MESH_TEXT = `${MESH_VARIABLES.chain} && (variables.inits + object.spec.containers).exists(c, c.name == ${param("meshProxy")}) ? ${param("mesh")} : ""`;

const isProxy = `c.name == ${param("meshProxy")}`;
const WHAT = "spec.containers[] of the mesh";
const MESH_UID = `int(${param("meshUid")})`;
const UID = "c.?securityContext.?runAsUser.orValue(object.spec.?securityContext.?runAsUser.orValue(-1))";
const HANDLERS = [
  "c.?livenessProbe",
  "c.?readinessProbe",
  "c.?startupProbe",
  "c.?lifecycle.?postStart",
  "c.?lifecycle.?preStop",
];

/** One argument a line. CEL has no index in `all`, so the indexes are a list. */
const begins = (name: string): string =>
  `(${param(name)} == "" || [${Array.from({ length: MAX_MESH_ARGS }, (_, i) => i).join(", ")}].all(i, i >= size(${param(name)}.split("\\n")) || (i < size(c.?args.orValue([])) && c.args[i] == ${param(name)}.split("\\n")[i])))`;

const mesh = (expression: string): string => `variables.mesh.all(c, ${expression})`;
const beside = (expression: string): string => `size(variables.mesh) == 0 || variables.agents.all(c, ${expression})`;

export const MESH_CHECKS: readonly Check[] = [
  {
    expression: `size(variables.mesh) == 0 || variables.tier != "locked"`,
    message: `${WHAT}: in tier locked nothing but the gateway goes out; exclude this pod from the mesh`,
  },
  {
    expression: `size(variables.mesh) == 0 || variables.mesh.exists(c, ${isProxy})`,
    message: `${WHAT}: its proxy is not in this pod; remove what belongs to it`,
  },
  {
    expression: `size(variables.mesh) == 0 || object.spec.containers.exists(c, !(c.name in ${list("meshNames")}))`,
    message: "spec.containers: has none but the mesh's",
  },
  {
    expression: mesh(`dyn(c).all(k, k in ${quotedList([...MESH_MEMBERS].toSorted())})`),
    message: `${WHAT}: a member that a mesh's containers have not (command, envFrom, …)`,
  },
  {
    expression: mesh(`c.?securityContext.?seccompProfile.?type.orValue("") == "RuntimeDefault"`),
    message: `${WHAT}.securityContext.seccompProfile: has to be RuntimeDefault, as the gateway's webhook writes it`,
  },
  {
    expression: mesh(`c.?image.orValue("") in ${list("meshImages")}`),
    message: `${WHAT}.image: is not among the mesh's (value mesh.images)`,
  },
  {
    expression: mesh(`${isProxy} ? ${begins("meshProxyArgs")} : ${begins("meshInitArgs")}`),
    message: `${WHAT}.args: do not begin as the mesh's (values mesh.proxy.args, mesh.init.args)`,
  },
  {
    expression: mesh(`${isProxy} || (!object.spec.containers.exists(o, o.name == c.name) && !has(c.restartPolicy))`),
    message: `${WHAT}: its init containers end: they may write rules`,
  },
  {
    expression: mesh(`!(${isProxy}) || c.?securityContext.?runAsUser.orValue(-1) == ${MESH_UID}`),
    message: `${WHAT}.securityContext.runAsUser: has to be the mesh's (value mesh.uid)`,
  },
  {
    expression: mesh(
      `${isProxy} ? c.?securityContext.?allowPrivilegeEscalation.orValue(true) == false && size(c.?securityContext.?capabilities.?add.orValue([])) == 0 && "ALL" in c.?securityContext.?capabilities.?drop.orValue([]) : c.?securityContext.?capabilities.?add.orValue([]).all(k, k in ${quotedList(MESH_INIT_CAPABILITIES)})`,
    ),
    message: `${WHAT}.securityContext: its proxy has no capability and gains none; its init has ${[...MESH_INIT_CAPABILITIES].join(" and ")} at most`,
  },
  {
    expression: mesh(HANDLERS.map((handler) => `!${handler}.?exec.hasValue()`).join(" && ")),
    message: `${WHAT}: a probe or lifecycle handler that runs a program as the mesh's`,
  },
  {
    expression: mesh(
      `c.?env.orValue([]).all(e, ${list("meshEnvironment")}.exists(k, k == e.name || (k.endsWith("*") && e.name.startsWith(k.substring(0, size(k) - 1)))))`,
    ),
    message: `${WHAT}.env: a variable that is not among the mesh's (value mesh.environment)`,
  },
  {
    expression: mesh(
      `c.?volumeMounts.orValue([]).all(m, m.mountPath in ${list("meshMounts")} && !has(m.subPath) && !has(m.subPathExpr))`,
    ),
    message: `${WHAT}.volumeMounts: a place that is not among the mesh's (value mesh.mounts)`,
  },
  {
    expression: beside(`${UID} >= 0 && ${UID} != ${MESH_UID}`),
    message:
      "spec.containers[].securityContext.runAsUser: beside a mesh each container names its uid, and not the mesh's, which goes out un-judged",
  },
  {
    expression: beside(`c.?ports.orValue([]).all(p, !(string(p.containerPort) in ${list("meshPorts")}))`),
    message: "spec.containers[].ports: a port of the mesh's",
  },
  {
    expression: beside(
      "c.?volumeMounts.orValue([]).all(m, !variables.mesh.exists(t, t.?volumeMounts.orValue([]).exists(v, v.name == m.name)))",
    ),
    message: "spec.containers[].volumeMounts: a volume of the mesh's",
  },
];

/** In a pod as it was made: whose uid besides the gateway's goes out of it, or -1. */
const SENT = `oldObject.spec.?initContainers.orValue([]).filter(c, c.name == ${quote(CONTAINER.init)}).exists_one(c, c.?env.orValue([]).exists_one(e, e.name == ${quote(PROXY_ENV.mesh)} && e.?value.orValue("").matches("^[0-9]{1,10}:"))) ? oldObject.spec.initContainers.filter(c, c.name == ${quote(CONTAINER.init)})[0].env.filter(e, e.name == ${quote(PROXY_ENV.mesh)})[0].value : ""`;
export const EXEMPT_VARIABLES = {
  chained: SENT,
  exempt: `variables.chained == "" ? -1 : int(variables.chained.split(":")[0])`,
} as const;

/** Opted-in namespaces: who gets into the mesh's proxy goes out as it does. */
export function meshEntryPolicy(): Policy {
  return {
    name: "sidegate-mesh-entry",
    about: "Nobody executes in or attaches to a chained mesh's containers.",
    params: true,
    rules: [{ apiGroups: [""], resources: ["pods/exec", "pods/attach"], operations: ["CONNECT"] }],
    conditions: {},
    variables: {},
    checks: [
      {
        expression: `${param("meshProxy")} == "" || !(object.?container.orValue("") in ${list("meshNames")})`,
        message: "a chained mesh's container goes out un-judged; nobody goes in there",
      },
    ],
  };
}
