/**
 * What the control plane needs of a Kubernetes API: objects as they are, by resource. An interface, so that the controller's tests
 * run on a fake; `client.ts` speaks to a real API server.
 *
 * Errors are KubeError with the server's status; "not found" of a get is a value (null), a lost race is one too where it is expected.
 */

/** One kind of object, as its path names it. */
export interface Resource {
  /** "" is the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly managedFields?: readonly {
    readonly manager?: string;
    readonly operation?: string;
    readonly time?: string;
  }[];
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
}

export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

/** Namespace "" for what has none. */
export interface Name {
  readonly namespace: string;
  readonly name: string;
}

export interface Scope {
  /** "" or absent: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface Listed {
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
  /** "": that was all. */
  readonly continues: string;
}

export type WatchEvent =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: KubeObject }
  | { readonly type: "BOOKMARK"; readonly object: KubeObject };

export interface Kube {
  /** Null: there is none. */
  get<T extends KubeObject>(resource: Resource, name: Name): Promise<T | null>;
  list(resource: Resource, scope: Scope, page: { readonly limit: number; readonly continues: string }): Promise<Listed>;
  /** Ends when the server ends it (after some minutes); throws KubeError 410 where the version is too old. */
  watch(resource: Resource, scope: Scope, from: string, signal: AbortSignal): AsyncIterable<WatchEvent>;
  create<T extends KubeObject>(resource: Resource, object: T): Promise<T>;
  /** `metadata.resourceVersion`, where given, must still be the stored one: else KubeError 409. */
  replace<T extends KubeObject>(resource: Resource, object: T, part?: "status"): Promise<T>;
  /** JSON merge patch (RFC 7386). */
  patch(resource: Resource, name: Name, patch: object, part?: "status"): Promise<KubeObject>;
  /**
   * Server-side apply in another's name, by force: what the object says is that manager's from then on, so that its own next apply finds
   * no conflict. Needs the right to patch.
   */
  applyAs<T extends KubeObject>(resource: Resource, object: T, manager: string): Promise<T>;
  remove(resource: Resource, name: Name): Promise<void>;
  /** A document that is no object: `/openid/v1/jwks`. */
  document(path: string): Promise<unknown>;
}

export class KubeError extends Error {
  readonly code = "kube_api";
  readonly status: number;
  /** `NotFound`, `Conflict`, `AlreadyExists`, `Expired`, …: Kubernetes' own word, or "". */
  readonly reason: string;
  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

export function hasStatus(fault: unknown, status: number): boolean {
  return fault instanceof KubeError && fault.status === status;
}

export function nameOf(object: KubeObject): Name {
  return { namespace: object.metadata.namespace ?? "", name: object.metadata.name };
}

export function keyOf({ namespace, name }: Name): string {
  return namespace === "" ? name : `${namespace}/${name}`;
}
