/** Answers of our own as HTTP/1.1 text. */
import type { Answer } from "#sidecar/seam/exchange.ts";
import type { Refusal } from "#sidecar/seam/verdict.ts";
import { problem } from "./dialects/problem.ts";
import { reasonOf } from "./dialects/status.ts";

/** `close`: whether the connection ends after it. Complete: head and body; latin1. */
export function answerText(answer: Answer, close: boolean): string {
  let head = `HTTP/1.1 ${answer.status} ${reasonOf(answer.status)}\r\n`;
  for (const [name, value] of answer.fields) head += `${name}: ${value}\r\n`;
  if (close) head += "Connection: close\r\n";
  return `${head}\r\n${answer.body}`;
}

/** For whoever refuses a plain HTTP request before any lane is open: a complete answer, after which the connection ends. */
export function refusePlainHttp(refusal: Refusal): string {
  return answerText(problem(refusal, false), true);
}
