/**
 * llhttp, Node's own HTTP parser, as the oracle: strict, in this process, without a socket. It is reached through the module
 * that `node:http` itself uses; nothing but tests may.
 */
import { createRequire } from "node:module";

export interface OracleMessage {
  readonly method: string;
  readonly target: string;
  readonly status: number;
  readonly chunked: boolean;
  /** Bytes of content. */
  length: number;
  complete: boolean;
}

interface Parser {
  initialize(type: number, resource: object, maxHeaderSize: number, lenient: number): void;
  execute(bytes: Buffer): number | (Error & { readonly code: string });
  finish(): undefined | (Error & { readonly code: string });
  [callback: number]: unknown;
}

interface Internal {
  readonly HTTPParser: (new () => Parser) & Readonly<Record<string, number>>;
  readonly methods: readonly string[];
}

const { HTTPParser, methods } = createRequire(import.meta.url)("_http_common") as Internal;

const constant = (name: string): number => {
  const value = HTTPParser[name];
  if (value === undefined) throw new Error(`llhttp: no constant ${name}`);
  return value;
};

const ON_HEADERS = constant("kOnHeaders");
const ON_HEADERS_COMPLETE = constant("kOnHeadersComplete");
const ON_BODY = constant("kOnBody");
const ON_MESSAGE_COMPLETE = constant("kOnMessageComplete");
const MAX_HEADER_BYTES = 80 * 1024;

export const ORACLE_METHODS: ReadonlySet<string> = new Set(methods);

/** One connection's worth of messages, in pieces. */
export class Oracle {
  readonly messages: OracleMessage[] = [];
  /** Its error's code; null: none so far. */
  error: string | null = null;
  /** It takes what follows for another protocol's. */
  upgraded = false;
  readonly #parser = new HTTPParser();

  /** `skipBody`: for answers, whether they answer HEAD. */
  constructor(kind: "request" | "answer", skipBody = false) {
    const parser = this.#parser;
    parser.initialize(
      constant(kind === "request" ? "REQUEST" : "RESPONSE"),
      {},
      MAX_HEADER_BYTES,
      constant("kLenientNone"),
    );
    let fields: string[] = [];
    let url = "";
    parser[ON_HEADERS] = (some: string[], target: string): void => {
      // Trailers come this way too.
      if (this.messages.at(-1)?.complete === false) return;
      fields.push(...some);
      url += target;
    };
    parser[ON_HEADERS_COMPLETE] = (
      _major: number,
      _minor: number,
      some: string[] | undefined,
      method: number | undefined,
      target: string | undefined,
      status: number,
      _reason: string,
      upgrade: boolean,
    ): number => {
      const all = some ?? fields;
      const chunked = all.some(
        (name, i) =>
          i % 2 === 0 && name.toLowerCase() === "transfer-encoding" && /chunked$/i.test((all[i + 1] ?? "").trim()),
      );
      this.messages.push({
        method: method === undefined ? "" : (methods[method] ?? ""),
        target: target ?? url,
        status,
        chunked,
        length: 0,
        complete: false,
      });
      fields = [];
      url = "";
      this.upgraded ||= upgrade;
      return skipBody ? 1 : 0;
    };
    parser[ON_BODY] = (bytes: Uint8Array): void => {
      const last = this.messages.at(-1);
      if (last !== undefined) last.length += bytes.length;
    };
    parser[ON_MESSAGE_COMPLETE] = (): void => {
      const last = this.messages.at(-1);
      if (last !== undefined) last.complete = true;
    };
  }

  /** Bytes up to the next message boundary that it saw: feed what belongs to one message at a time. */
  feed(bytes: Buffer): void {
    if (this.error !== null || bytes.length === 0) return;
    const result = this.#parser.execute(bytes);
    if (typeof result !== "number") this.error = result.code;
  }

  /** The connection ends. */
  finish(): void {
    if (this.error !== null) return;
    const result = this.#parser.finish();
    if (result !== undefined) this.error = result.code;
  }
}
