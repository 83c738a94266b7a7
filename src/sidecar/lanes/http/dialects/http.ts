/**
 * Plain HTTP: an exchange as policies read it (`HttpFacts`), and a refusal as RFC 9457 problem.
 *
 * What the loaded policy reads goes into the facts; the rest of the request into the detail, as `"rest":{"http":{…}}` with the
 * same member names, so that both laid over each other are the whole operation. Neither holds a secret (redact.ts).
 *
 * Errs towards `complete: false` (denied, unless a policy allows exactly that) wherever a server could do something else than
 * what is judged: an unknown method, a field that overrides the method or the path, a path that servers resolve differently.
 */
import type { Action } from "#contract/operation.ts";
import type { Profile } from "#contract/policy-port.ts";
import { quote } from "#core/json-text.ts";
import type { Answer, Dialect, Head } from "#sidecar/seam/exchange.ts";
import type { Operation } from "#sidecar/seam/verdict.ts";
import { FieldTextWriter } from "./field-texts.ts";
import { problem } from "./problem.ts";
import { TargetTextWriter } from "./target-texts.ts";

const ACTIONS: ReadonlyMap<string, Action> = new Map([
  ["GET", "read"],
  ["HEAD", "read"],
  ["OPTIONS", "read"],
  ["POST", "write"],
  ["PUT", "write"],
  ["PATCH", "write"],
  ["DELETE", "write"],
]);

export function createHttpDialect(): Dialect {
  let writer: Writer | null = null;
  return {
    protocol: "http",
    claims: () => true,
    wants: () => "head",
    operation(head, _body, profile): Operation {
      if (writer === null || writer.profile !== profile) writer = new Writer(profile);
      return writer.operation(head);
    },
    refuse: (refusal, head): Answer => problem(refusal, head.method === "HEAD"),
  };
}

/** Writes operations for one policy revision: which members are facts was decided when it was made. */
class Writer {
  readonly profile: Profile;
  readonly #fields: FieldTextWriter;
  readonly #targets: TargetTextWriter;
  readonly #readsTruncated: boolean;
  /** The members that a connection repeats: method, scheme, host. */
  #line: Line;

  constructor(profile: Profile) {
    this.profile = profile;
    this.#fields = new FieldTextWriter(profile);
    this.#targets = new TargetTextWriter(profile);
    this.#readsTruncated = profile.reads("http.truncated");
    this.#line = writeLine("GET", "http", "", profile);
  }

  operation(head: Head): Operation {
    const fields = this.#fields.texts(head.fields);
    const target = this.#targets.texts(head.target);
    let line = this.#line;
    if (line.method !== head.method || line.authority !== head.authority || line.scheme !== head.scheme) {
      line = writeLine(head.method, head.scheme, head.authority, this.profile);
      this.#line = line;
    }
    const truncated = `,"truncated":${target.truncated}`;
    const facts = members(line.facts, target.facts + fields.facts + (this.#readsTruncated ? truncated : ""));
    const detail = members(
      line.detail,
      target.detail + fields.detail + (target.truncated && !this.#readsTruncated ? truncated : ""),
    );
    const action = fields.overrides ? "unknown" : line.action;
    return {
      protocol: "http",
      action,
      phase: "ask",
      parent: null,
      complete: action !== "unknown" && !target.ambiguous && !target.truncated,
      run: null,
      traceparent: fields.traceparent,
      facts: `"http":{${facts}}`,
      detail: detail === "" ? "" : `"rest":{"http":{${detail}}}`,
      body: null,
    };
  }
}

/** The first without a comma in front, or empty; the others each with one. */
function members(first: string, others: string): string {
  return first === "" ? others.slice(1) : first + others;
}

interface Line {
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  readonly action: Action;
  readonly facts: string;
  readonly detail: string;
}

function writeLine(method: string, scheme: string, authority: string, profile: Profile): Line {
  let facts = "";
  let detail = "";
  const add = (name: string, text: string): void => {
    if (profile.reads(`http.${name}`)) facts += `,"${name}":${text}`;
    else detail += `,"${name}":${text}`;
  };
  add("method", quote(method));
  add("scheme", quote(scheme));
  add("host", quote(authority));
  return {
    method,
    scheme,
    authority,
    action: ACTIONS.get(method) ?? "unknown",
    facts: facts.slice(1),
    detail: detail.slice(1),
  };
}
