import { describe, expect, test } from "vitest";
import { DENIALS, type DenialClass, type DenialCode } from "#contract/denial.ts";
import type { Refusal } from "#sidecar/seam/verdict.ts";
import { answerText, refusePlainHttp } from "../refuse.ts";
import { problem } from "./problem.ts";
import { reasonOf, statusOf } from "./status.ts";

const refusal = (change: Partial<Refusal> = {}): Refusal => ({
  kind: "refusal",
  seq: 7,
  event: "boot-7",
  code: "not_allowed",
  class: "policy",
  message: "No policy allows this operation.",
  advice: "Ask for an allow rule.",
  policy: "default",
  revision: "r1",
  retryable: false,
  retryAfterS: null,
  ...change,
});

const fieldsOf = (r: Refusal): Record<string, string> => Object.fromEntries(problem(r, false).fields);

describe("a refusal", () => {
  test("is a problem that an agent can act on", () => {
    const answer = problem(refusal(), false);
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body)).toEqual({
      type: "urn:sidegate:denial:not_allowed",
      title: "Denied by policy",
      status: 403,
      detail: "No policy allows this operation.",
      instance: "boot-7",
      code: "not_allowed",
      class: "policy",
      retryable: false,
      advice: "Ask for an allow rule.",
      policy: "default",
    });
    expect(Object.fromEntries(answer.fields)).toEqual({
      "Content-Type": "application/problem+json",
      "Content-Length": String(answer.body.length),
      "Cache-Control": "no-store",
      "Sidegate-Event": "boot-7",
    });
  });

  test("says no more than its code where policy wants that", () => {
    const body = JSON.parse(problem(refusal({ message: "", advice: "", policy: "" }), false).body) as object;
    expect(Object.keys(body)).toEqual(["type", "title", "status", "instance", "code", "class", "retryable"]);
  });

  test("names the seconds to wait where it has them, and with every 503", () => {
    expect(fieldsOf(refusal({ retryAfterS: 12.3 }))["Retry-After"]).toBe("13");
    expect(fieldsOf(refusal({ code: "no_bundle", class: "outage" }))["Retry-After"]).toBe("5");
    expect(fieldsOf(refusal())["Retry-After"]).toBeUndefined();
  });

  test("to HEAD has the length, and no body", () => {
    const whole = problem(refusal(), false);
    const head = problem(refusal(), true);
    expect(head.body).toBe("");
    expect(head.fields).toEqual(whole.fields);
  });

  test("is ASCII and keeps its lines, whatever a policy's author wrote", () => {
    const text = refusePlainHttp(
      refusal({
        code: 'ä"\r\nX: y',
        message: "nö\u2028 \u{1f600} \ud800",
        advice: "\u0000\r\n",
        event: "boot\r\nX: 7",
      }),
    );
    expect(text).toMatch(/^[\x20-\x7e\r\n]*$/);
    const [head = "", body = ""] = text.split("\r\n\r\n");
    expect(head.split("\r\n").map((line) => line.split(":")[0])).toEqual([
      "HTTP/1.1 403 Forbidden",
      "Content-Type",
      "Content-Length",
      "Cache-Control",
      "Sidegate-Event",
      "Connection",
    ]);
    expect(JSON.parse(body)).toMatchObject({ detail: "nö\u2028 \u{1f600} \ud800", code: 'ä"\r\nX: y' });
    expect(/Content-Length: (\d+)/.exec(head)?.[1]).toBe(String(body.length));
  });

  test("ends its connection only where it says so", () => {
    expect(answerText(problem(refusal(), false), false)).not.toContain("Connection:");
    expect(answerText(problem(refusal(), false), true)).toContain("\r\nConnection: close\r\n\r\n{");
  });
});

describe("statuses", () => {
  test.each(Object.keys(DENIALS) as DenialCode[])("%s has one, with its phrase, of its class", (code) => {
    const { class: denial } = DENIALS[code];
    const status = statusOf(code, denial);
    expect(reasonOf(status)).not.toBe("");
    expect(denial === "outage" ? status >= 500 : denial === "policy" ? status === 403 || status === 413 : true).toBe(
      true,
    );
  });

  test("a policy's own code takes its class's, also where it is named like a property", () => {
    const classes: DenialClass[] = ["policy", "identity", "protocol", "pending", "outage"];
    expect(classes.map((denial) => statusOf("constructor", denial))).toEqual([403, 403, 400, 503, 503]);
  });
});
