/**
 * Who reads: a person or a program with a token of its own that the API server knows (TokenReview), which the API server lets read the
 * records of that namespace (SubjectAccessReview: get, records.sidegate.dev). Answers are remembered for seconds, so that following
 * the record asks the API server now and then, not four times a second.
 *
 * Errs towards no: an API server that cannot be asked lets nobody read. The token is never kept, only its hash.
 */
import { createHash } from "node:crypto";
import { API_GROUP } from "#contract/names.ts";
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";
import { mayAccess } from "#kube/access-review.ts";
import type { Kube, KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";

export interface Reader {
  readonly user: string;
  readonly groups: readonly string[];
}

export interface Readers {
  /** Null: nobody that the API server knows; "busy": too many unknown ones just now. */
  reader(token: string): Promise<Reader | null | "busy">;
  /** `namespace`: "" is every one. */
  may(reader: Reader, verb: "get" | "accept", namespace: string): Promise<boolean>;
}

interface TokenReview extends KubeObject {
  readonly spec?: { readonly token: string };
  readonly status?: {
    readonly authenticated?: boolean;
    readonly user?: { readonly username?: string; readonly groups?: readonly string[] };
  };
}

/** How long an answer of the API server counts; a right that was taken away ends within this. */
const KEPT_MS = 10_000;
const MAX_KEPT = 2_000;
const MAX_TOKEN = 16_384;
/** Questions to the API server under way: strangers must not be able to make us flood it. */
const MAX_ASKING = 16;

export function createReaders(kube: Kube, clock: Clock): Readers {
  const known = new Lru<string, { readonly reader: Reader | null; readonly untilMs: number }>(MAX_KEPT);
  const rights = new Lru<string, { readonly may: boolean; readonly untilMs: number }>(MAX_KEPT);
  let asking = 0;

  async function review(token: string): Promise<Reader | null> {
    const { status } = await kube.create<TokenReview>(RESOURCE.tokenReview, {
      metadata: { name: "" },
      spec: { token },
    });
    const user = status?.user?.username ?? "";
    return status?.authenticated === true && user !== "" ? { user, groups: status.user?.groups ?? [] } : null;
  }

  return {
    async reader(token) {
      if (!/^[\x21-\x7e]+$/.test(token) || token.length > MAX_TOKEN) return null;
      const key = createHash("sha256").update(token).digest("base64");
      const before = known.get(key);
      if (before !== undefined && before.untilMs > clock.elapsedMs()) return before.reader;
      if (asking >= MAX_ASKING) return "busy";
      asking++;
      try {
        const reader = await review(token);
        known.set(key, { reader, untilMs: clock.elapsedMs() + KEPT_MS });
        return reader;
      } finally {
        asking--;
      }
    },
    async may({ user, groups }, verb, namespace) {
      const key = JSON.stringify([user, groups, verb, namespace]);
      const before = rights.get(key);
      if (before !== undefined && before.untilMs > clock.elapsedMs()) return before.may;
      const may = await mayAccess(kube, { user, groups, verb, group: API_GROUP, resource: "records", namespace });
      rights.set(key, { may, untilMs: clock.elapsedMs() + KEPT_MS });
      return may;
    },
  };
}
