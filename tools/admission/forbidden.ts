/**
 * What an agent's pod may not ask for: the rules of `src/injection/forbidden-*.ts` once more, in CEL, from the same lists. Here
 * nothing is put right, only refused: a pod that the webhook saw passes.
 */
import { NAMESPACE_LABEL } from "#contract/control-environment.ts";
import { LABEL, PATHS, PROXY_UID, TOKEN_AUDIENCE } from "#contract/names.ts";
import { MESH, OUR_PORTS, PLAIN_RESOURCE, SECURITY_MEMBERS } from "#injection/forbidden-container.ts";
import { CONFINED_TYPES, POD_SECURITY_MEMBERS, RUNTIME_ANNOTATIONS, RUNTIME_READS } from "#injection/forbidden-pod.ts";
import { PROJECTED_SOURCES, VOLUME_KINDS } from "#injection/forbidden-volume.ts";
import { planMounts } from "#injection/mounts.ts";
import { celLiteral, quote, quotedList } from "./cel.ts";
import { OUR_NAMES, OUR_VOLUMES, TIER_VARIABLES } from "./gateway.ts";
import { MESH_CHECKS, MESH_VARIABLES } from "./mesh.ts";
import { type Check, NOT_EXEMPT, type Policy, pods } from "./policy.ts";

/** `variables.inits + object.spec.containers` without ours. */
export const AGENTS = `(object.spec.?initContainers.orValue([]) + object.spec.containers).filter(c, !(c.name in ${OUR_NAMES}))`;

/** Without it the pod is refused by `sidegate-gateway`, and that one message is what its author needs. */
const WITH_GATEWAY = {
  "with-gateway": `object.spec.?initContainers.orValue([]).exists(c, c.name in ${OUR_NAMES})`,
} as const;

/** A uid of the range, however it is spelled. */
const reserved = (uid: string): string => `(${uid} >= ${PROXY_UID.first} && ${uid} <= ${PROXY_UID.last})`;

const CONFINED = quotedList(CONFINED_TYPES);
const confined = (options: string): string =>
  `${options}.?type.orValue("") in ${CONFINED} && ${options}.?user.orValue("") == "" && ${options}.?role.orValue("") == ""`;

/** A comma-separated list of the installation; an empty one has one empty item, which matches nothing. */
const listed = (name: string): string => `params.data[${quote(name)}].split(",")`;

/** `profile`: an optional SeccompProfile. A missing parameter is an error, and so a denial. */
const ourProfile = (profile: string): string =>
  `${profile}.?type.orValue("") == params.data["seccompType"] && ${profile}.?localhostProfile.orValue("") == params.data["seccompProfile"]`;

const HANDLERS = [
  "c.?livenessProbe",
  "c.?readinessProbe",
  "c.?startupProbe",
  "c.?lifecycle.?postStart",
  "c.?lifecycle.?preStop",
];

/** Mounts of our volumes in a container that has none of its own: all that any may have. */
const OUR_MOUNTS = celLiteral(planMounts({ name: "agent" }, "", []).mounts);

