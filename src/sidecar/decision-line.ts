/** One verdict as one NDJSON line, for whoever watches a run: a terminal (`sidegate run`) or `--json`. Already redacted. */
import { quote, quoteOrNull } from "#core/json-text.ts";
import type { Verdict } from "./judge/judge.ts";

export function decisionLine(v: Verdict): string {
  const facts = v.facts === "" ? "" : `,"facts":{${v.facts}}`;
  const detail = v.detail === "" ? "" : `,"detail":{${v.detail}}`;
  return `{"verdict":"${v.verdict}","protocol":"${v.protocol}","action":"${v.action}","phase":"${v.phase}","target":${quoteOrNull(v.target)},"host":${quote(v.host)},"port":${v.port},"code":${quote(v.code)},"message":${quote(v.message)},"policies":${JSON.stringify(v.policies)},"would":${v.would},"folded":${v.folded},"event":"${v.event}","ms":${v.ms.toFixed(3)}${facts}${detail}}\n`;
}
