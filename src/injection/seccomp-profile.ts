/**
 * Which seccomp profile agents run with, and what their author may say of it. The runtime's own keeps most doors of the kernel shut, but
 * not on every node those of AF_VSOCK and io_uring, which no rule of a pod's network sees; ours (`Localhost`, tools/seccomp.ts) does.
 *
 * Fails closed: whatever is neither nothing, nor the runtime's, nor exactly ours is refused. `Localhost` is no weaker word than
 * `Unconfined`: somebody may lay any file there.
 */
import type { InjectionOptions } from "./options.ts";
import type { Container, Pod } from "./pod.ts";

/** core/v1 SeccompProfile. */
export interface SeccompProfile {
  readonly type?: string;
  /** Below the kubelet's folder of profiles; only with type Localhost. */
  readonly localhostProfile?: string;
}

/** What every agent container gets. */
export function agentProfile({ seccomp }: Pick<InjectionOptions, "seccomp">): SeccompProfile {
  return seccomp.type === "Localhost"
    ? { type: "Localhost", localhostProfile: seccomp.localhostProfile }
    : { type: "RuntimeDefault" };
}

/** Why an author may not write this; null: they may. `ours`: what injection puts there. */
export function foreignProfile(written: SeccompProfile | undefined, ours: SeccompProfile): string | null {
  if (written?.type === undefined || written.type === "RuntimeDefault") return null;
  if (sameProfile(written, ours)) return null;
  return ours.type === "Localhost"
    ? `${describeProfile(written)} is neither RuntimeDefault nor ${describeProfile(ours)}, which keeps sockets closed`
    : `${written.type} is not RuntimeDefault, which keeps sockets closed`;
}

/** What a container runs with: its own, else the pod's, else none (`Unconfined`). */
export function effectiveProfile(pod: Pod, container: Container): SeccompProfile {
  return (
    container.securityContext?.seccompProfile ?? pod.spec.securityContext?.seccompProfile ?? { type: "Unconfined" }
  );
}

export function sameProfile(one: SeccompProfile, other: SeccompProfile): boolean {
  return one.type === other.type && (one.localhostProfile ?? "") === (other.localhostProfile ?? "");
}

/** `RuntimeDefault`, `Localhost sidegate/agent.json` */
export function describeProfile({ type = "Unconfined", localhostProfile }: SeccompProfile): string {
  return localhostProfile === undefined ? type : `${type} ${localhostProfile}`;
}
