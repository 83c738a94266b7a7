/**
 * The Kubernetes API over HTTPS: JSON in, JSON out, and watches as lines of JSON. Bodies, lines and times are bounded.
 * Format: kubernetes.io/docs/reference/using-api/api-concepts.
 */
import type { IncomingMessage } from "node:http";
import { Agent, request as requestHttps } from "node:https";
import type { KubeAccess } from "./pod-access.ts";
import {
  type Kube,
  KubeError,
  type KubeObject,
  type Listed,
  type Name,
  type Resource,
  type Scope,
  type WatchEvent,
} from "./port.ts";
import { apiVersionOf } from "./resources.ts";
import { readLines } from "./watch-lines.ts";

const REQUEST_MS = 30_000;
/** One page of a list: 500 pods of 100 KiB would be 50 MB. */
const MAX_BODY_BYTES = 128 * 1024 * 1024;
/** The server ends a watch after this many seconds, so that none hangs on a dead connection for long. */
const WATCH_S = 240;
/** Bookmarks come about every minute; a silent connection beyond this is dead. */
const WATCH_IDLE_MS = 150_000;

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

/** `answerMs`: until the head of an answer, of a watch as well. */
export function createKube(access: KubeAccess, answerMs = REQUEST_MS): Kube {
  const agent = new Agent({ keepAlive: true, maxSockets: 16, keepAliveMsecs: 10_000 });

  async function open(call: Call, pooled: boolean): Promise<IncomingMessage> {
    const { headers, ...tls } = await access.options();
    const body = call.body === undefined ? null : Buffer.from(JSON.stringify(call.body));
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const outgoing = requestHttps(new URL(call.path, access.server), {
      ...tls,
      agent: pooled ? agent : false,
      method: call.method,
      headers: {
        ...(headers as Record<string, string>),
        accept: "application/json, */*;q=0.5",
        "user-agent": "sidegate",
        ...(body === null
          ? {}
          : { "content-type": call.contentType ?? "application/json", "content-length": body.length }),
      },
      ...(call.signal === undefined ? {} : { signal: call.signal }),
    });
    // A watch goes on for long, but it begins at once or never.
    const limit = setTimeout(() => outgoing.destroy(new Error(`no answer within ${answerMs} ms`)), answerMs);
    outgoing.on("response", (response) => {
      clearTimeout(limit);
      resolve(response);
    });
    outgoing.on("error", (fault) => {
      clearTimeout(limit);
      reject(fault);
    });
    outgoing.end(body ?? undefined);
    return promise;
  }

  async function ask(call: Call): Promise<unknown> {
    const response = await open({ ...call, signal: AbortSignal.timeout(REQUEST_MS) }, true);
    const text = await readBody(response);
    const status = response.statusCode ?? 0;
    if (status >= 400 || status < 200) throw errorOf(status, text);
    return text === "" ? null : JSON.parse(text);
  }

  return {
    async get<T extends KubeObject>(resource: Resource, name: Name) {
      try {
        return (await ask({ method: "GET", path: pathOf(resource, name) })) as T;
      } catch (fault) {
        if (fault instanceof KubeError && fault.status === 404) return null;
        throw fault;
      }
    },
    async list(resource, scope, { limit, continues }) {
      const query = new URLSearchParams({ ...queryOf(scope), limit: String(limit) });
      if (continues !== "") query.set("continue", continues);
      const path = `${pathOf(resource, { namespace: scope.namespace ?? "", name: "" })}?${query.toString()}`;
      return listed(resource, await ask({ method: "GET", path }));
    },
    async *watch(resource, scope, from, signal) {
      const query = new URLSearchParams({
        ...queryOf(scope),
        watch: "true",
        allowWatchBookmarks: "true",
        resourceVersion: from,
        timeoutSeconds: String(WATCH_S),
      });
      const path = `${pathOf(resource, { namespace: scope.namespace ?? "", name: "" })}?${query.toString()}`;
      const response = await open({ method: "GET", path, signal }, false);
      const status = response.statusCode ?? 0;
      if (status !== 200) throw errorOf(status, await readBody(response));
      response.setTimeout(WATCH_IDLE_MS, () => response.destroy(new Error("the watch fell silent")));
      try {
        for await (const line of readLines(response)) yield eventOf(JSON.parse(line));
      } finally {
        response.destroy();
      }
    },
    async create<T extends KubeObject>(resource: Resource, object: T) {
      const path = pathOf(resource, { namespace: object.metadata.namespace ?? "", name: "" });
      return (await ask({ method: "POST", path, body: typed(resource, object) })) as T;
    },
    async replace<T extends KubeObject>(resource: Resource, object: T, part?: "status") {
      const { namespace = "", name } = object.metadata;
      const path = pathOf(resource, { namespace, name }, part);
      return (await ask({ method: "PUT", path, body: typed(resource, object) })) as T;
    },
    async patch(resource, name, body, part) {
      const contentType = "application/merge-patch+json";
      return (await ask({ method: "PATCH", path: pathOf(resource, name, part), body, contentType })) as KubeObject;
    },
    async applyAs<T extends KubeObject>(resource: Resource, object: T, manager: string) {
      const { namespace = "", name } = object.metadata;
      const path = `${pathOf(resource, { namespace, name })}?${new URLSearchParams({ fieldManager: manager, force: "true" }).toString()}`;
      const contentType = "application/apply-patch+yaml"; // JSON is YAML
      return (await ask({ method: "PATCH", path, body: typed(resource, object), contentType })) as T;
    },
    async remove(resource, name) {
      await ask({ method: "DELETE", path: pathOf(resource, name) });
    },
    document: (path) => ask({ method: "GET", path }),
  };
}

