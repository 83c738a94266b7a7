/** What the room `credentials` gives to the judge: a credential at hand, or a wait for one. */
import type { Credential, CredentialFault } from "#contract/credential.ts";

export interface Credentials {
  /** At hand, and good for now. A fault: it was asked for and there is none. Null: it is being fetched; `wait` for it. */
  find(name: string): Credential | CredentialFault | null;
  /** Calls back once, never before it has returned. */
  wait(name: string, then: (found: Credential | CredentialFault) => void): Waiting;
  /** The upstream said that this value is no good: asks the source for another. Calls back once: null where there is none. */
  renew(bad: Credential, then: (found: Credential | null) => void): Waiting;
  /** How long one is waited for at most. */
  readonly limitMs: number;
}

export interface Waiting {
  /** `then` is not called any more. */
  cancel(): void;
}
