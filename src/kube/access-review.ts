/** Asks the API server whether a user may do something (SubjectAccessReview, authorization.k8s.io/v1). Errs towards "no". */
import type { Kube, KubeObject } from "./port.ts";
import { RESOURCE } from "./resources.ts";

export interface AccessQuestion {
  readonly user: string;
  readonly groups: readonly string[];
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly namespace: string;
  /** One object by its name; absent: any. */
  readonly name?: string;
}

interface Review extends KubeObject {
  readonly spec: unknown;
  readonly status?: { readonly allowed?: boolean; readonly denied?: boolean };
}

/** Rejects where the API server cannot be asked: the caller then refuses. */
export async function mayAccess(kube: Kube, question: AccessQuestion): Promise<boolean> {
  const { user, groups, ...resourceAttributes } = question;
  const { status } = await kube.create<Review>(RESOURCE.access, {
    metadata: { name: "" },
    spec: { user, groups, resourceAttributes },
  });
  return status?.allowed === true && status.denied !== true;
}
