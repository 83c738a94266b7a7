/**
 * Reads a request's head (RFC 9112 section 3) and decides how its body ends (section 6.3).
 *
 *   request-line = method SP request-target SP HTTP-version CRLF
 *
 * Accepted targets: origin-form; absolute-form where it says the same as Host; `*` with OPTIONS. A CONNECT's authority-form is
 * read so that it can be refused by name. A connection tends to send the same fields again and again: what was read of them
 * last time is kept, and used when they are the same bytes.
 */
import { ASTERISK, type RequestTarget, readTarget } from "#core/request-target.ts";
import type { HttpLimits } from "../limits.ts";
import { TOKEN } from "./characters.ts";
import type { Fault } from "./fault.ts";
import type { FieldBlock } from "./field-block.ts";
import { readFields } from "./fields.ts";
import { USUAL_HEAD_BYTES } from "./head-reader.ts";

export interface RequestHead {
  readonly method: string;
  readonly target: RequestTarget;
  /** From an absolute-form or authority-form target, lower case; null: origin-form or asterisk-form. */
  readonly authority: string | null;
  /** The scheme of an absolute-form target, lower case. */
  readonly scheme: string | null;
  readonly minor: 0 | 1;
  readonly block: FieldBlock;
  /** The whole head with its empty line. */
  readonly text: string;
}

/** No registered method is longer than 17 (UPDATEREDIRECTREF). */
const METHOD_MAX = 24;
const SP = 32;
/** Longer targets are not kept: each of their parts is a string. */
const TARGET_KEPT = 512;

/** Keeps the last target and the last fields of one connection. */
export class RequestHeadReader {
  readonly #limits: HttpLimits;
  #target: RequestTarget | null = null;
  #block: FieldBlock | null = null;

  constructor(limits: HttpLimits) {
    this.#limits = limits;
  }

  /** `text`: a head that ends in its empty line. */
  read(text: string): RequestHead | Fault {
    let sp = 0;
    while (TOKEN[text.charCodeAt(sp)] === 1) sp++;
    if (sp === 0 || sp > METHOD_MAX || text.charCodeAt(sp) !== SP) return "method";
    const method = text.slice(0, sp);
    // Only ever the beginning of HTTP/2's preface.
    if (method === "PRI") return "method";
    const lineEnd = text.indexOf("\r\n", sp);
    // " HTTP/1.x" is nine characters.
    const versionAt = lineEnd - 9;
    if (versionAt <= sp) return "request_line";
    const minor = readVersion(text, versionAt);
    if (typeof minor === "string") return minor;
    const raw = text.slice(sp + 1, versionAt);
    if (raw.length > this.#limits.targetBytes) return "target_too_long";
    const fieldsAt = lineEnd + 2;
    const block = this.#fields(text, fieldsAt);
    if (typeof block === "string") return block;
    if (minor === 0 && block.chunked) return "chunked_before_1_1";
    const named = this.#named(method, raw);
    if (typeof named === "string") return named;
    return { method, target: named.target, authority: named.authority, scheme: named.scheme, minor, block, text };
  }

  #fields(text: string, at: number): FieldBlock | Fault {
    const last = this.#block;
    const end = text.length - 2;
    if (last !== null && last.text.length === end - at && text.slice(at, end) === last.text) return last;
    const block = readFields(text, at, end, "request", this.#limits.fields);
    if (typeof block !== "string") this.#block = text.length <= USUAL_HEAD_BYTES ? block : null;
    return block;
  }

  #named(method: string, raw: string): Named | Fault {
    if (this.#target !== null && this.#target.raw === raw && method !== "CONNECT")
      return { target: this.#target, authority: null, scheme: null };
    if (method === "CONNECT") return authorityForm(raw);
    if (raw === "*") return method === "OPTIONS" ? { target: ASTERISK, authority: null, scheme: null } : "target_form";
    if (raw.charCodeAt(0) !== 0x2f) return absoluteForm(method, raw);
    const target = readTarget(raw);
    if (typeof target === "string") return target;
    this.#target = raw.length <= TARGET_KEPT ? target : null;
    return { target, authority: null, scheme: null };
  }
}

interface Named {
  readonly target: RequestTarget;
  readonly authority: string | null;
  readonly scheme: string | null;
}

/** ` HTTP/1.0` or ` HTTP/1.1`, exactly, at this position. */
function readVersion(text: string, at: number): 0 | 1 | Fault {
  if (text.charCodeAt(at) !== SP) return "request_line";
  if (!text.startsWith("HTTP/", at + 1)) return "request_line";
  if (text.startsWith("1.1", at + 6)) return 1;
  return text.startsWith("1.0", at + 6) ? 0 : "version";
}

// authority without userinfo: reg-name, IPv4 or [IPv6], and perhaps a port
const AUTHORITY = /^(?:[a-z0-9._~-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?$/;

function absoluteForm(method: string, raw: string): Named | Fault {
  const match = /^(https?):\/\/([^/?#]*)(.*)$/i.exec(raw);
  if (match === null) return "target_form";
  const [, scheme = "", authority = "", rest = ""] = match;
  if (authority.includes("@")) return "userinfo";
  const lower = authority.toLowerCase();
  if (!AUTHORITY.test(lower)) return "target_form";
  // Section 3.2.4: without a path it is the asterisk-form that a server gets.
  const whole = method === "OPTIONS" && rest === "";
  const target = whole ? ASTERISK : readTarget(rest === "" || rest.startsWith("?") ? `/${rest}` : rest);
  if (typeof target === "string") return target;
  return { target, authority: lower, scheme: scheme.toLowerCase() };
}

function authorityForm(raw: string): Named | Fault {
  const lower = raw.toLowerCase();
  if (!AUTHORITY.test(lower) || !/:[0-9]+$/.test(lower)) return "target_form";
  return { target: { ...ASTERISK, raw, path: raw }, authority: lower, scheme: null };
}
