/** What came of a review: the answer, and how it is counted. */
import type { AdmissionAnswer } from "./review.ts";

export interface Outcome {
  readonly kind: "allowed" | "injected" | "stamped" | "exempt" | "denied" | "misdirected" | "failed";
  /** The first field that spoke against it, or "". May hold an author's words: `reasonLabel` makes a label of it. */
  readonly reason: string;
  readonly answer: AdmissionAnswer;
}

/** `spec.containers[3].resources.limits[evil.example/x]` → `spec.containers.resources.limits`: our words, and few. */
export function reasonLabel(reason: string): string {
  return reason.replaceAll(/\[[^\]]*\]/g, "").slice(0, 100);
}
