/**
 * A sidecar that was killed has no last line, and `verify` says so for ever. Somebody who knows why (a node that was lost, a pod that
 * was evicted) can accept the end as it is: by name, with a reason, on record. Lines that come later are not accepted with it.
 */
import { type ActOptions, CONTROL_BOOT, recordAct } from "./act.ts";

export type AcceptResult =
  | { readonly kind: "accepted"; readonly through: number }
  | { readonly kind: "refused"; readonly why: string };

export async function acceptEnd(
  options: ActOptions,
  request: {
    readonly boot: string;
    readonly by: string;
    readonly reason: string;
    /** A boot that was seen within this runs, and needs nobody to accept anything. */
    readonly aliveMs: number;
  },
): Promise<AcceptResult> {
  const { boot, by, reason } = request;
  const known = boot === CONTROL_BOOT ? null : await options.store.boot(boot);
  if (known === null) return { kind: "refused", why: "no sidecar's chain has this name" };
  if (options.clock.wallMs() - known.seenAt < request.aliveMs && !known.stopped)
    return { kind: "refused", why: "it gave a sign of life a moment ago" };
  await recordAct(options, "accept", { boot, pod: known.pod, through: known.lastSeq, by, reason });
  return { kind: "accepted", through: known.lastSeq };
}
