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
import { quote, quoteOrNull } from "#core/json-text.ts";
import { decodeQueryPart, type RequestTarget } from "#core/request-target.ts";
import type { Answer, Dialect, Head } from "#sidecar/seam/exchange.ts";
import type { Operation } from "#sidecar/seam/verdict.ts";
import { problem } from "./problem.ts";
import { isSecretField, isSecretParameter, REDACTED, redactText } from "./redact.ts";

const ACTIONS: ReadonlyMap<string, Action> = new Map([
  ["GET", "read"],
  ["HEAD", "read"],
  ["OPTIONS", "read"],
  ["POST", "write"],
  ["PUT", "write"],
  ["PATCH", "write"],
  ["DELETE", "write"],
]);

/** More parameters than this are not told apart: `truncated`, and so denied. */
const PARAMETERS_MAX = 256;

export function createHttpDialect(): Dialect {
  let writer: Writer | null = null;
  return {
    protocol: "http",
    claims: () => true,
    wants: () => "head",
    operation(head, body, profile): Operation {
      if (writer === null || writer.profile !== profile) writer = new Writer(profile);
      return writer.operation(head, body);
    },
    refuse: (refusal, head): Answer => problem(refusal, head.method === "HEAD"),
  };
}

interface FieldTexts {
  readonly facts: string;
  readonly detail: string;
  readonly contentType: string | null;
  readonly contentLength: string;
  readonly traceparent: string | null;
  readonly overrides: boolean;
}

/** Writes operations for one policy revision: which members are facts was decided when it was made. */
class Writer {
  readonly profile: Profile;
  readonly #reads: Readonly<Record<"method" | "scheme" | "host" | "path" | "segments" | "query" | "headers", boolean>>;
  readonly #readsType: boolean;
  readonly #readsLength: boolean;
  readonly #readsTruncated: boolean;
  readonly #fields = new WeakMap<Head["fields"], FieldTexts>();
  /** The last target's texts: agents tend to poll. */
  #target: RequestTarget | null = null;
  #targetTexts: TargetTexts = { facts: "", detail: "", truncated: false, ambiguous: false };

