/**
 * The API server's token keys, fetched now and then, so that a pod's token is verified without asking anybody. A token signed with a
 * key that is not known yet (the server's key was exchanged) makes us look again, at most once in ten seconds.
 */
import { createPodTokens, type PodTokenReading, type PodTokens } from "#identity/pod-token.ts";
import type { Kube } from "#kube/port.ts";

export interface TokenKeys {
  authenticate(authorization: string | null): Promise<PodTokenReading>;
  /** As the API server gave it. */
  readonly jwks: string;
  readonly issuer: string;
  refresh(): Promise<void>;
}

const AGAIN_MS = 10_000;

/** Rejects where the API server does not give its keys (it needs the role system:service-account-issuer-discovery). */
export async function fetchTokenKeys(kube: Kube, wallMs: () => number): Promise<TokenKeys> {
  let jwks = "";
  let issuer = "";
  let tokens: PodTokens;
  let fetchedMs = 0;

  async function refresh(): Promise<void> {
    fetchedMs = wallMs();
    const keys = await kube.document("/openid/v1/jwks");
    const discovery = (await kube.document("/.well-known/openid-configuration")) as { readonly issuer?: string };
    issuer = discovery.issuer ?? "";
    tokens = createPodTokens({ keys: keys as Parameters<typeof createPodTokens>[0]["keys"], issuer, wallMs });
    jwks = JSON.stringify(keys);
  }
  await refresh();

  return {
    get jwks() {
      return jwks;
    },
    get issuer() {
      return issuer;
    },
    refresh,
    async authenticate(authorization) {
      const reading = await tokens(authorization);
      if (reading.kind !== "refused" || reading.why !== "signature" || wallMs() - fetchedMs < AGAIN_MS) return reading;
      await refresh().catch(() => undefined);
      return tokens(authorization);
    },
  };
}
