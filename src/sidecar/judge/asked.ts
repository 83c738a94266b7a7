/** What a policy is asked of an operation, when two are asked the same, and what was asked and allowed last. */
import type { Decision } from "#contract/decision.ts";
import type { LoadedPolicy } from "#contract/policy-port.ts";
import type { OpEntry } from "#contract/record.ts";
import type { Operation, Scope } from "#sidecar/seam/verdict.ts";

/** What was allowed once is allowed again without asking, on the same bundle: lanes hand over the same object for the same request. */
export interface Allowed {
  readonly scope: Scope;
  readonly operation: Operation;
  readonly loaded: LoadedPolicy;
  readonly facts: string;
  readonly decision: Decision;
  readonly entry: OpEntry;
}

/** Of what was refused before anybody could read it. */
export const UNREAD: Operation = {
  protocol: "tcp",
  action: "unknown",
  phase: "ask",
  parent: null,
  complete: false,
  run: null,
  traceparent: null,
  facts: "",
  detail: "",
  body: null,
};

/** Whether a policy is asked the same by both, and their records differ in the detail only. */
export function asksTheSame(a: Operation, b: Operation): boolean {
  return (
    a.facts === b.facts &&
    a.protocol === b.protocol &&
    a.action === b.action &&
    a.complete === b.complete &&
    a.brought === undefined &&
    b.brought === undefined &&
    a.body === b.body &&
    a.parent === b.parent &&
    a.traceparent === b.traceparent
  );
}

export function factsOf(operation: Operation): string {
  const head = `"protocol":"${operation.protocol}","action":"${operation.action}","complete":${operation.complete}`;
  return operation.facts === "" ? head : `${head},${operation.facts}`;
}
