/**
 * Reads a chunked body (RFC 9112 section 7.1) that may come in any pieces, and says what to pass on.
 *
 *   chunked-body = *chunk last-chunk trailer-section CRLF
 *   chunk        = chunk-size [ chunk-ext ] CRLF chunk-data CRLF        chunk-size = 1*HEXDIG
 *
 * What is passed on is ours in everything but the data: a size line that came whole and plain is passed as it is, one that came
 * in pieces is written anew, extensions are dropped (section 7.1.1 allows it), trailers go through the caller. So the next hop
 * never sees a byte of framing that was not read to its end and found good.
 */
import type { Chunk } from "#sidecar/seam/leg.ts";
import type { HttpLimits } from "../limits.ts";
import type { Fault } from "./fault.ts";
import type { FieldBlock } from "./field-block.ts";
import { readFields } from "./fields.ts";

/**
 * Takes what may be passed on, in order. `raw`: a range of the chunk being read, with its framing. A sink that has `content` gets a
 * chunked body's data by it, without framing, and frames it itself: `raw` and `text` are then not for it.
 */
export interface BodySink {
  content?(chunk: Chunk, from: number, to: number): void;
  raw(chunk: Chunk, from: number, to: number): void;
  text(framing: string): void;
  /** The last chunk, where it was not passed on as it is; null or the trailers that came. */
  end(trailers: FieldBlock | null): void;
}

/** No 32-bit parser reads a smaller number than we do. */
const SIZE_MAX = 0x7fffffff;
const CR = 13;
const LF = 10;
const SEMICOLON = 59;

type State = "size" | "extension" | "size-lf" | "data" | "data-cr" | "data-lf" | "trailer" | "done";

export class ChunkedReader {
  readonly #limits: HttpLimits;
  readonly #section: "request" | "answer";
  #state: State = "size";
  #size = 0;
  #digits = 0;
  #extension = "";
  #extensions = 0;
  #trailer = "";
  /** A size line, or the end of one chunk's data, began in an earlier piece: it is written anew. */
  #broken = false;
  /** Bytes of data read so far. */
  length = 0;
  trailers: FieldBlock | null = null;

  constructor(limits: HttpLimits, section: "request" | "answer") {
    this.#limits = limits;
    this.#section = section;
  }

  get done(): boolean {
    return this.#state === "done";
  }