function typed<T extends KubeObject>(resource: Resource, object: T): T {
  return { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind };
}

/** `/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/PART`; an empty name is the collection. */
export function pathOf(resource: Resource, { namespace, name }: Name, part?: "status"): string {
  const { group, plural, namespaced } = resource;
  const root = `${group === "" ? "/api" : "/apis"}/${apiVersionOf(resource)}`;
  const inside = namespaced && namespace !== "" ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  const object = name === "" ? "" : `/${encodeURIComponent(name)}`;
  return `${root}${inside}/${plural}${object}${part === undefined ? "" : `/${part}`}`;
}

function queryOf({ labelSelector, fieldSelector }: Scope): Record<string, string> {
  return {
    ...(labelSelector === undefined ? {} : { labelSelector }),
    ...(fieldSelector === undefined ? {} : { fieldSelector }),
  };
}

/** Items of a list have no apiVersion and kind of their own. */
function listed(resource: Resource, value: unknown): Listed {
  const { metadata, items } = value as {
    metadata: { resourceVersion: string; continue?: string };
    items: KubeObject[] | null;
  };
  return {
    items: (items ?? []).map((item) => typed(resource, item)),
    resourceVersion: metadata.resourceVersion,
    continues: metadata.continue ?? "",
  };
}

function eventOf(value: unknown): WatchEvent {
  const event = value as { type: string; object: KubeObject & { code?: number; reason?: string; message?: string } };
  switch (event.type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
    case "BOOKMARK":
      return { type: event.type, object: event.object };
    default:
      throw new KubeError(event.object.code ?? 500, event.object.reason ?? "", event.object.message ?? "watch ended");
  }
}

async function readBody(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > MAX_BODY_BYTES) throw new KubeError(507, "TooLarge", `an answer of over ${MAX_BODY_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

/** A failed call answers with a Status object. */
function errorOf(status: number, text: string): KubeError {
  try {
    const { reason = "", message = "" } = JSON.parse(text) as { reason?: string; message?: string };
    return new KubeError(status, reason, message === "" ? `status ${status}` : message);
  } catch {
    return new KubeError(status, "", `status ${status}`);
  }
}
