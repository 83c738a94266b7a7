/**
 * The fields of a request as JSON members: those that the policy reads for its input, the others for the record.
 *
 * Agents send the same few names, and mostly the same values, with every request: what was found out about a name, and the text
 * of its last value, are kept (bounded), so that a request usually costs a look-up and a comparison a field.
 */
import type { Profile } from "#contract/policy-port.ts";
import { quote, quoteOrNull } from "#core/json-text.ts";
import type { Head } from "#sidecar/seam/exchange.ts";
import { isSecretField, REDACTED, redactText } from "./redact.ts";

export interface FieldTexts {
  /** JSON members, each with a comma in front. */
  readonly facts: string;
  readonly detail: string;
  readonly traceparent: string | null;
  /** There is a field that some servers obey instead of the request line. */
  readonly overrides: boolean;
}

/** Obeyed by some servers instead of the method, the path or the host that were judged. */
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

// W3C Trace Context: version, trace, parent, flags, and what later versions add.
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[\w-]{0,200})?$/;

/** Names that are remembered from one request to the next, and how long they may be. */
const NAMES_MAX = 512;
const NAME_MAX = 64;
const VALUE_MAX = 256;
const RECENT_MAX = 16;
const RECENT_CHARACTERS = 8_192;

interface Known {
  readonly lower: string;
  /** `,"name":` */
  readonly key: string;
  readonly secret: boolean;
  readonly read: boolean;
  readonly overrides: boolean;
  /** The last value and its member. */
  value: string | null;
  member: string;
  /** In which request it was seen last: twice in one is a list. */
  round: number;
}

export class FieldTextWriter {
  readonly #profile: Profile;
  readonly #readsHeaders: boolean;
  readonly #readsType: boolean;
  readonly #readsLength: boolean;
  readonly #names = new Map<string, Known>();
  /** A connection that sends the same fields again hands over the same array: the last few are remembered. */
  readonly #recent: { fields: Head["fields"]; texts: FieldTexts }[] = [];
  #next = 0;
  #round = 0;

  constructor(profile: Profile) {
    this.#profile = profile;
    this.#readsHeaders = profile.reads("http.headers");
    this.#readsType = profile.reads("http.contentType");
    this.#readsLength = profile.reads("http.contentLength");
  }

  texts(fields: Head["fields"]): FieldTexts {
    const recent = this.#recent;
    for (const made of recent) if (made.fields === fields) return made.texts;
    const texts = this.#write(fields, false);
    if (texts.facts.length + texts.detail.length <= RECENT_CHARACTERS) {
      recent[this.#next] = { fields, texts };
      this.#next = (this.#next + 1) % RECENT_MAX;
    }
    return texts;
  }

  /** `unique`: names are in lower case, each once. */
  #write(fields: Head["fields"], unique: boolean): FieldTexts {
    const round = ++this.#round;
    if (this.#names.size > NAMES_MAX) this.#names.clear();
    let told = "";
    let kept = "";
    let overrides = false;
    let contentType: string | null = null;
    let contentLength = "null";
    let traceparent: string | null = null;
    for (const [name, value] of fields) {
      const known = this.#known(name);
      if (!unique && (known.round === round || name.length > NAME_MAX)) return this.#write(joined(fields), true);
      known.round = round;
      const member = this.#member(known, value);
      if (known.read) told += member;
      else kept += member;
      if (known.overrides) overrides = true;
      switch (known.lower) {
        case "content-type":
          contentType = redactText(value);
          break;
        case "content-length":
          contentLength = value;
          break;
        case "traceparent":
          traceparent = TRACEPARENT.test(value) ? value : null;
          break;
        default:
      }
    }
    let facts = this.#readsHeaders ? `,"headers":{${told.slice(1)}}` : "";
    let detail = kept === "" ? "" : `,"headers":{${kept.slice(1)}}`;
    if (this.#readsType) facts += `,"contentType":${quoteOrNull(contentType)}`;
    else if (contentType !== null) detail += `,"contentType":${quote(contentType)}`;
    if (this.#readsLength) facts += `,"contentLength":${contentLength}`;
    else if (contentLength !== "null") detail += `,"contentLength":${contentLength}`;
    return { facts, detail, traceparent, overrides };
  }

  #member(known: Known, value: string): string {
    if (known.secret || known.value === value) return known.member;
    const member = known.key + quote(redactText(value));
    if (value.length <= VALUE_MAX) {
      known.value = ownCopy(value);
      known.member = member;
    }
    return member;
  }

  #known(name: string): Known {
    const found = this.#names.get(name);
    if (found !== undefined) return found;
    const lower = name.toLowerCase();
    // One field in two spellings is one field.
    const known = this.#names.get(lower) ?? this.#find(lower);
    if (name.length <= NAME_MAX) {
      this.#names.set(ownCopy(name), known);
      this.#names.set(ownCopy(lower), known);
    }
    return known;
  }

  #find(lower: string): Known {
    const key = `,${quote(lower)}:`;
    const secret = isSecretField(lower);
    // What is not a plain name counts as read wherever fields are.
    const read = this.#readsHeaders && (!/^[\w-]+$/.test(lower) || this.#profile.reads(`http.headers.${lower}`));
    const overrides = OVERRIDES.has(lower.replaceAll("_", "-"));
    const member = secret ? `${key}"${REDACTED}"` : "";
    return { lower: ownCopy(lower), key, secret, read, overrides, value: null, member, round: 0 };
  }
}

/** Fields of one name as one (RFC 9110 section 5.3), names in lower case. */
function joined(fields: Head["fields"]): Head["fields"] {
  const byName = new Map<string, string>();
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    const before = byName.get(lower);
    byName.set(lower, before === undefined ? value : `${before}${lower === "cookie" ? "; " : ", "}${value}`);
  }
  return [...byName];
}

/** A part of a string keeps all of it alive: what is kept for long is copied out of its request. */
function ownCopy(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}
