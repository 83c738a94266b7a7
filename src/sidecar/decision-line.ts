/**
 * One verdict as one NDJSON line, for whoever watches a run: a terminal (`sidegate run`) or `--json`. What the record would not
 * show, it does not show either: what a lane let through is redacted here as it is before the spool.
 */
import { redact } from "#audit/redact.ts";
import { quote, quoteOrNull } from "#core/json-text.ts";
import type { Verdict } from "./judge/judges.ts";

export function decisionLine(v: Verdict): string {
  const facts = v.facts === "" ? "" : `,"facts":{${redact(v.facts, "name")}}`;
  const detail = v.detail === "" ? "" : `,"detail":{${redact(v.detail, "name")}}`;
  return `{"verdict":"${v.verdict}","protocol":"${v.protocol}","action":"${v.action}","phase":"${v.phase}","target":${quoteOrNull(v.target)},"host":${redact(quote(v.host), "shape")},"port":${v.port},"code":${quote(v.code)},"message":${redact(quote(v.message), "shape")},"policies":${JSON.stringify(v.policies)},"would":${v.would},"folded":${v.folded},"event":"${v.event}","ms":${v.ms.toFixed(3)}${facts}${detail}}\n`;
}
