/**
 * How the sidecar of a `sidegate run` asks its parent for a credential: messages on Node's own IPC channel, a socket pair that only
 * the two processes hold. Nothing of it is in an environment, an argument or a file.
 */

/** Sidecar → parent. */
export interface CredentialRequest {
  readonly kind: "credential";
  readonly id: number;
  readonly name: string;
}

/** Parent → sidecar. `value`: what `writeIssued` made. */
export type CredentialReply =
  | { readonly kind: "credential"; readonly id: number; readonly ok: true; readonly value: unknown }
  | {
      readonly kind: "credential";
      readonly id: number;
      readonly ok: false;
      readonly why: "unknown" | "unavailable";
      readonly message: string;
    }
  | { readonly kind: "credential-changed"; readonly name: string };

export function isCredentialRequest(message: unknown): message is CredentialRequest {
  if (typeof message !== "object" || message === null) return false;
  const { kind, id, name } = message as Record<string, unknown>;
  return kind === "credential" && typeof id === "number" && typeof name === "string";
}
