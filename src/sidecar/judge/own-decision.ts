/** Decisions that are ours and no policy's: what could not be asked, or not be done. */
import type { Decision } from "#contract/decision.ts";
import { DENIALS, type Denial, type DenialCode } from "#contract/denial.ts";
import { quote } from "#core/json-text.ts";

const EMPTY_DECISION: Decision = Object.freeze({
  effect: "deny",
  code: "",
  message: "",
  advice: "",
  policies: [],
  rule: null,
  deny: [],
  hold: [],
  mask: [],
  credential: null,
  would: null,
  quiet: false,
  text: "",
});

/** `why`: of this case; told with the message. */
export function ownDecision(code: string, denial: Denial, why = ""): Decision {
  const message = why === "" ? denial.message : `${denial.message} (${why})`;
  return {
    ...EMPTY_DECISION,
    code,
    message,
    advice: denial.advice,
    text: `"code":${quote(code)},"message":${quote(message)}`,
  };
}

function isOwn(code: string): code is DenialCode {
  return Object.hasOwn(DENIALS, code);
}

/** Ours where the code is ours; a policy's own code is class "policy". */
export function denialOf(code: string): Denial {
  return isOwn(code) ? DENIALS[code] : DENIALS.denied;
}
