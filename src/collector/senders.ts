/**
 * Who sends: pods, by the tokens that their kubelets gave them, of this cluster and of others whose token keys we were given; and the
 * control plane's own processes, which may put acts on record.
 *
 * Errs towards nobody: a token that fits no issuer's keys names nobody, and one cluster's pod never passes for another's.
 */
import { createPodTokens, type PodTokenReading, type PodTokens } from "#identity/pod-token.ts";
import type { Sender } from "./ingest.ts";

/** One API server that signs tokens. */
export interface TokenIssuer {
  /** The name that its sidecars give their cluster. */
  readonly cluster: string;
  readonly issuer: string;
  /** JSON Web Key Set, as text. */
  readonly keys: string;
  /** This is the cluster whose API server we ask about readers. */
  readonly own: boolean;
}

export interface SendersOptions {
  readonly wallMs: () => number;
  /** Service accounts of our own cluster that may put acts on record: `namespace/name`. */
  readonly actors: ReadonlySet<string>;
  readonly refused: (why: string) => void;
}

export interface Senders {
  /** Takes others in the place of those before. Throws where a key set is malformed: those before stay. */
  use(issuers: readonly TokenIssuer[]): void;
  pod(authorization: string | null): Promise<Sender | null>;
  /** The name of the service account; null: not one that may. */
  actor(authorization: string | null): Promise<string | null>;
}

export function createSenders({ wallMs, actors, refused }: SendersOptions): Senders {
  let known: readonly { readonly issuer: TokenIssuer; readonly tokens: PodTokens }[] = [];

  async function read(
    authorization: string | null,
  ): Promise<{ readonly issuer: TokenIssuer; readonly reading: PodTokenReading & { kind: "pod" } } | null> {
    let why = "absent";
    for (const { issuer, tokens } of known) {
      const reading = await tokens(authorization);
      if (reading.kind === "pod") return { issuer, reading };
      // Of several, the one that came furthest says what is wrong.
      if (why === "absent" || reading.why === "expired") ({ why } = reading);
    }
    refused(why);
    return null;
  }

  return {
    use(issuers) {
      known = issuers.map((issuer) => {
        const keys = JSON.parse(issuer.keys) as Parameters<typeof createPodTokens>[0]["keys"];
        return { issuer, tokens: createPodTokens({ keys, issuer: issuer.issuer, wallMs }) };
      });
    },
    async pod(authorization) {
      const found = await read(authorization);
      if (found === null) return null;
      const { namespace, pod, uid } = found.reading.identity;
      const { cluster: name, own } = found.issuer;
      const subject = `${own ? "" : `${name}:`}${namespace}/${pod}/${uid}`;
      return { subject, claims: { namespace, pod, uid, cluster: { name, own } } };
    },
    async actor(authorization) {
      const found = await read(authorization);
      if (found === null || !found.issuer.own) return null;
      const { namespace, serviceAccount } = found.reading.identity;
      const name = `${namespace}/${serviceAccount}`;
      return actors.has(name) ? name : null;
    },
  };
}