/** `c`: one container. */
export function containerChecks(list: string, what: string): Check[] {
  const all = (expression: string): string => `${list}.all(c, ${expression})`;
  return [
    {
      expression: all(`!has(c.securityContext) || dyn(c.securityContext).all(k, k in ${quotedList(SECURITY_MEMBERS)})`),
      message: `${what}.securityContext: a member that this release of the gateway does not know`,
    },
    {
      expression: all(`!(c.name in ${quotedList(MESH.keys())})`),
      message: `${what}.name: a mesh would redirect the same connections; exclude this pod from one of the two`,
    },
    {
      expression: all("c.?securityContext.?privileged.orValue(false) == false"),
      message: `${what}.securityContext.privileged: a privileged container can undo every rule`,
    },
    {
      expression: all(
        `size(c.?securityContext.?capabilities.?add.orValue([])) == 0 && "ALL" in c.?securityContext.?capabilities.?drop.orValue([])`,
      ),
      message: `${what}.securityContext.capabilities: agents run without capabilities: drop ALL, add none`,
    },
    {
      expression: all("c.?securityContext.?allowPrivilegeEscalation.orValue(true) == false"),
      message: `${what}.securityContext.allowPrivilegeEscalation: has to be false`,
    },
    {
      expression: all(`c.?securityContext.?procMount.orValue("Default") == "Default"`),
      message: `${what}.securityContext.procMount: only Default keeps the kernel's files masked`,
    },
    {
      expression: all(ourProfile("c.?securityContext.?seccompProfile")),
      message: `${what}.securityContext.seccompProfile: has to be what the gateway was installed with (value injection.seccomp), which keeps sockets closed`,
    },
    {
      expression: all(`c.?securityContext.?appArmorProfile.?type.orValue("") != "Unconfined"`),
      message: `${what}.securityContext.appArmorProfile.type: Unconfined is not permitted`,
    },
    {
      expression: all(
        `!has(c.securityContext) || !has(c.securityContext.seLinuxOptions) || (${confined("c.securityContext.seLinuxOptions")})`,
      ),
      message: `${what}.securityContext.seLinuxOptions: only the container types of the Pod Security baseline are permitted`,
    },
    {
      expression: all("!has(c.securityContext) || !has(c.securityContext.windowsOptions)"),
      message: `${what}.securityContext.windowsOptions: the gateway works on Linux nodes only`,
    },
    {
      expression: all(`!${reserved("c.?securityContext.?runAsUser.orValue(0)")}`),
      message: `${what}.securityContext.runAsUser: uids from ${PROXY_UID.first} to ${PROXY_UID.last} are the gateway's`,
    },
    {
      expression: all(
        `c.?ports.orValue([]).all(p, p.?hostPort.orValue(0) == 0 && !(p.containerPort in ${quotedList(OUR_PORTS)}))`,
      ),
      message: `${what}.ports: no port of the node, and none of the gateway's (${[...OUR_PORTS].join(", ")})`,
    },
    {
      expression: all(
        HANDLERS.map(
          (handler) => `${handler}.?httpGet.?host.orValue("") == "" && ${handler}.?tcpSocket.?host.orValue("") == ""`,
        ).join(" && "),
      ),
      message: `${what}: a probe or lifecycle handler with a host: the node would open this connection, past the gateway`,
    },
    {
      expression: all("size(c.?volumeDevices.orValue([])) == 0 && size(c.?resources.?claims.orValue([])) == 0"),
      message: `${what}: devices are out of the gateway's sight`,
    },
    {
      expression: all(
        `[c.?resources.?requests.orValue({}), c.?resources.?limits.orValue({})].all(q, q.all(k, k.matches(${quote(PLAIN_RESOURCE.source)}) || k in ${listed("devices")}))`,
      ),
      message: `${what}.resources: a device that is not among those that open no network (value injection.devices)`,
    },
    {
      expression: all(`c.?volumeMounts.orValue([]).all(m, !(m.name in ${OUR_VOLUMES}) || m in ${OUR_MOUNTS})`),
      message: `${what}.volumeMounts: a volume of the gateway's, elsewhere or otherwise than the webhook mounts it`,
    },
    {
      expression: all(
        `c.?volumeMounts.orValue([]).all(m, m.name in ${OUR_VOLUMES} || !m.mountPath.matches("^/(var/)?run/sidegate(/|$)"))`,
      ),
      message: `${what}.volumeMounts: ${PATHS.trust.slice(0, PATHS.trust.lastIndexOf("/"))} is the gateway's`,
    },
  ];
}

const absent = (field: string): string => `object.spec.?${field}.orValue(false) == false`;

/** `except`: CEL about the key `k`. */
export const runtimeAnnotations = (except: string): Check => ({
  expression: `object.metadata.?annotations.orValue({}).all(k, !${quotedList(RUNTIME_ANNOTATIONS)}.exists(p, k.startsWith(p)) || ${except})`,
  message: `metadata.annotations (${RUNTIME_ANNOTATIONS.join(", ")}): ${RUNTIME_READS}`,
});

