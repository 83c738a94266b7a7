/**
 * Why this system makes no namespace for an ordinary user, and the one line that changes it. Pure: what was read is a parameter.
 */

export interface SystemFacts {
  /** What unshare, ip or the keeper said. */
  readonly said: string;
  /** Debian's and Ubuntu's switch; null: not there. */
  readonly unprivilegedUsernsClone: string | null;
  /** Ubuntu 23.10 and later. */
  readonly apparmorRestrict: string | null;
  readonly maxUserNamespaces: string | null;
  readonly inContainer: boolean;
}

/** Where `readFacts` looks. */
export const FACT_FILES = {
  unprivilegedUsernsClone: "/proc/sys/kernel/unprivileged_userns_clone",
  apparmorRestrict: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
  maxUserNamespaces: "/proc/sys/user/max_user_namespaces",
} as const;

const PERMISSION = /not permitted|permission denied|no space left|EPERM|EACCES|ENOSPC/i;

/** One sentence and one line to type; or null where the fault is not about permission. */
export function howToOpen(facts: SystemFacts): string | null {
  if (!PERMISSION.test(facts.said)) return null;
  const line = (assignment: string): string =>
    `this system makes no user namespaces for ordinary users; as an administrator: sudo sysctl -w ${assignment}`;
  if (facts.unprivilegedUsernsClone === "0") return line("kernel.unprivileged_userns_clone=1");
  if (facts.maxUserNamespaces === "0") return line("user.max_user_namespaces=15000");
  if (facts.apparmorRestrict === "1") return line("kernel.apparmor_restrict_unprivileged_userns=0");
  if (facts.inContainer)
    return "this container may make no namespaces; start it with: docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined …";
  return "this system refuses namespaces to this user; run it as root, or ask an administrator for user namespaces";
}
