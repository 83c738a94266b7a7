/**
 * Freezes as they are observed. Errs towards frozen: an object that does not fit its schema (an older or a newer one) freezes what its
 * namespace says.
 */
import { Compile } from "typebox/compile";
import type { FreezeEntry, Frozen } from "#contract/freeze.ts";
import { FreezeSpec, type FreezeStatus } from "#contract/freeze-spec.ts";
import type { KubeObject } from "#kube/port.ts";

export interface ObservedFreeze extends FreezeEntry {
  readonly uid: string;
  readonly status: FreezeStatus;
}

interface FreezeObject extends KubeObject {
  readonly spec?: unknown;
  readonly status?: FreezeStatus;
}

const spec = Compile(FreezeSpec);

/** `own`: the gateway's namespace, where a freeze without a pod is everybody's. */
export function observeFreeze(object: KubeObject, own: string): ObservedFreeze {
  const { namespace = "", name, uid = "", creationTimestamp = "" } = object.metadata;
  const given: unknown = (object as FreezeObject).spec;
  const good = spec.Check(given) ? given : null;
  const pod = good?.pod ?? null;
  const scope: Frozen["scope"] = pod !== null ? "pod" : namespace === own ? "all" : "namespace";
  return {
    namespace,
    name,
    uid,
    pod,
    frozen: {
      scope,
      by: good?.by ?? "somebody",
      reason: good?.reason ?? "its object cannot be read",
      since: creationTimestamp,
      id: uid,
    },
    lifted: good?.lifted === undefined ? null : { by: good.lifted.by, reason: good.lifted.reason ?? "" },
    status: (object as FreezeObject).status ?? {},
  };
}
