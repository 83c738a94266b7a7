/**
 * A target and its Secret → the credential as a sidecar gets it, or why there is none: with the Secret's name, the key, and what to do
 * about it, for the target's status and the agent's error. Never a value.
 *
 * Errs towards refusing: a Secret that belongs to something else (an account's token, a release), or whose annotation names other
 * hosts, is not lent to a target, whoever wrote the target.
 */
import { createHash } from "node:crypto";
import { CredentialFault, type CredentialShape, checkShape, type IssuedCredential } from "#contract/credential.ts";
import { type CredentialFrom, certificateKey, secretKey } from "#contract/credential-from.ts";
import { chooseSecret, type TargetPlace, targetCredentialProblems } from "#contract/target-credential.ts";
import { assertNever } from "#core/assert-never.ts";
import { Secret } from "#core/secret.ts";
import type { ObservedTarget } from "../observed.ts";
import { bindingOf } from "../policy-set.ts";
import type { Secrets, WatchedSecret } from "./secrets.ts";
import type { TokenKeeper } from "./tokens.ts";

/** What a target's credential comes from. */
export interface Reference {
  readonly target: ObservedTarget;
  readonly from: CredentialFrom;
  /** `namespace/name` */
  readonly key: string;
  /** Whether the cluster wrote the target, and not somebody of a namespace. */
  readonly ofCluster: boolean;
}

/** `code`: a word for the metric, and the condition's reason. `now`: it may be otherwise in a moment. */
export interface Lack {
  readonly kind: "lack";
  readonly code: "NotConfigured" | "NotAllowed" | "SecretMissing" | "KeyMissing" | "Unusable" | "Unavailable";
  readonly why: string;
}

export interface Ready {
  readonly kind: "ready";
  readonly reference: Reference;
  readonly secret: WatchedSecret;
  /** Of target and Secret as they are; the same on every replica. */
  readonly etag: string;
}

const lack = (code: Lack["code"], why: string): Lack => ({ kind: "lack", code, why });

/** Secrets that are no credential of somebody's, but Kubernetes' or a tool's own. */
const FOREIGN_TYPES = new Set([
  "kubernetes.io/service-account-token",
  "bootstrap.kubernetes.io/token",
  "kubernetes.io/dockercfg",
  "kubernetes.io/dockerconfigjson",
  "helm.sh/release.v1",
  "sidegate.dev/bundle",
]);

/** Which Secret it is, without looking at it. */
export function referenceOf(
  target: ObservedTarget,
  { own, allowed }: Omit<TargetPlace, "namespace">,
): Reference | Lack {
  const { namespace, name, spec } = target;
  const { credential = "", credentialFrom: from } = spec;
  if (from === undefined)
    return lack(
      "NotConfigured",
      `target ${namespace}/${name} names the credential ${credential}, and no Secret for it: add spec.credentialFrom`,
    );
  const ofCluster = namespace === own;
  // Admission has said so; a target that is older than the webhook, or came past it, gets nothing either.
  if (!ofCluster && (spec.endpoints !== undefined || spec.insecureCredential === true))
    return lack(
      "NotAllowed",
      `only targets in namespace ${own} may say where to dial, or send a credential unprotected`,
    );
  const [problem] = targetCredentialProblems(spec);
  if (problem !== undefined) return lack("Unusable", `${problem.field}: ${problem.message}`);
  const chosen = chooseSecret(from.secret, { namespace, own, allowed });
  if (chosen.kind === "refused") return lack("NotAllowed", `${chosen.problem.field}: ${chosen.problem.message}`);
  return { target, from, key: `${chosen.namespace}/${chosen.name}`, ofCluster };
}

/** Whether the Secret has all that the target wants of it. */
export function lookUp(reference: Reference | Lack, secrets: Secrets): Ready | Lack {
  if ("kind" in reference) return reference;
  const { target, from, key } = reference;
  const reading = secrets.read(key);
  switch (reading.kind) {
    case "unread":
      return lack(
        "Unavailable",
        reading.why === "" ? `Secret ${key} has not been read yet` : `Secret ${key} cannot be read: ${reading.why}`,
      );
    case "missing": {
      const [namespace = "", name = ""] = key.split("/");
      return lack(
        "SecretMissing",
        `Secret ${key} does not exist: kubectl -n ${namespace} create secret generic ${name} --from-literal=${secretKey(from)}=…`,
      );
    }
    case "found": {
      const why = unfit(reference, reading.secret);
      return why ?? { kind: "ready", reference, secret: reading.secret, etag: etagOf(target, from, reading.secret) };
    }
    default:
      return assertNever(reading);
  }
}

