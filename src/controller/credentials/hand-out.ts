/**
 * Hands credentials to sidecars: `(request) → answer`, no transport in it. In this order, and a step that refuses ends it: rate, right
 * (target, policy, binding), Secret, the pod as it is now, the value, the record; only then the answer.
 *
 * Errs towards refusing. A hand-out that cannot be put on record does not happen. What is logged, counted and recorded is who asked
 * for what and what came of it; the value is in the answer's body alone.
 */
import type { Acts } from "#audit/acts.ts";
import { CredentialFault, writeIssued } from "#contract/credential.ts";
import type { Clock } from "#core/clock.ts";
import type { PodIdentity } from "#identity/pod-token.ts";
import type {
  Asked,
  Caller,
  CredentialAnswer,
  CredentialRequest,
  CredentialWatch,
  HandOut,
  Refused,
} from "./asking.ts";
import { lookUp, make, type Ready, referenceOf } from "./make.ts";
import { createRate } from "./rate.ts";
import { type RightOptions, refuse, targetFor } from "./right.ts";
import type { Secrets } from "./secrets.ts";
import type { TokenKeeper } from "./tokens.ts";

export interface HandOutOptions extends RightOptions {
  /** Namespaces whose Secrets may be read. */
  readonly allowed: readonly string[];
  readonly secrets: Secrets;
  readonly tokens: TokenKeeper;
  readonly lifetimeMs: number;
  /** Null: it is. */
  readonly whyNotNow: (identity: PodIdentity) => Promise<string | null>;
  /** Null: there is no collector to tell. */
  readonly acts: Pick<Acts, "record"> | null;
  readonly randomId: () => string;
  readonly clock: Clock;
  /** `outcome`: `given`, or why not. */
  readonly counted: (outcome: string) => void;
  readonly log: (event: string, fields: Readonly<Record<string, string>>) => void;
  readonly onFault: (fault: unknown) => void;
}

/** A sidecar watches at most sixteen; a second request may come while the first is dying. */
const MAX_WATCHES_PER_POD = 32;

export function createHandOut(options: HandOutOptions): HandOut {
  const { counted, log, clock, acts, own, allowed, secrets } = options;
  const rate = createRate(clock);
  const waiting = new Set<() => void>();
  const watches = new Map<string, number>();

  function ready(caller: Caller, asked: Asked): Ready | Refused {
    const right = targetFor({ ...caller, asked }, options);
    if (right.kind === "refused") return right;
    const found = lookUp(referenceOf(right.target, { own, allowed }), secrets);
    if (found.kind === "ready") return found;
    return refuse(found.code === "Unavailable" ? 503 : found.code === "NotAllowed" ? 403 : 404, found.code, found.why);
  }

  /** Rejects where something is wrong with us, the API server or the collector. */
  async function given(request: CredentialRequest): Promise<CredentialAnswer | Refused> {
    const { identity, target, name, fresh } = request;
    if (!rate.take(identity.uid))
      return refuse(429, "rate", "this pod has asked too often; it is asked for again later");
    const found = ready(request, request);
    if (found.kind === "refused") return found;
    const why = await options.whyNotNow(identity);
    if (why !== null) return refuse(403, "pod", why);
    const issued = await make(found, { tokens: options.tokens, lifetimeMs: options.lifetimeMs, fresh });
    try {
      // Meanwhile a policy may have changed, or the Secret.
      const still = ready(request, request);
      if (still.kind === "refused") return still;
      if (still.etag !== found.etag) return refuse(503, "changed", `the Secret of ${name} has just changed`);
      await acts?.record({
        key: `credential/${options.randomId()}`,
        act: "credential",
        members: {
          namespace: identity.namespace,
          pod: identity.pod,
          uid: identity.uid,
          target,
          credential: name,
          secret: found.reference.key,
          version: found.secret.resourceVersion,
        },
      });
      return { status: 200, etag: found.etag, body: JSON.stringify(writeIssued(issued)) };
    } finally {
      issued.secret.wipe();
    }
  }

  function answer({ status, why }: Refused): CredentialAnswer {
    return { status, etag: "", body: `${JSON.stringify({ why })}\n` };
  }

  function looked(request: CredentialWatch): CredentialAnswer {
    const found = ready(request, request);
    if (found.kind === "refused") return { status: found.status, etag: "", body: "" };
    return { status: found.etag === request.etag ? 304 : 200, etag: found.etag, body: "" };
  }

  return {
    async give(request) {
      const { identity, target, name } = request;
      const about = { namespace: identity.namespace, pod: identity.pod, target, credential: name };
      const outcome = await given(request).catch((fault: unknown) => {
        if (fault instanceof CredentialFault) return refuse(503, "Unavailable", fault.message);
        options.onFault(fault);
        return refuse(503, "fault", `the credential ${name} could not be handed out; the controller's log says why`);
      });
      if ("code" in outcome) {
        counted(outcome.code);
        log("credential refused", { ...about, code: outcome.code, why: outcome.why });
        return answer(outcome);
      }
      counted("given");
      log("credential given", about);
      return outcome;
    },
    async watch(request) {
      const { uid } = request.identity;
      const count = watches.get(uid) ?? 0;
      if (count >= MAX_WATCHES_PER_POD) return { status: 429, etag: "", body: "" };
      watches.set(uid, count + 1);
      const end = clock.elapsedMs() + request.waitMs;
      try {
        for (;;) {
          const now = looked(request);
          const left = end - clock.elapsedMs();
          if (now.status !== 304 || left <= 0 || request.gone.aborted) return now;
          await pause(waiting, left, request.gone);
        }
      } finally {
        const left = (watches.get(uid) ?? 1) - 1;
        if (left <= 0) watches.delete(uid);
        else watches.set(uid, left);
      }
    },
    changed() {
      for (const look of waiting) look();
    },
  };
}

function pause(waiting: Set<() => void>, ms: number, gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      waiting.delete(done);
      gone.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    waiting.add(done);
    gone.addEventListener("abort", done, { once: true });
  });
}
