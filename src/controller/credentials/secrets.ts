/**
 * The Secrets that targets name, each by a watch of its own: so a namespace's other Secrets never come here, and the role that reads
 * them can be as narrow as the installation wants. Values are kept in memory only, as `Secret`.
 *
 * Bounded; beyond the bound a Secret is not read, and whoever needs it is told so. Errs towards the last state known while the API
 * server is away, and towards nothing where it says no.
 */
import { Secret } from "#core/secret.ts";
import { startCache } from "#kube/cache.ts";
import type { SecretObject } from "#kube/certificate-keeper.ts";
import { hasStatus, type Kube, type KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";

export interface WatchedSecret {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly type: string;
  /** The annotation `sidegate.dev/hosts`; null: none. */
  readonly hosts: readonly string[] | null;
  readonly values: ReadonlyMap<string, Secret>;
}

export type SecretReading =
  | { readonly kind: "found"; readonly secret: WatchedSecret }
  | { readonly kind: "missing" }
  /** Not listed yet; `why`: the API server's last word about it, or "". */
  | { readonly kind: "unread"; readonly why: string };

export interface Secrets {
  /** `namespace/name` of all that are wanted from now on; the others are forgotten. */
  want(keys: ReadonlySet<string>): void;
  read(key: string): SecretReading;
}

export interface SecretsOptions {
  readonly kube: Kube;
  /** A wanted Secret came, changed, went, or cannot be read. */
  readonly onChange: (key: string) => void;
  readonly onFault: (fault: unknown) => void;
  readonly signal: AbortSignal;
}

/** Each is a connection to the API server. */
export const MAX_SECRETS = 256;
const HOSTS = "sidegate.dev/hosts";
/** A connection that is being made may still need the value that was replaced. */
const WIPE_MS = 60_000;

interface Watched {
  readonly abort: AbortController;
  secret: WatchedSecret | null;
  listed: boolean;
  why: string;
}

export function createSecrets(options: SecretsOptions): Secrets {
  const { kube, onChange, onFault, signal } = options;
  const watched = new Map<string, Watched>();

  function begin(key: string): Watched {
    const [namespace = "", name = ""] = key.split("/");
    const entry: Watched = { abort: new AbortController(), secret: null, listed: false, why: "" };
    const cache = startCache<WatchedSecret>({
      kube,
      resource: RESOURCE.secret,
      scope: { namespace, fieldSelector: `metadata.name=${name}` },
      maxEntries: 1,
      project: readSecret,
      onChange(_key, value) {
        if (entry.secret !== null) wipeLater(entry.secret);
        entry.secret = value ?? null;
        entry.why = "";
        onChange(key);
      },
      onFault(fault) {
        const why = faultText(fault);
        if (why === entry.why) return;
        entry.why = why;
        onFault(fault);
        // What may not be read any more is not handed out any more.
        if (hasStatus(fault, 403) && entry.secret !== null) {
          wipeLater(entry.secret);
          entry.secret = null;
          entry.listed = false;
        }
        onChange(key);
      },
      signal: AbortSignal.any([signal, entry.abort.signal]),
    });
    cache.synced.then(
      () => {
        entry.listed = true;
        onChange(key);
      },
      () => undefined,
    );
    return entry;
  }

  return {
    want(keys) {
      for (const [key, entry] of watched)
        if (!keys.has(key)) {
          entry.abort.abort();
          if (entry.secret !== null) wipeLater(entry.secret);
          watched.delete(key);
        }
      for (const key of keys) if (!watched.has(key) && watched.size < MAX_SECRETS) watched.set(key, begin(key));
    },
    read(key) {
      const entry = watched.get(key);
      if (entry === undefined)
        return { kind: "unread", why: watched.size >= MAX_SECRETS ? `more than ${MAX_SECRETS} Secrets are named` : "" };
      if (entry.secret !== null) return { kind: "found", secret: entry.secret };
      return entry.listed ? { kind: "missing" } : { kind: "unread", why: entry.why };
    },
  };
}

function readSecret(object: KubeObject): WatchedSecret {
  const { metadata, type = "Opaque", data = {} } = object as SecretObject;
  const hosts = metadata.annotations?.[HOSTS];
  const values = Object.entries(data).map(
    ([key, base64]) => [key, new Secret(Buffer.from(base64, "base64").toString("utf8"))] as const,
  );
  return {
    uid: metadata.uid ?? "",
    resourceVersion: metadata.resourceVersion ?? "",
    type,
    hosts: hosts === undefined ? null : hosts.split(",").map((host) => host.trim()),
    values: new Map(values),
  };
}

function wipeLater({ values }: WatchedSecret): void {
  setTimeout(() => {
    for (const value of values.values()) value.wipe();
  }, WIPE_MS).unref();
}

function faultText(fault: unknown): string {
  return fault instanceof Error ? fault.message.slice(0, 300) : "";
}
