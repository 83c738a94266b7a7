/**
 * Tells which pod a projected service account token (audience `sidegate`) was given to, offline: by the API server's public keys.
 *
 * Errs towards refusing: a token that is not bound to a pod, of another audience, expired, or signed by a key that we do not know
 * names nobody. Why is said in one word, for a metric; the token itself never appears anywhere.
 */
import { createLocalJWKSet, errors, type JSONWebKeySet, jwtVerify } from "jose";
import { TOKEN_AUDIENCE } from "#contract/names.ts";

export interface PodIdentity {
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string;
  readonly serviceAccount: string;
  /** "" before Kubernetes 1.30. */
  readonly node: string;
}

export type PodTokenReading =
  | { readonly kind: "pod"; readonly identity: PodIdentity }
  | { readonly kind: "refused"; readonly why: "absent" | "malformed" | "expired" | "signature" | "claims" };

export interface PodTokenOptions {
  /** The API server's keys (`/openid/v1/jwks`). */
  readonly keys: JSONWebKeySet;
  /** Its `--service-account-issuer`. */
  readonly issuer: string;
  readonly wallMs: () => number;
}

export type PodTokens = (authorization: string | null) => Promise<PodTokenReading>;

/** A projected token has some 1,000 characters. */
const MAX_TOKEN = 8_192;
/** Clocks of the API server and of this machine. */
const LEEWAY_SECONDS = 10;
// What Kubernetes signs with (`kubernetes/pkg/serviceaccount/jwt.go`); never `none`, never a shared secret.
const ALGORITHMS = ["RS256", "ES256", "ES384", "ES512"];

/** Reads `Authorization: Bearer …`. Throws where the key set is malformed. */
export function createPodTokens({ keys, issuer, wallMs }: PodTokenOptions): PodTokens {
  const keyFor = createLocalJWKSet(keys);
  return async (authorization) => {
    if (authorization === null) return { kind: "refused", why: "absent" };
    const token = /^Bearer ([\w.-]+)$/.exec(authorization)?.[1];
    if (token === undefined || token.length > MAX_TOKEN) return { kind: "refused", why: "malformed" };
    try {
      const { payload } = await jwtVerify(token, keyFor, {
        issuer,
        audience: TOKEN_AUDIENCE,
        algorithms: ALGORITHMS,
        clockTolerance: LEEWAY_SECONDS,
        currentDate: new Date(wallMs()),
        requiredClaims: ["exp", "nbf", "aud"],
      });
      const identity = identityOf(payload["kubernetes.io"]);
      return identity === null ? { kind: "refused", why: "claims" } : { kind: "pod", identity };
    } catch (fault) {
      return { kind: "refused", why: reasonOf(fault) };
    }
  };
}

function reasonOf(fault: unknown): "malformed" | "expired" | "signature" | "claims" {
  if (fault instanceof errors.JWTExpired) return "expired";
  if (fault instanceof errors.JWTClaimValidationFailed) return "claims";
  if (fault instanceof errors.JWSSignatureVerificationFailed || fault instanceof errors.JWKSNoMatchingKey)
    return "signature";
  return "malformed";
}

/** The private claim of bound tokens: `{namespace, pod: {name, uid}, serviceaccount: {name, uid}, node: {name, uid}}`. */
function identityOf(claim: unknown): PodIdentity | null {
  const { namespace, pod, serviceaccount, node } = members(claim);
  const { name, uid } = members(pod);
  const account = members(serviceaccount)["name"];
  if (!isName(namespace) || !isName(name) || !isName(uid) || !isName(account)) return null;
  const on = members(node)["name"];
  return { namespace, pod: name, uid, serviceAccount: account, node: isName(on) ? on : "" };
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= 253;
}

function members(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
