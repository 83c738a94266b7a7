/**
 * Where a credential may be revealed. It is bound to one target, whose host it was given for; it goes over verified TLS, so that an
 * address which somebody else's DNS gave gets nothing; and never to a name that whoever owns a sub-domain could answer to.
 *
 * Errs towards no: each condition is checked here again, although a policy that breaks one does not compile.
 */
import type { Credential, CredentialKind } from "#contract/credential.ts";
import type { Protocol } from "#contract/operation.ts";
import type { Target } from "#contract/target.ts";

/** How an upstream's connection is protected: by TLS from its first byte, by TLS that the lane starts in-band, or not. */
export type Protection = "tls" | "in-band" | "none";

/** Null: it may be used. Else why not. */
export function whyForbidden(
  name: string,
  target: Target | null,
  protection: Protection,
  opaque: boolean,
): string | null {
  if (target === null || target.name === "") return "no target lists this destination";
  if (opaque) return "nothing can be put into a connection that is not read";
  if (target.credential !== name) return `target ${target.name} does not name ${name}`;
  if (target.hosts.some((host) => host.startsWith("*."))) return "the target has a wildcard";
  if (protection !== "none") return null;
  if (target.insecureCredential !== true) return "the upstream is not reached by TLS";
  // Without TLS nothing but the address says who is there: it must be one that an admin wrote down.
  return target.endpoints === undefined || target.endpoints.length === 0
    ? "insecureCredential needs endpoints in the target"
    : null;
}

const BY_LOGIN = new Set<CredentialKind>(["password"]);

/** Null: its kind can be put into this protocol. */
export function whyUnfit(credential: Credential, protocol: Protocol, protection: Protection): string | null {
  const login = protocol === "postgres";
  if (credential.kind === "clientCertificate" && protection !== "tls") return "a certificate is shown in TLS only";
  return BY_LOGIN.has(credential.kind) === login
    ? null
    : `a credential of kind ${credential.kind} cannot be used with ${protocol}`;
}

/** Protocols that log in when the connection opens, so that `connect` must bring the credential. */
export function logsInAtConnect(protocol: Protocol): boolean {
  return protocol === "postgres";
}
