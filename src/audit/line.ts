/**
 * A record's lines as text. Written by template, for `JSON.stringify` of an object costs more than all the rest of a record.
 *
 *   {"seq":12,"t":1767225600000,"k":"op",…,"dh":"<43 characters>"}   core: chained
 *   {"d":12,"salt":"<16 characters>","x":{…}}                          detail: covered by "dh" only, may be erased
 *   {"c":12,"h":"<43 characters>"}                                      commit: everything up to seq 12 (chain.ts)
 *
 * A commit is written at once: its core lines in order, then details, then the commit line. Only whole commits count: what has
 * no commit line behind it was never permitted to go on. `t` is wall time in milliseconds.
 */
import type { EndEntry, FoldEntry, OpEntry, SessionEntry, Workload } from "#contract/record.ts";
import { quote, quoteOrNull } from "#core/json-text.ts";

export const RECORD_VERSION = 1;
export const CORE_START = '{"seq":';
export const DETAIL_START = '{"d":';
export const COMMIT_START = '{"c":';

/** W3C Trace Context, section 3.2; later versions may be longer. */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[0-9a-f-]{1,64})?$/;

const head = (seq: number, wallMs: number, kind: string): string => `${CORE_START}${seq},"t":${wallMs},"k":"${kind}"`;

export function bootLine(seq: number, wallMs: number, boot: string, version: string, workload: Workload): string {
  return `${head(seq, wallMs, "boot")},"v":${RECORD_VERSION},"boot":${quote(boot)},"version":${quote(version)},"workload":${JSON.stringify(workload)}}\n`;
}

export function sessionLine(seq: number, wallMs: number, e: SessionEntry): string {
  return `${head(seq, wallMs, "session")},"client":${quote(e.client)},"destination":${quote(e.destination)},"target":${quoteOrNull(e.target)},"host":${quoteOrNull(e.host)},"port":${e.port}}\n`;
}

/** What stands between the time and the detail's hash. `pre` and `decision` are members without braces. */
export function opMiddle(e: OpEntry, pre: string, decision: string): string {
  const parent = e.parent === null ? "" : `,"parent":${e.parent}`;
  // The agent writes this header: only what has its form is taken.
  const trace = e.traceparent === null || !TRACEPARENT.test(e.traceparent) ? "" : `,"trace":"${e.traceparent}"`;
  const body = e.body === null ? "" : `,"body":${quote(e.body)}`;
  return `,"k":"op","s":${e.session},"phase":"${e.phase}"${parent},"protocol":"${e.protocol}","action":"${e.action}","complete":${e.complete},"verdict":"${e.verdict}","pre":{${pre}},"decision":{${decision}},"rev":${quote(e.revision)}${trace}${body},"dh":"`;
}

/** `middle` of `opMiddle`; `dh` is the detail's hash. */
export function opLine(seq: number, wallMs: number, middle: string, dh: string): string {
  return `${CORE_START}${seq},"t":${wallMs}${middle}${dh}"}\n`;
}

export function detailLine(seq: number, salt: string, text: string): string {
  return `${DETAIL_START}${seq},"salt":"${salt}","x":${text}}\n`;
}

export function endLine(seq: number, wallMs: number, e: EndEntry): string {
  return `${head(seq, wallMs, "end")},"op":${e.op},"status":${quote(e.status)},"ms":${millis(e.ms)},"up":${e.bytesUp},"down":${e.bytesDown},"masked":${e.masked},"attempts":${e.attempts}}\n`;
}

/** To the microsecond. By whole numbers, for a fraction's shortest form is several times as slow. */
function millis(ms: number): string {
  const us = Math.max(0, Math.round(ms * 1000));
  const rest = us % 1000;
  const whole = (us - rest) / 1000;
  if (rest === 0) return `${whole}`;
  return rest < 10 ? `${whole}.00${rest}` : rest < 100 ? `${whole}.0${rest}` : `${whole}.${rest}`;
}

export function closedLine(
  seq: number,
  wallMs: number,
  session: number,
  up: number,
  down: number,
  why: string,
): string {
  return `${head(seq, wallMs, "closed")},"s":${session},"up":${up},"down":${down},"why":${quote(why)}}\n`;
}

export function foldLine(seq: number, wallMs: number, e: FoldEntry): string {
  return `${head(seq, wallMs, "fold")},"op":${e.op},"count":${e.count},"what":${quote(e.what)}}\n`;
}

export function noteLine(seq: number, wallMs: number, kind: string, members: string): string {
  return `${head(seq, wallMs, "note")},"note":${quote(kind)}${members === "" ? "" : `,${members}`}}\n`;
}

export function stopLine(seq: number, wallMs: number, why: string): string {
  return `${head(seq, wallMs, "stop")},"why":${quote(why)}}\n`;
}

export function commitLine(seq: number, chain: string): string {
  return `${COMMIT_START}${seq},"h":"${chain}"}\n`;
}
