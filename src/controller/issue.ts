/**
 * Makes the archive that one namespace's pods get of a set: what was compiled, with what is only known now (mode, ClusterIPs,
 * resolvers), signed for the namespace.
 *
 * A sidecar takes only a higher sequence, also when its pod changes to another set; so in one namespace each newly given archive has
 * a higher one than all given before, and one is given again only while it is the namespace's newest, for a second. Sequences are wall
 * milliseconds, so that replicas agree as far as their clocks do.
 */
import { createHash } from "node:crypto";
import { bundleScope } from "#contract/control-environment.ts";
import type { Settings } from "#contract/policy-port.ts";
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";
import { assembleBundle } from "#policy/assemble.ts";
import type { SigningKey } from "#policy/signature.ts";
import type { StoredBundle } from "./stored-bundle.ts";

/** What a namespace's bundles hold beside the policies. */
export interface Surroundings {
  readonly settings: Settings;
  /** Target → addresses to add to its own. */
  readonly addresses: Readonly<Record<string, readonly string[]>>;
  /** `data.sidegate.cluster`. */
  readonly cluster: Readonly<Record<string, unknown>>;
}

export interface Issued {
  readonly etag: string;
  readonly archive: Uint8Array;
}

export interface Issuer {
  /** Of the content alone: cheap, and the same on every replica. */
  etag(bundle: StoredBundle, surroundings: Surroundings): string;
  issue(namespace: string, bundle: StoredBundle, surroundings: Surroundings): Issued;
}

export interface IssuerOptions {
  readonly cluster: string;
  readonly key: () => SigningKey;
  readonly clock: Clock;
}

/** Archives of some 150 KiB. */
const KEPT = 128;
/** A bundle may be taken for so long; running sidecars keep theirs. */
const LIFE_MS = 30 * 86_400_000;
/**
 * One archive for the pods that ask at about the same time. No longer: another replica may have issued a later one meanwhile, and a
 * policy that is put back would then come with a sequence that running sidecars refuse.
 */
const REUSE_MS = 1_000;

/** The smallest WebAssembly module: magic and version. */
const NO_MODULE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

/** Given, with a freeze in its settings, to a frozen pod whose policies were never compiled. Decides nothing else. */
export const FROZEN_BUNDLE: StoredBundle = {
  id: "frozen",
  content: "",
  parts: {
    wasm: NO_MODULE,
    metadata: {
      reads: [],
      mayHold: false,
      mayMask: false,
      settings: { mode: "enforce", denialDetail: "full" },
      policies: [],
      rules: [],
    },
    data: { sidegate: { targets: {}, data: {} } },
  },
};

export function createIssuer({ cluster, key, clock }: IssuerOptions): Issuer {
  const kept = new Lru<string, Issued & { readonly sequence: number }>(KEPT);
  const newest = new Lru<string, number>(10_000);

  function etag({ id, content }: StoredBundle, surroundings: Surroundings): string {
    const hash = createHash("sha256").update(`${id}\0${content}\0`).update(JSON.stringify(surroundings));
    return `"${hash.digest("hex").slice(0, 24)}"`;
  }

  return {
    etag,
    issue(namespace, bundle, surroundings) {
      const tag = etag(bundle, surroundings);
      const at = `${namespace}/${tag}`;
      const before = kept.get(at);
      const last = newest.get(namespace) ?? 0;
      const now = clock.wallMs();
      if (before?.sequence === last && now - last < REUSE_MS) return before;
      const sequence = Math.max(now, last + 1);
      newest.set(namespace, sequence);
      const { parts } = bundle;
      const { archive } = assembleBundle(
        {
          // What is frozen decides nothing: its module need not be sent, compiled or warmed up.
          wasm: surroundings.settings.freeze === undefined ? parts.wasm : NO_MODULE,
          metadata: { ...parts.metadata, settings: surroundings.settings },
          data: surrounded(parts.data, surroundings),
        },
        { scope: bundleScope(cluster, namespace), sequence, notAfterMs: now + LIFE_MS },
        key(),
      );
      const issued = { etag: tag, archive, sequence };
      kept.set(at, issued);
      return issued;
    },
  };
}

interface Data {
  readonly sidegate: { readonly targets: Readonly<Record<string, { readonly addresses?: readonly string[] }>> };
}

function surrounded(
  data: Readonly<Record<string, unknown>>,
  { addresses, cluster }: Surroundings,
): Record<string, unknown> {
  const { sidegate } = data as unknown as Data;
  const targets = Object.entries(sidegate.targets).map(([name, spec]) => {
    const more = addresses[name] ?? [];
    return [
      name,
      more.length === 0 ? spec : { ...spec, addresses: [...new Set([...(spec.addresses ?? []), ...more])] },
    ];
  });
  return { ...data, sidegate: { ...sidegate, targets: Object.fromEntries(targets) as object, cluster } };
}
