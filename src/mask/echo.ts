/**
 * Finds a secret that comes back: as it is, or in a form that servers write it in (base64 at any alignment, percent-encoding, hex,
 * JSON and HTML escapes), and covers it with as many asterisks. The length stays, so Content-Length and offsets do.
 *
 * Errs towards covering: what ends in the beginning of a secret is held back until the next bytes say what it is, and the
 * beginning of one at the very end of a body is covered, too. Linear: one native search a form and chunk.
 */

/** The forms of some secrets, made once. */
export interface Echo {
  readonly forms: readonly Buffer[];
  readonly texts: readonly string[];
}

const ASTERISK = 0x2a;
/** Shorter ones stand in any text by chance. */
const MIN_FORM = 6;
/** So much of a secret's beginning may go on at the end of a chunk: a stream is not held back for what is not yet one. */
const FREE = 3;
/** As much of a secret's beginning, at the end of a body, is covered. */
const MIN_TAIL = 8;

/** `values`: what was put in, as the wire has it; at least MIN_FORM characters each (`readIssued` sees to it). */
export function echoOf(values: readonly string[]): Echo {
  const forms = new Set<string>();
  for (const value of values) for (const form of formsOf(value)) if (form.length >= MIN_FORM) forms.add(form);
  // The longest first: a form that is a part of another must not leave the other's rest.
  const texts = [...forms].toSorted((a, b) => b.length - a.length);
  return { texts, forms: texts.map((text) => Buffer.from(text, "latin1")) };
}

/** Latin1 texts, byte for byte as on the wire. */
function* formsOf(value: string): Iterable<string> {
  const bytes = Buffer.from(value, "utf8");
  yield bytes.toString("latin1");
  for (const alignment of [0, 1, 2]) {
    const inner = base64At(bytes, alignment);
    yield inner;
    yield inner.replaceAll("+", "-").replaceAll("/", "_");
    yield inner.replaceAll("+", "%2B").replaceAll("/", "%2F");
  }
  const url = encodeURIComponent(value);
  for (const form of [url, url.replaceAll("%20", "+"), escaped(bytes), strict(url)]) {
    yield form;
    yield form.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase());
  }
  yield bytes.toString("hex");
  yield bytes.toString("hex").toUpperCase();
  const json = JSON.stringify(value).slice(1, -1);
  yield latin1(json);
  yield latin1(json.replaceAll("/", "\\/"));
  // As encoders write it that make JSON safe inside HTML.
  yield latin1(json.replaceAll(/[<>&'=+]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`));
  yield latin1(
    json.replaceAll(/[<>&'=+]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0").toUpperCase()}`),
  );
  const html = value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  yield latin1(html.replaceAll('"', "&quot;").replaceAll("'", "&#39;"));
  yield latin1(html.replaceAll('"', "&#34;").replaceAll("'", "&#x27;"));
}

/** The characters that these bytes alone decide, behind `alignment` unknown ones (mod 3). */
function base64At(bytes: Buffer, alignment: number): string {
  const whole = Buffer.concat([Buffer.alloc(alignment), bytes]).toString("base64");
  const from = Math.ceil((alignment * 8) / 6);
  const to = Math.floor(((alignment + bytes.length) * 8) / 6);
  return whole.slice(from, to);
}

/** Every byte as %XX. */
function escaped(bytes: Buffer): string {
  return bytes.toString("hex").toUpperCase().replaceAll(/../g, "%$&");
}

/** Without the marks that `encodeURIComponent` leaves. */
function strict(url: string): string {
  return url.replaceAll(/[!'()*~]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function latin1(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** A head, a line, a trailer: `text` is latin1 and whole. The same string where nothing was found. */
export function coverText(echo: Echo, text: string): string {
  let out = text;
  for (const form of echo.texts) if (out.includes(form)) out = out.replaceAll(form, "*".repeat(form.length));
  return out;
}

/** One body's bytes, in any pieces. */
export class EchoStream {
  readonly #echo: Echo;
  /** The end of what was read that could be the beginning of a secret. */
  #tail: Buffer = EMPTY;
  /** Of the tail, bytes that went on already. */
  #gone = 0;
  /** Secrets that were covered. */
  found = 0;

  constructor(echo: Echo) {
    this.#echo = echo;
  }

  /** What goes on now, as bytes of the caller's own; perhaps none. `piece` is read and not kept. */
  push(piece: Uint8Array): Buffer {
    const bytes = Buffer.concat([this.#tail, piece]);
    this.#cover(bytes);
    const from = this.#gone;
    const overlap = this.#overlap(bytes);
    // A few bytes of what may be one go on and are remembered; more wait.
    const held = overlap > FREE ? overlap : 0;
    const to = Math.max(bytes.length - held, from);
    this.#tail = overlap === 0 ? EMPTY : Buffer.from(bytes.subarray(bytes.length - overlap));
    this.#gone = Math.max(0, to - (bytes.length - overlap));
    return bytes.subarray(from, to);
  }

  /** The body is over: what was held back. */
  end(): Buffer {
    const tail = this.#tail;
    if (tail.length >= MIN_TAIL) {
      tail.fill(ASTERISK);
      this.found++;
    }
    const rest = tail.subarray(this.#gone);
    this.#tail = EMPTY;
    this.#gone = 0;
    return rest;
  }

  #cover(bytes: Buffer): void {
    for (const form of this.#echo.forms) {
      for (let at = bytes.indexOf(form); at >= 0; at = bytes.indexOf(form, at + form.length)) {
        bytes.fill(ASTERISK, at, at + form.length);
        this.found++;
      }
    }
  }

  /** Length of the longest end of `bytes` that is the beginning of a form, and not all of it. */
  #overlap(bytes: Buffer): number {
    let longest = 0;
    for (const form of this.#echo.forms) {
      const first = form[0] ?? 0;
      const most = Math.min(form.length - 1, bytes.length);
      for (
        let at = bytes.indexOf(first, bytes.length - most);
        at >= 0 && bytes.length - at > longest;
        at = bytes.indexOf(first, at + 1)
      ) {
        const length = bytes.length - at;
        if (bytes.compare(form, 0, length, at) !== 0) continue;
        longest = length;
        break;
      }
    }
    return longest;
  }
}

const EMPTY = Buffer.alloc(0);
