/** A Kubernetes API in memory, as far as our port goes: versions, conflicts, watches, label selectors of the form `key` and `key=value`. */
import {
  type Kube,
  KubeError,
  type KubeObject,
  keyOf,
  type Name,
  nameOf,
  type Resource,
  type Scope,
  type WatchEvent,
} from "#kube/port.ts";

export interface FakeKube extends Kube {
  /** Puts objects there as somebody else would. */
  seed(resource: Resource, objects: readonly KubeObject[]): void;
  all(resource: Resource): readonly KubeObject[];
  /** How often each call was made. */
  readonly calls: Map<string, number>;
  /** What `document` answers, by path. */
  readonly documents: Map<string, unknown>;
  /** Ends every open watch, as the server does now and then. `lost`: their versions are forgotten (410). */
  endWatches(lost?: boolean): void;
}

interface Watcher {
  readonly resource: Resource;
  readonly scope: Scope;
  readonly queue: WatchEvent[];
  wake: () => void;
  ended: "no" | "end" | "lost";
}

export function fakeKube(): FakeKube {
  const stores = new Map<string, Map<string, KubeObject>>();
  const watchers = new Set<Watcher>();
  const calls = new Map<string, number>();
  const documents = new Map<string, unknown>();
  let version = 1;

  const store = ({ group, plural }: Resource): Map<string, KubeObject> => {
    const key = `${group}/${plural}`;
    const found = stores.get(key) ?? new Map<string, KubeObject>();
    stores.set(key, found);
    return found;
  };
  const count = (verb: string, { plural }: Resource): void => {
    calls.set(`${verb} ${plural}`, (calls.get(`${verb} ${plural}`) ?? 0) + 1);
  };
  const inside = (object: KubeObject, { namespace = "", labelSelector = "", fieldSelector = "" }: Scope): boolean => {
    const [label = "", value] = labelSelector.split("=");
    const labels = object.metadata.labels ?? {};
    if (namespace !== "" && object.metadata.namespace !== namespace) return false;
    if (label !== "" && (labels[label] === undefined || (value !== undefined && labels[label] !== value))) return false;
    return fieldSelector === "" || fieldSelector === `metadata.name=${object.metadata.name}`;
  };
  function tell(resource: Resource, type: "ADDED" | "MODIFIED" | "DELETED", object: KubeObject): void {
    for (const watcher of watchers)
      if (watcher.resource.plural === resource.plural && inside(object, watcher.scope)) {
        watcher.queue.push({ type, object });
        watcher.wake();
      }
  }
  function write(resource: Resource, object: KubeObject, before: KubeObject | undefined): KubeObject {
    const { metadata: _given, ...rest } = object as KubeObject & Record<string, unknown>;
    const generation = before?.metadata.generation ?? 0;
    const specOf = (one: KubeObject | undefined): string =>
      JSON.stringify((one as { spec?: unknown } | undefined)?.spec);
    const written = structuredClone({
      ...rest,
      kind: resource.kind,
      metadata: {
        ...object.metadata,
        uid: before?.metadata.uid ?? object.metadata.uid ?? `uid-${++version}`,
        generation: specOf(before) === specOf(object) && before !== undefined ? generation : generation + 1,
        resourceVersion: String(++version),
      },
    }) as KubeObject;
    store(resource).set(keyOf(nameOf(object)), written);
    tell(resource, before === undefined ? "ADDED" : "MODIFIED", written);
    return structuredClone(written);
  }
  function need(resource: Resource, name: Name): KubeObject {
    const found = store(resource).get(keyOf(name));
    if (found === undefined) throw new KubeError(404, "NotFound", `${keyOf(name)} not found`);
    return found;
  }

  return {
    calls,
    documents,
    seed: (resource, objects) => {
      for (const object of objects) write(resource, object, store(resource).get(keyOf(nameOf(object))));
    },
    all: (resource) => [...store(resource).values()],
    endWatches(lost = false) {
      for (const watcher of watchers) {
        watcher.ended = lost ? "lost" : "end";
        watcher.wake();
      }
    },
    async get<T extends KubeObject>(resource: Resource, name: Name) {
      count("get", resource);
      const found = store(resource).get(keyOf(name));
      return found === undefined ? null : (structuredClone(found) as T);
    },
    async list(resource, scope, { limit, continues }) {
      count("list", resource);
      const from = Number(continues || 0);
      const all = [...store(resource).values()].filter((object) => inside(object, scope));
      const more = from + limit < all.length ? String(from + limit) : "";
      return { items: all.slice(from, from + limit), resourceVersion: String(version), continues: more };
    },
    async *watch(resource, scope, _from, signal) {
      count("watch", resource);
      const watcher: Watcher = { resource, scope, queue: [], wake: () => undefined, ended: "no" };
      watchers.add(watcher);
      const stop = (): void => watcher.wake();
      signal.addEventListener("abort", stop, { once: true });
      try {
        while (!signal.aborted) {
          const event = watcher.queue.shift();
          if (event !== undefined) yield event;
          else if (watcher.ended === "lost") throw new KubeError(410, "Expired", "too old");
          else if (watcher.ended === "end") return;
          else
            await new Promise<void>((resolve) => {
              watcher.wake = resolve;
            });
        }
      } finally {
        watchers.delete(watcher);
        signal.removeEventListener("abort", stop);
      }
    },
    async create<T extends KubeObject>(resource: Resource, object: T) {
      count("create", resource);
      if (store(resource).has(keyOf(nameOf(object)))) throw new KubeError(409, "AlreadyExists", "already exists");
      return write(resource, object, undefined) as T;
    },
    async replace<T extends KubeObject>(resource: Resource, object: T) {
      count("replace", resource);
      const before = need(resource, nameOf(object));
      const { resourceVersion = before.metadata.resourceVersion } = object.metadata;
      if (resourceVersion !== before.metadata.resourceVersion) throw new KubeError(409, "Conflict", "was modified");
      return write(resource, object, before) as T;
    },
    async patch(resource, name, patch) {
      count("patch", resource);
      const before = need(resource, name);
      return write(resource, merged(before, patch) as KubeObject, before);
    },
    async applyAs<T extends KubeObject>(resource: Resource, object: T, manager: string) {
      count(`apply as ${manager}`, resource);
      const before = store(resource).get(keyOf(nameOf(object)));
      const { resourceVersion = before?.metadata.resourceVersion } = object.metadata;
      if (resourceVersion !== before?.metadata.resourceVersion) throw new KubeError(409, "Conflict", "was modified");
      const after = merged(before, object) as KubeObject;
      // As the API server: what changes nothing is no write.
      if (before !== undefined && JSON.stringify(after) === JSON.stringify(before)) return structuredClone(before) as T;
      return write(resource, after, before) as T;
    },
    async remove(resource, name) {
      count("remove", resource);
      const before = need(resource, name);
      store(resource).delete(keyOf(name));
      tell(resource, "DELETED", before);
    },
    document: (path) => Promise.resolve(documents.get(path)),
  };
}

/** RFC 7386. */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const base = typeof target === "object" && target !== null && !Array.isArray(target) ? target : {};
  const out: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete out[key];
    else out[key] = merged(out[key], value);
  }
  return out;
}
