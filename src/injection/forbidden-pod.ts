/**
 * What a pod's author may not ask for, at the level of the pod: each would open a way around the gateway, or hide the agent from it.
 * A visible list of rules; all that speak are reported, so that an author corrects a manifest once.
 */
import { PROXY_UID } from "#contract/names.ts";
import type { InjectionOptions } from "./options.ts";
import type { Pod, PodSpec } from "./pod.ts";
import { agentProfile, foreignProfile } from "./seccomp-profile.ts";
import type { Violation } from "./violation.ts";

type PodRule = (spec: PodSpec, options: InjectionOptions) => Violation | null;

const no = (field: string, message: string): Violation => ({ field, message });

/** core/v1 PodSecurityContext, Kubernetes 1.34. As `SECURITY_MEMBERS` of a container: what is invented later may be a new privilege. */
export const POD_SECURITY_MEMBERS: ReadonlySet<string> = new Set([
  "appArmorProfile",
  "fsGroup",
  "fsGroupChangePolicy",
  "runAsGroup",
  "runAsNonRoot",
  "runAsUser",
  "seLinuxChangePolicy",
  "seLinuxOptions",
  "seccompProfile",
  "supplementalGroups",
  "supplementalGroupsPolicy",
  "sysctls",
  "windowsOptions",
]);

export const POD_RULES: readonly PodRule[] = [
  function unknownSecurity({ securityContext }) {
    const unknown = Object.keys(securityContext ?? {}).find((member) => !POD_SECURITY_MEMBERS.has(member));
    return unknown === undefined
      ? null
      : no(`spec.securityContext.${unknown}`, "is not known to this release of the gateway; remove it");
  },
  function windows(spec) {
    const linux = "the gateway works on Linux nodes only; do not select this pod for injection";
    if (spec.os?.name !== undefined && spec.os.name !== "linux") return no("spec.os.name", linux);
    for (const label of ["kubernetes.io/os", "beta.kubernetes.io/os"])
      if (spec.nodeSelector?.[label] !== undefined && spec.nodeSelector[label] !== "linux")
        return no(`spec.nodeSelector[${label}]`, linux);
    if (spec.securityContext?.windowsOptions !== undefined) return no("spec.securityContext.windowsOptions", linux);
    return null;
  },
  function hostNetwork(spec) {
    return spec.hostNetwork === true
      ? no("spec.hostNetwork", "on the node's network nothing can be captured; remove it")
      : null;
  },
  function hostPID(spec) {
    return spec.hostPID === true ? no("spec.hostPID", "it shows the gateway's process to the agent; remove it") : null;
  },
  function hostIPC(spec) {
    return spec.hostIPC === true ? no("spec.hostIPC", "it shares memory with other pods, unseen; remove it") : null;
  },
  function hostUsers(spec) {
    return spec.hostUsers === false
      ? no("spec.hostUsers", "the gateway's uid does not exist in a user namespace of the pod; remove it")
      : null;
  },
  function shareProcessNamespace(spec) {
    return spec.shareProcessNamespace === true
      ? no("spec.shareProcessNamespace", "it shows the gateway's process to the agent; remove it")
      : null;
  },
  function seccomp(spec, options) {
    const why = foreignProfile(spec.securityContext?.seccompProfile, agentProfile(options));
    return why === null ? null : no("spec.securityContext.seccompProfile.type", why);
  },
  function appArmor(spec) {
    return spec.securityContext?.appArmorProfile?.type === "Unconfined"
      ? no("spec.securityContext.appArmorProfile.type", "Unconfined is not permitted; remove it")
      : null;
  },
  function seLinux(spec) {
    return spec.securityContext?.seLinuxOptions !== undefined && !confined(spec.securityContext.seLinuxOptions)
      ? no("spec.securityContext.seLinuxOptions", "only the container types of the Pod Security baseline are permitted")
      : null;
  },
  function sysctls(spec) {
    return (spec.securityContext?.sysctls ?? []).length > 0
      ? no("spec.securityContext.sysctls", "kernel settings of the pod's network belong to the gateway; remove them")
      : null;
  },
  function runAsUser(spec) {
    return isReservedUid(spec.securityContext?.runAsUser) ? no("spec.securityContext.runAsUser", RESERVED_UID) : null;
  },
  function runtimeClass(spec, { runtimeClasses }) {
    return spec.runtimeClassName !== undefined && !runtimeClasses.includes(spec.runtimeClassName)
      ? no(
          "spec.runtimeClassName",
          `${spec.runtimeClassName} is not among the classes that the gateway was installed for (runtimeClasses: ${runtimeClasses.join(", ") || "none"})`,
        )
      : null;
  },
  function resourceClaims(spec) {
    return (spec.resourceClaims ?? []).length > 0
      ? no("spec.resourceClaims", "a device may open a network of its own; remove the claim")
      : null;
  },
  function resolverSettings(spec, { tier }) {
    if (tier !== "locked") return null;
    const locked = "in tier locked the cluster decides how names are resolved; remove it";
    if (spec.dnsPolicy === "None") return no("spec.dnsPolicy", locked);
    if (spec.dnsConfig !== undefined) return no("spec.dnsConfig", locked);
    if ((spec.hostAliases ?? []).length > 0) return no("spec.hostAliases", locked);
    return null;
  },
];

export const RESERVED_UID = `uids from ${PROXY_UID.first} to ${PROXY_UID.last} are the gateway's; what runs as one is not captured. Use another`;

/** True for any number that a kernel would take for a uid of the range: uids are 32 bits wide. */
export function isReservedUid(uid: number | undefined): boolean {
  return uid !== undefined && uid >= PROXY_UID.first && uid <= PROXY_UID.last;
}

// Pod Security Standards, baseline, "SELinux".
export const CONFINED_TYPES: ReadonlySet<string> = new Set([
  "",
  "container_t",
  "container_init_t",
  "container_kvm_t",
  "container_engine_t",
]);

export function confined(options: Readonly<Record<string, string>>): boolean {
  return CONFINED_TYPES.has(options["type"] ?? "") && !options["user"] && !options["role"];
}

// AppArmor's old annotation still counts where the field is absent.
const APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/";

/**
 * Annotations that container runtimes read where an administrator lets them (CRI-O's `allowed_annotations`, NRI plugins, crun, Kata): by
 * them a pod gets user namespaces, devices and seccomp profiles that none of its fields speaks of.
 */
export const RUNTIME_ANNOTATIONS = [
  "io.kubernetes.cri-o.",
  "seccomp-profile.kubernetes.cri-o.io",
  "devices.nri.io/",
  "run.oci.",
  "io.katacontainers.",
] as const;

export const isRuntimeAnnotation = (name: string): boolean => RUNTIME_ANNOTATIONS.some((one) => name.startsWith(one));

export const RUNTIME_READS = "a container runtime reads it, and may give the pod more than its fields say; remove it";

export function forbiddenInPod(pod: Pod, options: InjectionOptions): Violation[] {
  const found = POD_RULES.map((rule) => rule(pod.spec, options)).filter((violation) => violation !== null);
  for (const [name, profile] of Object.entries(pod.metadata?.annotations ?? {}))
    if (name.startsWith(APPARMOR_ANNOTATION) && profile === "unconfined")
      found.push(no(`metadata.annotations[${name}]`, "unconfined is not permitted; remove it"));
    else if (isRuntimeAnnotation(name)) found.push(no(`metadata.annotations[${name}]`, RUNTIME_READS));
  return found;
}
