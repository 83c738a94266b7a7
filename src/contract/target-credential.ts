/**
 * What has to hold of a target that has a credential, and whose Secret it may name. Said in one place for who admits a target
 * (webhook, a policy folder) and for who hands its credential out (controller): what one of them missed, the other refuses.
 *
 * Errs towards refusing: a Secret of a namespace that nobody named is never read, and those of the gateway's own namespace (it has
 * the keys that sign bundles and certificates) neither, whoever asks.
 */
import { credentialFromProblems, type FieldProblem } from "./credential-from.ts";
import type { TargetSpec } from "./target.ts";

/** Problems of the target alone, wherever it stands. */
export function targetCredentialProblems(spec: TargetSpec): readonly FieldProblem[] {
  const { credential, credentialFrom, hosts, tls, insecureCredential, endpoints = [] } = spec;
  const problems: FieldProblem[] = [];
  const refuse = (field: string, message: string): void => void problems.push({ field: `spec.${field}`, message });
  if (credential !== undefined) {
    const wildcard = hosts.findIndex((host) => host.startsWith("*."));
    if (wildcard !== -1) refuse(`hosts.${wildcard}`, "a wildcard may not stand together with a credential");
    if (tls === "passthrough") refuse("tls", "nothing can be put into a connection that passes through");
  }
  if (insecureCredential === true && endpoints.length === 0)
    refuse("insecureCredential", "without TLS only endpoints say who gets the credential, and there are none");
  if (credentialFrom === undefined) return problems;
  if (credential === undefined) refuse("credentialFrom", "needs `credential`, the name by which policies put it in");
  return [...problems, ...credentialFromProblems(credentialFrom)];
}

/** Where a target stands, and what the installation allows. */
export interface TargetPlace {
  readonly namespace: string;
  /** The gateway's own namespace, whose targets are the cluster's. */
  readonly own: string;
  /** Namespaces whose Secrets may be read: the chart's `credentials.namespaces`. */
  readonly allowed: readonly string[];
}

export type SecretChoice =
  | { readonly kind: "secret"; readonly namespace: string; readonly name: string }
  | { readonly kind: "refused"; readonly problem: FieldProblem };

/** Which Secret a target's `credentialFrom` means, or why it may not. */
export function chooseSecret(
  { name, namespace: asked }: SecretName,
  { namespace, own, allowed }: TargetPlace,
): SecretChoice {
  const refuse = (message: string): SecretChoice => ({
    kind: "refused",
    problem: { field: "spec.credentialFrom.secret.namespace", message },
  });
  if (namespace === own && asked === undefined)
    return refuse("a target of the cluster has to name the namespace of its Secret");
  if (namespace !== own && asked !== undefined && asked !== namespace)
    return refuse(`only targets in namespace ${own} may name a Secret of another namespace; leave it out`);
  const of = asked ?? namespace;
  if (of === own) return refuse(`Secrets of the gateway's own namespace ${own} are never handed out`);
  if (!allowed.includes(of))
    return refuse(
      `Secrets of namespace ${of} are not read: add ${of} to the chart's value credentials.namespaces (helm upgrade)`,
    );
  return { kind: "secret", namespace: of, name };
}

export interface SecretName {
  readonly name: string;
  readonly namespace?: string | undefined;
}