const POD_CHECKS: readonly Check[] = [
  runtimeAnnotations("false"),
  { expression: absent("hostNetwork"), message: "spec.hostNetwork: on the node's network nothing can be captured" },
  { expression: absent("hostPID"), message: "spec.hostPID: it shows the gateway's process to the agent" },
  { expression: absent("hostIPC"), message: "spec.hostIPC: it shares memory with other pods, unseen" },
  {
    expression: "object.spec.?hostUsers.orValue(true) == true",
    message: "spec.hostUsers: the gateway's uid does not exist in a user namespace of the pod",
  },
  {
    expression: absent("shareProcessNamespace"),
    message: "spec.shareProcessNamespace: it shows the gateway's process to the agent",
  },
  {
    expression: `object.spec.?os.?name.orValue("linux") == "linux" && ["kubernetes.io/os", "beta.kubernetes.io/os"].all(l, object.spec.?nodeSelector[?l].orValue("linux") == "linux") && !object.spec.?securityContext.?windowsOptions.hasValue()`,
    message: "spec.os: the gateway works on Linux nodes only",
  },
  {
    expression: `!object.spec.?securityContext.hasValue() || dyn(object.spec.securityContext).all(k, k in ${quotedList(POD_SECURITY_MEMBERS)})`,
    message: "spec.securityContext: a member that this release of the gateway does not know",
  },
  {
    expression: `object.spec.?securityContext.?seccompProfile.?type.orValue("RuntimeDefault") == "RuntimeDefault" || (${ourProfile("object.spec.?securityContext.?seccompProfile")})`,
    message:
      "spec.securityContext.seccompProfile: only RuntimeDefault, or what the gateway was installed with (value injection.seccomp), keeps sockets closed",
  },
  {
    expression: `object.spec.?securityContext.?appArmorProfile.?type.orValue("") != "Unconfined" && object.metadata.?annotations.orValue({}).all(k, !k.startsWith("container.apparmor.security.beta.kubernetes.io/") || object.metadata.annotations[k] != "unconfined")`,
    message: "spec.securityContext.appArmorProfile: Unconfined is not permitted",
  },
  {
    expression: `!object.spec.?securityContext.?seLinuxOptions.hasValue() || (${confined("object.spec.securityContext.seLinuxOptions")})`,
    message: "spec.securityContext.seLinuxOptions: only the container types of the Pod Security baseline are permitted",
  },
  {
    expression: "size(object.spec.?securityContext.?sysctls.orValue([])) == 0",
    message: "spec.securityContext.sysctls: kernel settings of the pod's network belong to the gateway",
  },
  {
    expression: `!${reserved("object.spec.?securityContext.?runAsUser.orValue(0)")}`,
    message: `spec.securityContext.runAsUser: uids from ${PROXY_UID.first} to ${PROXY_UID.last} are the gateway's`,
  },
  {
    expression: `!object.spec.?runtimeClassName.hasValue() || object.spec.runtimeClassName in ${listed("runtimeClasses")}`,
    message:
      "spec.runtimeClassName: not among the classes that the gateway was installed for (value injection.runtimeClasses)",
  },
  {
    expression: "size(object.spec.?resourceClaims.orValue([])) == 0",
    message: "spec.resourceClaims: a device may open a network of its own",
  },
  {
    expression: `object.spec.?volumes.orValue([]).all(v, dyn(v).all(k, k == "name" || k in ${quotedList(VOLUME_KINDS)}))`,
    message: `spec.volumes: other kinds are connected by the node, past the gateway; permitted are ${[...VOLUME_KINDS].join(", ")}`,
  },
  {
    expression: `object.spec.?volumes.orValue([]).all(v, v.?projected.?sources.orValue([]).all(s, dyn(s).all(k, k in ${quotedList(PROJECTED_SOURCES)})))`,
    message: `spec.volumes[].projected.sources: permitted are ${[...PROJECTED_SOURCES].join(", ")}`,
  },
];