  /** Position behind what belongs to this body: the chunk's length, unless it is done. */
  read(chunk: Chunk, from: number, sink: BodySink): number | Fault {
    const end = chunk.length;
    // [start, at) is read, found good, and not passed on yet.
    let start = from;
    let at = from;
    // Where the size line that is being read begins; it is held back until it is whole.
    let line = from;
    const bare = sink.content !== undefined;
    const flush = (to: number): void => {
      if (to > start && !bare) sink.raw(chunk, start, to);
    };
    while (at < end) {
      switch (this.#state) {
        case "data": {
          const take = Math.min(this.#size, end - at);
          if (bare) sink.content?.(chunk, at, at + take);
          at += take;
          this.#size -= take;
          this.length += take;
          if (this.#size === 0) this.#state = "data-cr";
          break;
        }
        case "data-cr":
          if (chunk.at(at) !== CR) return "chunk_end";
          // The CR of a piece that ends here is held back with what follows.
          if (at + 1 === end) {
            flush(at);
            start = end;
            this.#broken = true;
          }
          at++;
          this.#state = "data-lf";
          break;
        case "data-lf":
          if (chunk.at(at) !== LF) return "chunk_end";
          at++;
          if (this.#broken) {
            sink.text("\r\n");
            this.#broken = false;
            start = at;
          }
          this.#startLine();
          line = at;
          break;
        case "size": {
          const c = chunk.at(at);
          const digit = hex(c);
          if (digit >= 0) {
            this.#size = this.#size * 16 + digit;
            if (++this.#digits > 8 || this.#size > SIZE_MAX) return "chunk_size";
          } else if (this.#digits === 0) return "chunk_size";
          else if (c === CR) this.#state = "size-lf";
          else if (c === SEMICOLON) {
            this.#state = "extension";
            this.#broken = true;
            flush(line);
            start = line;
          } else return "chunk_size";
          at++;
          break;
        }
        case "extension": {
          const c = chunk.at(at);
          if (c === CR) {
            if (!isExtension(this.#extension)) return "chunk_extension";
            this.#state = "size-lf";
          } else {
            if (c === LF) return "chunk_extension";
            this.#extension += String.fromCharCode(c);
            if (
              this.#extension.length > this.#limits.chunkLineBytes ||
              ++this.#extensions > this.#limits.extensionBytes
            )
              return "chunk_extension";
          }
          at++;
          break;
        }
        case "size-lf":
          if (chunk.at(at) !== LF) return "chunk_size";
          at++;
          if (this.#size === 0) {
            if (!this.#broken && chunk.at(at) === CR && chunk.at(at + 1) === LF) {
              this.#state = "done";
              flush(at + 2);
              return at + 2;
            }
            // Else the last chunk is written by whoever knows which trailers may go on.
            flush(this.#broken ? start : line);
            start = at;
            this.#state = "trailer";
          } else {
            if (this.#broken) {
              sink.text(`${this.#size.toString(16)}\r\n`);
              start = at;
            }
            this.#broken = false;
            this.#state = "data";
          }
          break;
        case "trailer": {
          const taken = this.#readTrailer(chunk, at, end);
          if (typeof taken === "string") return taken;
          at = taken;
          start = at;
          // readTrailer may have come to the end.
          if (this.done) {
            sink.end(this.trailers);
            return at;
          }
          break;
        }
        case "done":
          return at;
      }
    }
    if (this.#state === "size" && this.#digits === 0) flush(at);
    // The piece ends inside a size line: all before it goes on, the line waits.
    else if (this.#state === "size" || this.#state === "extension" || this.#state === "size-lf") {
      if (!this.#broken) flush(line);
      this.#broken = true;
    } else if (this.#state !== "trailer" && !this.#broken) flush(at);
    return at;
  }

  #startLine(): void {
    this.#state = "size";
    this.#size = 0;
    this.#digits = 0;
    this.#extension = "";
  }

  /** Keeps the trailer section (bounded) until its empty line. */
  #readTrailer(chunk: Chunk, from: number, end: number): number | Fault {
    let at = from;
    while (at < end) {
      const lf = chunk.indexOf(LF, at);
      const to = lf < 0 || lf >= end ? end : lf + 1;
      if (this.#trailer.length + to - at > this.#limits.trailerBytes) return "trailer";
      this.#trailer += chunk.latin1(at, to);
      at = to;
      if (!this.#trailer.endsWith("\n")) continue;
      if (!this.#trailer.endsWith("\r\n")) return "bare_lf";
      if (this.#trailer !== "\r\n" && !this.#trailer.endsWith("\r\n\r\n")) continue;
      const block = readFields(this.#trailer, 0, this.#trailer.length - 2, this.#section, this.#limits.trailerFields);
      if (typeof block === "string") return block === "too_many_fields" ? "trailer" : block;
      // Framing and routing in a trailer: a server that merges trailers into the head would read another request.
      if (block.seen !== 0 || block.close || block.keepAlive || block.nominated !== null) return "trailer";
      this.trailers = block.count === 0 ? null : block;
      this.#state = "done";
      return at;
    }
    return at;
  }
}

/** chunk-ext = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ), without white space: senders have no need of it. */
const EXTENSION =
  /^[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:=(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[\t !#-[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?$/;

/** `text`: everything behind the first semicolon. */
function isExtension(text: string): boolean {
  return splitExtensions(text).every((part) => EXTENSION.test(part));
}

/** At semicolons outside quoted strings. */
function splitExtensions(text: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === "\\") i++;
      else if (c === '"') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === ";") {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

function hex(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  const lower = c | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}
