/**
 * Explains a decision with a built bundle alone: without `opa` there is no trace, so the rules are those that the decision names,
 * found in the bundle's own table.
 */
import { createEvaluator } from "../evaluator.ts";
import { libraryParts } from "../library-bundle.ts";
import { faultDecision } from "../outcome.ts";
import { readDecision } from "../reading.ts";
import type { Explained } from "./explain.ts";

/** The archive is the user's own file: it is read, not verified. Throws where it is damaged. */
export function explainWithBundle(
  archive: Uint8Array,
  input: Readonly<Record<string, unknown>>,
  pod: Readonly<Record<string, unknown>>,
): Explained {
  const { wasm, data, metadata } = libraryParts(archive);
  const sidegate = data["sidegate"] ?? {};
  const evaluator = createEvaluator(wasm, JSON.stringify({ ...data, sidegate: { ...sidegate, pod } }));
  const answer = evaluator.evaluate(JSON.stringify(input).slice(1, -1));
  const decision =
    answer.kind === "fault"
      ? faultDecision(answer.code, answer.why)
      : readDecision(answer.text, metadata.settings, metadata.rules);
  const spoke = [...decision.deny, ...(decision.would?.reasons ?? [])];
  return {
    kind: "explained",
    decision,
    rules: metadata.rules
      .filter(
        ({ policy, rule, code }) =>
          (rule === "allow" && decision.effect === "allow" && decision.policies.includes(policy)) ||
          (rule === "deny" &&
            spoke.some((reason) => reason.policy === policy && (code === null || code === reason.code))),
      )
      .map((rule) => ({ ...rule, held: true, stopped: null })),
  };
}
