/**
 * The only place where a Permit is made. Everything that leaves for an upstream asks for one in its signature, so a path that
 * forgot to ask does not compile.
 */
import type { Credential } from "#contract/credential.ts";
import type { Decision } from "#contract/decision.ts";
import type { Permit, Scope } from "#sidecar/seam/verdict.ts";

/** A permit with what the judge itself remembers of it. */
export interface OpenPermit {
  readonly kind: "permit";
  readonly scope: Scope;
  readonly seq: number;
  readonly decision: Decision;
  readonly startedMs: number;
  /** At hand for as long as the permit is; renewed where an upstream refused it. Null: none was asked for. */
  credential: Credential | null;
  readonly strip: boolean;
  bytesUp: number;
  bytesDown: number;
  finished: boolean;
}

/** `seq` is the record's line that was added before; `startedMs` is elapsed time. */
export function permit<S extends Scope>(
  made: Pick<OpenPermit, "seq" | "decision" | "startedMs" | "credential" | "strip"> & { readonly scope: S },
): Permit<S> {
  const { scope, seq, decision, startedMs, credential, strip } = made;
  const open: OpenPermit = {
    kind: "permit",
    scope,
    seq,
    decision,
    startedMs,
    credential,
    strip,
    bytesUp: 0,
    bytesDown: 0,
    finished: false,
  };
  // The brand is a type only; this cast is what makes this file the one door.
  return open as unknown as Permit<S>;
}

/** The judge's own view of a permit that it made. */
export function opened(made: Permit): OpenPermit {
  return made as unknown as OpenPermit;
}