function unfit({ target, from, key }: Reference, secret: WatchedSecret): Lack | null {
  if (FOREIGN_TYPES.has(secret.type))
    return lack("NotAllowed", `Secret ${key} is of type ${secret.type}, which is not lent`);
  const stranger = secret.hosts === null ? undefined : target.spec.hosts.find((host) => !secret.hosts?.includes(host));
  if (stranger !== undefined)
    return lack(
      "NotAllowed",
      `Secret ${key} is not for ${stranger}: its annotation sidegate.dev/hosts does not list it`,
    );
  for (const wanted of keysOf(from))
    if (!secret.values.has(wanted)) {
      const there = [...secret.values.keys()].sort().join(", ");
      return lack("KeyMissing", `Secret ${key} has no key ${wanted} (it has: ${there || "none"})`);
    }
  if (from.kind === "oauth2ClientCredentials") return null;
  try {
    checkShape(shapeOf(from, secret), valueOf(secret, secretKey(from)));
    return null;
  } catch (fault) {
    if (fault instanceof CredentialFault)
      return lack("Unusable", `Secret ${key}, key ${secretKey(from)}: ${fault.message}`);
    throw fault;
  }
}

function keysOf(from: CredentialFrom): readonly string[] {
  const more = from.kind === "clientCertificate" ? certificateKey(from) : (from.userKey ?? from.clientIdKey);
  return [secretKey(from), ...(more === undefined ? [] : [more])];
}

/** A last line feed is the editor's or `echo`'s. */
function valueOf({ values }: WatchedSecret, key: string): string {
  return (values.get(key)?.reveal() ?? "").replace(/\r?\n$/, "");
}

function shapeOf(from: CredentialFrom, secret: WatchedSecret): CredentialShape {
  const user = from.userKey === undefined ? (from.user ?? null) : valueOf(secret, from.userKey);
  return {
    kind: from.kind,
    user,
    field: from.header ?? from.parameter ?? null,
    prefix: from.prefix ?? null,
    database: from.database ?? null,
    certificate: from.kind === "clientCertificate" ? valueOf(secret, certificateKey(from)) : null,
  };
}

function etagOf(target: ObservedTarget, from: CredentialFrom, { uid, resourceVersion }: WatchedSecret): string {
  const text = JSON.stringify([bindingOf(target), from, uid, resourceVersion]);
  return `"${createHash("sha256").update(text).digest("base64url").slice(0, 27)}"`;
}

/** `fresh`: what was given before is no good any more. Rejects with a CredentialFault. */
export async function make(
  { reference: { from, ofCluster, key }, secret, etag }: Ready,
  { tokens, lifetimeMs, fresh }: { readonly tokens: TokenKeeper; readonly lifetimeMs: number; readonly fresh: boolean },
): Promise<IssuedCredential> {
  const shape = shapeOf(from, secret);
  const value = valueOf(secret, secretKey(from));
  if (from.kind !== "oauth2ClientCredentials")
    return { ...shape, secret: new Secret(value), expiresInMs: lifetimeMs, refreshInMs: lifetimeMs * 0.4 };
  const token = await tokens.token(etag, fresh, {
    tokenUrl: from.tokenUrl ?? "",
    clientId: from.clientIdKey === undefined ? (from.clientId ?? "") : valueOf(secret, from.clientIdKey),
    clientSecret: value,
    scope: from.scope ?? null,
    audience: from.audience ?? null,
    auth: from.auth ?? "basic",
    ca: from.ca ?? null,
    private: ofCluster,
  });
  try {
    checkShape(shape, token.value);
  } catch {
    throw new CredentialFault("unavailable", `the token that Secret ${key} is good for cannot stand in a request`);
  }
  return {
    ...shape,
    secret: new Secret(token.value),
    expiresInMs: Math.min(lifetimeMs, token.expiresInMs),
    refreshInMs: Math.max(1_000, Math.min(lifetimeMs * 0.4, token.refreshInMs)),
  };
}
