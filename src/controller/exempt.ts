/**
 * Exemptions as acts of the control plane: each one when it comes into force, and when its last day is over. Which pods use one the
 * drift check counts.
 */
import { createHash } from "node:crypto";
import type { Acts } from "#audit/acts.ts";
import { type Exemption, exemptionEndMs } from "#injection/exemptions.ts";

/**
 * `recorded`: keys that this leader has told; acts bear keys, so that a next leader's telling is harmless. Rejects where the collector
 * does not take one: the rest is told in the next round.
 */
export async function recordExemptions(
  exemptions: readonly Exemption[],
  acts: Acts,
  recorded: Set<string>,
  nowMs: number,
): Promise<void> {
  for (const one of exemptions) {
    const { namespace, serviceAccount, reason, until } = one;
    const over = exemptionEndMs(one) <= nowMs;
    const id = createHash("sha256")
      .update(JSON.stringify([namespace, serviceAccount, reason, until]))
      .digest("hex");
    const act = over ? "exemption-ended" : "exemption";
    const key = `${act}/${id.slice(0, 32)}`;
    if (recorded.has(key)) continue;
    await acts.record({ key, act, members: { namespace, serviceAccount, reason, until } });
    recorded.add(key);
  }
}
