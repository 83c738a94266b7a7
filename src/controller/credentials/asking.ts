/** What is asked for credentials, and what is answered: the words between the server and who hands them out. */
import type { PodIdentity } from "#identity/pod-token.ts";

export interface Asked {
  readonly target: string;
  readonly name: string;
  /** What the sidecar's bundle says that the target is. */
  readonly binding: string;
}

/** `code`: a word for the metric. */
export interface Refused {
  readonly kind: "refused";
  readonly status: 403 | 404 | 429 | 503;
  readonly code: string;
  readonly why: string;
}

/** Who asks, as the server found out. */
export interface Caller {
  readonly identity: PodIdentity;
  readonly address: string;
}

export interface CredentialRequest extends Caller, Asked {
  /** What was given before was refused by the upstream. */
  readonly fresh: boolean;
}

export interface CredentialWatch extends Caller, Asked {
  /** What the sidecar has. */
  readonly etag: string;
  readonly waitMs: number;
  /** The caller is gone. */
  readonly gone: AbortSignal;
}

export interface CredentialAnswer {
  readonly status: 200 | 304 | Refused["status"];
  readonly etag: string;
  readonly body: string;
}

export interface HandOut {
  give(request: CredentialRequest): Promise<CredentialAnswer>;
  /** Resolves when it is another one than `etag`'s, or after `waitMs`. Nothing is handed out. */
  watch(request: CredentialWatch): Promise<CredentialAnswer>;
  /** Something changed that it may depend on. */
  changed(): void;
}
