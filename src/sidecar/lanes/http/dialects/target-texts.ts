/** A request's path and query as JSON members: what the policy reads for its input, the rest for the record. */
import type { Profile } from "#contract/policy-port.ts";
import { quote } from "#core/json-text.ts";
import { decodeQueryPart, type RequestTarget } from "#core/request-target.ts";
import { isSecretParameter, REDACTED, redactText } from "./redact.ts";

export interface TargetTexts {
  /** JSON members, each with a comma in front. */
  readonly facts: string;
  readonly detail: string;
  /** Not all of it could be told apart. */
  readonly truncated: boolean;
  /** Servers differ on what it means, in a part that the policy reads. */
  readonly ambiguous: boolean;
}

/** More parameters than this are not told apart: `truncated`, and so denied. */
const PARAMETERS_MAX = 256;

export class TargetTextWriter {
  readonly #profile: Profile;
  readonly #readsPath: boolean;
  readonly #readsSegments: boolean;
  readonly #readsQuery: boolean;
  #target: RequestTarget | null = null;
  #texts: TargetTexts | null = null;

  constructor(profile: Profile) {
    this.#profile = profile;
    this.#readsPath = profile.reads("http.path");
    this.#readsSegments = profile.reads("http.segments");
    this.#readsQuery = profile.reads("http.query");
  }

  texts(target: RequestTarget): TargetTexts {
    if (this.#texts === null || this.#target !== target) {
      this.#texts = this.#write(target);
      this.#target = target;
    }
    return this.#texts;
  }

  #write(target: RequestTarget): TargetTexts {
    const path = redactText(target.path);
    const pathText = quote(path);
    const plain = path === target.path && pathText.length === path.length + 2;
    let facts = this.#readsPath ? `,"path":${pathText}` : "";
    let detail = this.#readsPath ? "" : `,"path":${pathText}`;
    if (this.#readsSegments) facts += `,"segments":${segmentsText(target.segments, plain)}`;
    if (target.query === null || target.query === "") {
      if (this.#readsQuery) facts += ',"query":{}';
      return { facts, detail, truncated: false, ambiguous: target.ambiguous };
    }
    const query = readQuery(target.query);
    let told = "";
    let kept = "";
    for (const [name, values] of query.parameters) {
      const secret = isSecretParameter(name);
      let texts = "";
      for (const value of values) texts += `,${secret ? `"${REDACTED}"` : quote(redactText(value))}`;
      const member = `,${quote(redactText(name))}:[${texts.slice(1)}]`;
      if (this.#readsQuery && this.#readsNamed(name)) told += member;
      else kept += member;
    }
    if (this.#readsQuery) facts += `,"query":{${told.slice(1)}}`;
    if (kept !== "") detail += `,"query":{${kept.slice(1)}}`;
    const ambiguous = target.ambiguous || (this.#readsQuery && query.ambiguous);
    return { facts, detail, truncated: query.truncated, ambiguous };
  }

  /** What is not a plain name counts as read wherever the query is. */
  #readsNamed(name: string): boolean {
    return !/^[\w-]+$/.test(name) || this.#profile.reads(`http.query.${name}`);
  }
}

/** `plain`: nothing in it needs escaping or redacting. */
function segmentsText(segments: readonly string[], plain: boolean): string {
  if (segments.length === 0) return "[]";
  if (plain) return `["${segments.join('","')}"]`;
  return `[${segments.map((segment) => quote(redactText(segment))).join(",")}]`;
}

interface Query {
  readonly parameters: ReadonlyMap<string, readonly string[]>;
  readonly truncated: boolean;
  /** Bytes that are no UTF-8, or a semicolon that some servers take for an ampersand. */
  readonly ambiguous: boolean;
}

/** application/x-www-form-urlencoded, as nearly all servers read a query. */
function readQuery(query: string): Query {
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
