/** One thing that keeps a pod from running behind the gateway, said so that its author can put it right. */
export interface Violation {
  /** As in Kubernetes' own messages: `spec.containers[0].securityContext.privileged`. */
  readonly field: string;
  /** Why it is refused, and the way out. */
  readonly message: string;
}

/** What an author reads: every violation, one a line, none left out. */
export function describeViolations(violations: readonly Violation[]): string {
  return violations.map((v) => `${v.field}: ${v.message}`).join("\n");
}