  constructor(profile: Profile) {
    this.profile = profile;
    const reads = (member: string): boolean => profile.reads(`http.${member}`);
    this.#reads = {
      method: reads("method"),
      scheme: reads("scheme"),
      host: reads("host"),
      path: reads("path"),
      segments: reads("segments"),
      query: reads("query"),
      headers: reads("headers"),
    };
    this.#readsType = reads("contentType");
    this.#readsLength = reads("contentLength");
    this.#readsTruncated = reads("truncated");
  }

  operation(head: Head, body: Uint8Array | null): Operation {
    const reads = this.#reads;
    let fields = this.#fields.get(head.fields);
    if (fields === undefined) {
      fields = this.#fieldTexts(head.fields);
      this.#fields.set(head.fields, fields);
    }
    if (this.#target !== head.target) {
      this.#targetTexts = this.#readTarget(head.target);
      this.#target = head.target;
    }
    const target = this.#targetTexts;
    const method = `"method":${quote(head.method)}`;
    const host = `"host":${quote(head.authority)}`;
    const scheme = `"scheme":"${head.scheme}"`;
    let facts = "";
    let detail = "";
    if (reads.method) facts = `${facts},${method}`;
    else detail = `${detail},${method}`;
    if (reads.scheme) facts = `${facts},${scheme}`;
    else detail = `${detail},${scheme}`;
    if (reads.host) facts = `${facts},${host}`;
    else detail = `${detail},${host}`;
    facts += target.facts + fields.facts;
    detail += target.detail + fields.detail;
    const truncated = `,"truncated":${target.truncated}`;
    if (this.#readsTruncated) facts += truncated;
    else if (target.truncated) detail += truncated;
    const action = ACTIONS.get(head.method) ?? "unknown";
    const clear = action !== "unknown" && !fields.overrides && !target.ambiguous && !target.truncated;
    return {
      protocol: "http",
      action: fields.overrides ? "unknown" : action,
      phase: "ask",
      parent: null,
      complete: clear,
      run: null,
      traceparent: fields.traceparent,
      facts: `"http":{${facts.slice(1)}}`,
      detail: detail === "" ? "" : `"rest":{"http":{${detail.slice(1)}}}`,
      body: body === null ? null : "",
    };
  }

  #readTarget(target: RequestTarget): TargetTexts {
    const reads = this.#reads;
    const path = redactText(target.path);
    const clean = path === target.path;
    const pathText = `,"path":${quote(path)}`;
    let facts = reads.path ? pathText : "";
    let detail = reads.path ? "" : pathText;
    if (reads.segments) {
      const segments = clean ? target.segments : target.segments.map(redactText);
      facts += `,"segments":[${segments.map(quote).join(",")}]`;
    }
    const query = readQuery(target.query);
    let told = "";
    let kept = "";
    for (const [name, values] of query.parameters) {
      const secret = isSecretParameter(name);
      const texts = values.map((value) => quote(secret ? REDACTED : redactText(value))).join(",");
      const member = `,${quote(redactText(name))}:[${texts}]`;
      if (reads.query && this.#readsNamed("http.query", name)) told += member;
      else kept += member;
    }
    if (reads.query) facts += `,"query":{${told.slice(1)}}`;
    if (kept !== "") detail += `,"query":{${kept.slice(1)}}`;
    return {
      facts,
      detail,
      truncated: query.truncated,
      ambiguous: target.ambiguous || (reads.query && query.ambiguous),
    };
  }

  #fieldTexts(list: Head["fields"]): FieldTexts {
    const joined = new Map<string, string>();
    for (const [name, value] of list) {
      const lower = name.toLowerCase();
      const before = joined.get(lower);
      joined.set(lower, before === undefined ? value : `${before}${lower === "cookie" ? "; " : ", "}${value}`);
    }
    let told = "";
    let kept = "";
    let overrides = false;
    for (const [name, value] of joined) {
      if (OVERRIDES.has(name.replaceAll("_", "-"))) overrides = true;
      const member = `,${quote(name)}:${quote(isSecretField(name) ? REDACTED : redactText(value))}`;
      if (this.#reads.headers && this.#readsNamed("http.headers", name)) told += member;
      else kept += member;
    }
    let facts = this.#reads.headers ? `,"headers":{${told.slice(1)}}` : "";
    let detail = kept === "" ? "" : `,"headers":{${kept.slice(1)}}`;
    const contentType = joined.get("content-type") ?? null;
    const typeText = `,"contentType":${quoteOrNull(contentType === null ? null : redactText(contentType))}`;
    if (this.#readsType) facts += typeText;
    const contentLength = joined.get("content-length") ?? "null";
    if (this.#readsLength) facts += `,"contentLength":${contentLength}`;
    else if (contentLength !== "null") detail += `,"contentLength":${contentLength}`;
    return { facts, detail, contentType, contentLength, traceparent: traceparentOf(joined), overrides };
  }

  /** Whether a rule reads this member of a map. What is not a plain name counts as read wherever the map is. */
  #readsNamed(map: string, name: string): boolean {
    return !/^[\w-]+$/.test(name) || this.profile.reads(`${map}.${name}`);
  }
}

interface TargetTexts {
  readonly facts: string;
  readonly detail: string;
  readonly truncated: boolean;
  readonly ambiguous: boolean;
}

/** Obeyed by some servers instead of the request line. */
const OVERRIDES = new Set([
  "x-http-method-override",
  "x-http-method",
  "x-method-override",
  "x-original-url",
  "x-original-uri",
  "x-rewrite-url",
  "x-forwarded-host",
  "x-forwarded-prefix",
  "x-host",
]);

// RFC: W3C Trace Context, version 00 and its successors.
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[\w-]{0,200})?$/;

function traceparentOf(fields: ReadonlyMap<string, string>): string | null {
  const value = fields.get("traceparent");
  return value !== undefined && TRACEPARENT.test(value) ? value : null;
}

interface Query {
  readonly parameters: ReadonlyMap<string, readonly string[]>;
  readonly truncated: boolean;
  /** Bytes that are no UTF-8, or a semicolon that some servers take for an ampersand. */
  readonly ambiguous: boolean;
}

const NO_QUERY: Query = { parameters: new Map(), truncated: false, ambiguous: false };

/** application/x-www-form-urlencoded, as nearly all servers read a query. */
function readQuery(query: string | null): Query {
  if (query === null || query === "") return NO_QUERY;
  const parameters = new Map<string, string[]>();
  let ambiguous = query.includes(";");
  let count = 0;
  for (let at = 0; at <= query.length; ) {
    const amp = query.indexOf("&", at);
    const end = amp < 0 ? query.length : amp;
    if (end > at) {
      if (++count > PARAMETERS_MAX) return { parameters, truncated: true, ambiguous };
      const equals = query.indexOf("=", at);
      const nameEnd = equals < 0 || equals > end ? end : equals;
      const rawName = query.slice(at, nameEnd);
      const rawValue = nameEnd < end ? query.slice(nameEnd + 1, end) : "";
      const name = decodeQueryPart(rawName);
      const value = decodeQueryPart(rawValue);
      if (name === null || value === null) ambiguous = true;
      const key = name ?? rawName;
      const values = parameters.get(key);
      if (values === undefined) parameters.set(key, [value ?? rawValue]);
      else values.push(value ?? rawValue);
    }
    at = end + 1;
  }
  return { parameters, truncated: false, ambiguous };
}
