/** What the room `credentials` gives to the judge: a credential at hand, or a wait for one. */
import type { Credential, CredentialFault } from "#contract/credential.ts";
import type { Target } from "#contract/target.ts";

export interface Credentials {
  /**
   * At hand, and good for now. A fault: it was asked for and there is none. Null: it is being fetched; `wait` for it.
   * `target`: as the bundle in force has it; what was fetched for another one, or for what it was before, is never given.
   */
  find(name: string, target: Target): Credential | CredentialFault | null;
  /** Calls back once, never before it has returned. */
  wait(name: string, target: Target, then: (found: Credential | CredentialFault) => void): Waiting;
  /** The upstream said that this value is no good: asks the source for another. Calls back once: null where there is none. */
  renew(bad: Credential, then: (found: Credential | null) => void): Waiting;
  /** How long one is waited for at most. */
  readonly limitMs: number;
}

export interface Waiting {
  /** `then` is not called any more. */
  cancel(): void;
}
