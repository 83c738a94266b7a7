/**
 * The cluster as the person on call may see it: with that person's own rights. What they may not do is an error that names verb,
 * resource and place, because an empty answer would look like an empty cluster.
 */
import { type Kube, KubeError, type KubeObject, type Name, type Resource, type Scope } from "#kube/port.ts";
import type { Raw } from "#kube/raw.ts";

export class MissingRight extends Error {
  readonly code = "missing_right";
  constructor(verb: string, { group, plural }: Pick<Resource, "group" | "plural">, namespace: string) {
    const what = group === "" ? plural : `${plural}.${group}`;
    super(
      `your account may not ${verb} ${what} ${namespace === "" ? "in the whole cluster" : `in namespace ${namespace}`}`,
    );
  }
}

/** A list of a kind that the API server does not serve. */
export class UnknownKind extends Error {
  readonly code = "unknown_kind";
  constructor({ group, plural }: Pick<Resource, "group" | "plural">) {
    super(`this cluster does not know ${plural}.${group}: is Sidegate installed? sidegate doctor says what is missing`);
  }
}

export class Unreachable extends Error {
  readonly code = "unreachable";
}

export interface Cluster {
  readonly kube: Kube;
  readonly raw: Raw;
  /** Of one kind, all of them; throws where there are more than `MAX_OBJECTS`. */
  all(resource: Resource, scope?: Scope): Promise<readonly KubeObject[]>;
  get(resource: Resource, name: string, namespace?: string): Promise<KubeObject | null>;
  remove(resource: Resource, name: Name): Promise<void>;
}

const PAGE = 500;
const MAX_OBJECTS = 200_000;

export function createCluster(kube: Kube, raw: Raw): Cluster {
  async function asked<T>(verb: string, resource: Resource, namespace: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (fault) {
      if (fault instanceof KubeError && fault.status === 403 && isOwnRight(fault))
        throw new MissingRight(verb, resource, resource.namespaced ? namespace : "");
      if (fault instanceof KubeError && fault.status === 404 && verb === "list" && resource.group !== "")
        throw new UnknownKind(resource);
      throw reachable(fault);
    }
  }
  return {
    kube,
    raw,
    async all(resource, scope = {}) {
      const found: KubeObject[] = [];
      let continues = "";
      do {
        const from = continues;
        const page = await asked("list", resource, scope.namespace ?? "", () =>
          kube.list(resource, scope, { limit: PAGE, continues: from }),
        );
        found.push(...page.items);
        if (found.length > MAX_OBJECTS)
          throw new Error(`more than ${MAX_OBJECTS} ${resource.plural}; name one namespace`);
        ({ continues } = page);
      } while (continues !== "");
      return found;
    },
    get: (resource, name, namespace = "") =>
      asked("get", resource, namespace, () => kube.get<KubeObject>(resource, { namespace, name })),
    remove: (resource, name) => asked("delete", resource, name.namespace, () => kube.remove(resource, name)),
  };
}

/** RBAC's words, as against those of admission, which refuses with 403 too. */
export function isOwnRight({ message }: Pick<KubeError, "message">): boolean {
  return /\bcannot (get|list|watch|create|update|patch|delete)\b/.test(message);
}

/** What says that nobody answers, as against an answer. */
function reachable(fault: unknown): unknown {
  const code = (fault as NodeJS.ErrnoException | undefined)?.code ?? "";
  if (
    fault instanceof Error &&
    (/^E[A-Z]+$/.test(code) || fault.name === "TimeoutError" || /^ERR_TLS|CERT|SIGNED/.test(code))
  )
    return new Unreachable(`the API server does not answer: ${fault.message === "" ? code : fault.message}`, {
      cause: fault,
    });
  return fault;
}
