/**
 * A client that says exactly what a test writes, and keeps every byte of the answer: for comparing a session through the sidecar with a
 * direct one.
 */
import net from "node:net";
import { readNotice } from "#sidecar/lanes/postgres/codec/backend.ts";
import {
  bindText,
  closeText,
  describeText,
  executeText,
  FLUSH,
  parseText,
  queryText,
  SYNC,
} from "#sidecar/lanes/postgres/codec/frontend.ts";
import { startupText } from "#sidecar/lanes/postgres/codec/startup.ts";
import { int16, int32, message, utf8 } from "#sidecar/lanes/postgres/codec/text.ts";

export interface Answer {
  readonly type: string;
  readonly body: string;
}

/** Messages as a test writes them. */
export const say = {
  query: (sql: string) => queryText(utf8(sql)),
  parse: (name: string, sql: string, types: readonly number[] = []) =>
    parseText(name, utf8(sql), int16(types.length) + types.map((oid) => int32(oid)).join("")),
  /** Text parameters; `binaryResults`: results in binary format. */
  bind: (portal: string, statement: string, values: readonly (string | null)[] = [], binaryResults = false) =>
    bindText(
      portal,
      statement,
      int16(0) +
        int16(values.length) +
        values.map((v) => (v === null ? int32(-1) : int32(utf8(v).length) + utf8(v))).join("") +
        (binaryResults ? int16(1) + int16(1) : int16(0)),
    ),
  describe: (what: "S" | "P", name: string) => describeText({ what, name }),
  execute: (portal = "", rows = 0) => executeText(portal, rows),
  close: (what: "S" | "P", name: string) => closeText({ what, name }),
  flush: FLUSH,
  sync: SYNC,
  copyData: (text: string) => message("d", utf8(text)),
  copyDone: message("c", ""),
  copyFail: (why: string) => message("f", `${why}\0`),
  /** One statement, unnamed, as most drivers send it. */
  extended: (sql: string, values: readonly (string | null)[] = []) =>
    say.parse("", sql) + say.bind("", "", values) + say.describe("P", "") + say.execute() + say.sync,
};

export class WireClient {
  readonly socket: net.Socket;
  #bytes = "";
  #waiting: (() => void) | null = null;
  closed = false;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("data", (bytes: Buffer) => {
      this.#bytes += bytes.toString("latin1");
      this.#waiting?.();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
      this.#waiting?.();
    });
  }

  static async connect(
    port: number,
    parameters: readonly (readonly [string, string])[] = [],
    minor = 0,
  ): Promise<{ readonly client: WireClient; readonly greeting: readonly Answer[] }> {
    const socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
    const client = new WireClient(socket);
    const all = new Map([["user", "postgres"], ["database", "postgres"], ...parameters]);
    const greeting = await client.ask(startupText({ minor, parameters: [...all] }));
    return { client, greeting };
  }

  write(bytes: string): void {
    this.socket.write(bytes, "latin1");
  }

  /** What is answered, up to the `readies`th ReadyForQuery (or CopyInResponse where `until` says so, or the end). */
  async ask(bytes: string, readies = 1, until = "Z"): Promise<readonly Answer[]> {
    this.write(bytes);
    const answers: Answer[] = [];
    let seen = 0;
    for (;;) {
      const next = this.#next();
      if (next !== null) {
        answers.push(next);
        if (until.includes(next.type) && ++seen === readies) return answers;
        if (next.type === "E" && readNotice(next.body)?.get("S") === "FATAL") return answers;
        continue;
      }
      if (this.closed) return answers;
      await new Promise<void>((resolve, reject) => {
        const late = setTimeout(
          () => reject(new Error(`nothing more is said; so far: ${show(answers)} ${JSON.stringify(this.#bytes)}`)),
          10_000,
        );
        this.#waiting = () => {
          clearTimeout(late);
          this.#waiting = null;
          resolve();
        };
      });
    }
  }

  end(): void {
    this.socket.destroy();
  }

  #next(): Answer | null {
    if (this.#bytes.length < 5) return null;
    const length = Buffer.from(this.#bytes.slice(1, 5), "latin1").readInt32BE(0) + 1;
    if (this.#bytes.length < length) return null;
    const answer = { type: this.#bytes[0] ?? "", body: this.#bytes.slice(5, length) };
    this.#bytes = this.#bytes.slice(length);
    return answer;
  }
}

export function show(answers: readonly Answer[]): string {
  return answers
    .map(({ type, body }) => {
      if (type !== "E" && type !== "N") return `${type}${JSON.stringify(body)}`;
      const fields = readNotice(body);
      return `${type}(${fields?.get("S")} ${fields?.get("C")} ${fields?.get("M")})`;
    })
    .join(" ");
}

/** The transaction status that an answer ended with. */
export function statusOf(answers: readonly Answer[]): string {
  return answers.findLast((a) => a.type === "Z")?.body ?? "";
}

export function errorOf(answers: readonly Answer[]): ReadonlyMap<string, string> {
  const error = answers.find((a) => a.type === "E");
  return (error === undefined ? null : readNotice(error.body)) ?? new Map();
}