/** A chained mesh's containers have rules of their own about these, and volumes that are nobody else's. */
const NOT_OF_A_MESH = /name: a mesh|capabilities|allowPrivilegeEscalation|seccompProfile/;

export function forbiddenPolicy(): Policy {
  return {
    name: "sidegate-forbidden",
    about: "A new agent pod asks for nothing that opens a way around the gateway, or hides the agent from it.",
    params: true,
    rules: [pods("CREATE")],
    conditions: { ...NOT_EXEMPT, ...WITH_GATEWAY },
    variables: { others: AGENTS, ...MESH_VARIABLES },
    checks: [...POD_CHECKS, ...containerChecks("variables.agents", "spec.containers[]")],
  };
}

/** Where the installation chains a mesh and the pod has it. */
export function meshPolicy(): Policy {
  return {
    name: "sidegate-mesh",
    about: "A chained mesh's containers are the mesh's, and nobody else in the pod is.",
    params: true,
    rules: [pods("CREATE")],
    conditions: {
      ...NOT_EXEMPT,
      ...WITH_GATEWAY,
      "with-mesh": `(object.spec.?initContainers.orValue([]) + object.spec.containers).exists(c, params.data["meshProxy"] != "" && c.name in params.data["meshNames"].split(","))`,
    },
    variables: { others: AGENTS, ...MESH_VARIABLES, ...TIER_VARIABLES },
    checks: [
      ...MESH_CHECKS,
      ...containerChecks("variables.mesh", "spec.containers[] of the mesh").filter(
        ({ message }) => !NOT_OF_A_MESH.test(message),
      ),
    ],
  };
}

/** Tier `locked`: what holds against a pod's author. */
export function lockedPolicy(): Policy {
  const locked = "in tier locked the cluster decides how names are resolved";
  return {
    name: "sidegate-locked",
    about:
      "Tier locked: uids are named, names are resolved as the cluster decides, and nobody forwards a port into the pod.",
    params: false,
    rules: [pods("CREATE")],
    conditions: WITH_GATEWAY,
    variables: { agents: AGENTS },
    checks: [
      { expression: `object.spec.?dnsPolicy.orValue("") != "None"`, message: `spec.dnsPolicy: ${locked}` },
      { expression: "!object.spec.?dnsConfig.hasValue()", message: `spec.dnsConfig: ${locked}` },
      { expression: "size(object.spec.?hostAliases.orValue([])) == 0", message: `spec.hostAliases: ${locked}` },
      {
        expression: "variables.agents.all(c, has(c.securityContext) && has(c.securityContext.runAsUser))",
        message:
          "spec.containers[].securityContext.runAsUser: in tier locked each container names its uid, because an image's is not seen here",
      },
    ],
  };
}

/** In every namespace: who has a token for our audience can say that it is a pod. */
export function audiencePolicy(): Policy {
  const sources = `object.spec.?volumes.orValue([]).filter(v, v.name != "sidegate-token").all(v, v.?projected.?sources.orValue([]).all(s, s.?serviceAccountToken.?audience.orValue("") != ${quote(TOKEN_AUDIENCE)}))`;
  return {
    name: "sidegate-audience",
    about: "No other volume of any pod holds a token for the gateway's audience.",
    params: false,
    rules: [pods("CREATE")],
    conditions: { "has-volumes": "object.spec.?volumes.hasValue()" },
    variables: {},
    checks: [
      {
        expression: sources,
        message: `spec.volumes[].projected: tokens for "${TOKEN_AUDIENCE}" are the gateway's own; use another audience`,
      },
      {
        // Beside our containers, and where these are compared field by field: elsewhere their names are anybody's.
        expression: `!object.spec.volumes.exists(v, v.name == "sidegate-token") || (object.spec.?initContainers.orValue([]).exists(c, c.name in ${OUR_NAMES}) && (object.metadata.?labels[?${quote(LABEL.inject)}].orValue("") == "true" || namespaceObject.metadata.?labels[?${quote(NAMESPACE_LABEL.inject)}].orValue("") == "all"))`,
        message: "spec.volumes[sidegate-token]: this name is the gateway's",
      },
    ],
  };
}
