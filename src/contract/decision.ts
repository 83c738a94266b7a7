/** What the evaluator makes of one operation. Frozen; shared by the cache, so nobody changes one. */
export interface MaskRule {
  readonly selector: string;
  readonly with: string;
}

/** One rule that spoke: enough to find it (`file:line` is in the bundle's manifest). */
export interface Reason {
  readonly policy: string;
  readonly code: string;
  readonly message: string;
}

export interface HoldRule {
  readonly policy: string;
  readonly reason: string;
  readonly approvers: readonly string[];
  readonly ttlMs: number;
  readonly shape: "exact" | "template";
}

export interface Decision {
  readonly effect: "allow" | "deny" | "hold";
  /** The denial's code (a policy's own, or a DenialCode); "" when allowed. */
  readonly code: string;
  readonly message: string;
  readonly advice: string;
  /** Policies that allowed, or the one whose denial counts. */
  readonly policies: readonly string[];
  /** `file:line` of the rule whose denial counts; null where that is not known. */
  readonly rule: string | null;
  readonly deny: readonly Reason[];
  readonly hold: readonly HoldRule[];
  readonly mask: readonly MaskRule[];
  readonly credential: string | null;
  /** Observe mode: what would have been said. The effect is then "allow". */
  readonly would: { readonly effect: "deny" | "hold"; readonly reasons: readonly Reason[] } | null;
  /** A refusal that is not worth a line each (framework telemetry): counted, folded. */
  readonly quiet: boolean;
  /** The JSON members of the record's decision, made once. */
  readonly text: string;
}
