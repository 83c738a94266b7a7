/** A request as dialects see it: neither bytes nor versions. */
import { PLACEHOLDER_PREFIX } from "#contract/credential.ts";
import type { Profile } from "#contract/policy-port.ts";
import type { RequestTarget } from "#core/request-target.ts";
import type { Head } from "#sidecar/seam/exchange.ts";
import type { Peer } from "#sidecar/seam/lane.ts";
import type { Operation } from "#sidecar/seam/verdict.ts";
import type { Field } from "./codec/field-block.ts";
import { SEEN_AUTHORIZATION } from "./codec/fields.ts";
import type { RequestHead } from "./codec/request-head.ts";

export class RequestView implements Head {
  readonly method: string;
  readonly scheme: "http" | "https";
  readonly authority: string;
  readonly path: string;
  readonly target: RequestTarget;
  readonly #head: RequestHead;

  constructor(head: RequestHead, peer: Peer) {
    this.method = head.method;
    this.scheme = peer.secure ? "https" : "http";
    this.authority = peer.host;
    this.path = head.target.raw;
    this.target = head.target;
    this.#head = head;
  }

  get fields(): readonly Field[] {
    return this.#head.block.fields;
  }

  field(name: string): string | null {
    const lower = name.toLowerCase();
    for (const [other, value] of this.fields) if (other.toLowerCase() === lower) return value;
    return null;
  }

  /** Bytes of the head. */
  get size(): number {
    return this.#head.text.length;
  }

  /** One look at all of it: nearly always false. In a login it may be encoded. */
  get mayHoldPlaceholder(): boolean {
    const { text, block } = this.#head;
    return (
      text.includes(PLACEHOLDER_PREFIX) ||
      ((block.seen & SEEN_AUTHORIZATION) !== 0 && /^authorization:\s*basic /im.test(text))
    );
  }

  /** Whether an operation written for the other one is also this one's. */
  same(other: RequestView): boolean {
    return this.target === other.target && this.method === other.method && this.#head.block === other.#head.block;
  }
}

/** What is written where no bundle is loaded: everything is refused, and all of it is on record. */
export const READS_ALL: Profile = { revision: "", reads: () => true, mayHold: false, mayMask: false };

/** A request of which nothing can be said, because it could not be read. */
export const UNREAD: Operation = {
  protocol: "http",
  action: "unknown",
  phase: "ask",
  parent: null,
  complete: false,
  run: null,
  traceparent: null,
  facts: "",
  detail: "",
  body: null,
};
