/**
 * What a frontend sends after its start-up (manual: Message Formats), one small function a message, fields in the manual's order.
 * `body`: everything behind the length, latin1. Names and texts are UTF-8 bytes as latin1, too.
 */
import type { WireFault } from "./fault.ts";
import { int16, int32, isOneString, message, readInt16, readInt32 } from "./text.ts";

/** Type bytes. */
export const FRONTEND = {
  bind: 0x42, // B
  close: 0x43, // C
  copyData: 0x64, // d
  copyDone: 0x63, // c
  copyFail: 0x66, // f
  describe: 0x44, // D
  execute: 0x45, // E
  flush: 0x48, // H
  functionCall: 0x46, // F
  parse: 0x50, // P
  password: 0x70, // p: PasswordMessage, SASLInitialResponse, SASLResponse
  query: 0x51, // Q
  sync: 0x53, // S
  terminate: 0x58, // X
} as const;

export const FLUSH = message("H", "");
export const SYNC = message("S", "");
export const TERMINATE = message("X", "");

// Query: String
export function readQuery(body: string): { readonly text: string } | WireFault {
  return isOneString(body) ? { text: body.slice(0, -1) } : "text";
}

export function queryText(text: string): string {
  return message("Q", `${text}\0`);
}

export interface Parse {
  readonly name: string;
  readonly text: string;
  /** Int16 count and the OIDs, as sent. */
  readonly types: string;
}

// Parse: String name, String query, Int16 n, Int32[n] parameter types
export function readParse(body: string): Parse | WireFault {
  const nameEnd = body.indexOf("\0");
  if (nameEnd < 0) return "text";
  const textEnd = body.indexOf("\0", nameEnd + 1);
  if (textEnd < 0) return "text";
  const at = textEnd + 1;
  if (body.length < at + 2 || body.length !== at + 2 + 4 * readInt16(body, at)) return "count";
  return { name: body.slice(0, nameEnd), text: body.slice(nameEnd + 1, textEnd), types: body.slice(at) };
}

export function parseText(name: string, text: string, types: string): string {
  return message("P", `${name}\0${text}\0${types}`);
}

export interface Bind {
  readonly portal: string;
  readonly statement: string;
  /** Behind the names: parameter formats, parameters, result formats. */
  readonly rest: string;
}

// Bind: String portal, String statement, Int16 n, Int16[n] formats, Int16 m, (Int32 length, Byte[length])[m], Int16 k, Int16[k]
export function readBind(body: string): Bind | WireFault {
  const portalEnd = body.indexOf("\0");
  if (portalEnd < 0) return "text";
  const statementEnd = body.indexOf("\0", portalEnd + 1);
  if (statementEnd < 0) return "text";
  return {
    portal: body.slice(0, portalEnd),
    statement: body.slice(portalEnd + 1, statementEnd),
    rest: body.slice(statementEnd + 1),
  };
}

export function bindText(portal: string, statement: string, rest: string): string {
  return message("B", `${portal}\0${statement}\0${rest}`);
}

export interface Parameter {
  readonly binary: boolean;
  /** Null: SQL NULL. */
  readonly value: string | null;
}

/** A Bind's parameters, out of what stands behind its names. Checks the whole of it. */
export function readParameters(rest: string): Parameter[] | WireFault {
  let at = 0;
  const room = (bytes: number): boolean => at + bytes <= rest.length;
  if (!room(2)) return "count";
  const formats = readInt16(rest, at);
  at += 2;
  if (!room(2 * formats + 2)) return "count";
  const formatsAt = at;
  at += 2 * formats;
  const count = readInt16(rest, at);
  at += 2;
  if (formats > 1 && formats !== count) return "count";
  const parameters: Parameter[] = [];
  for (let i = 0; i < count; i++) {
    if (!room(4)) return "count";
    const length = readInt32(rest, at);
    at += 4;
    const format = formats === 0 ? 0 : readInt16(rest, formatsAt + (formats === 1 ? 0 : 2 * i));
    if (length === -1) {
      parameters.push({ binary: format !== 0, value: null });
      continue;
    }
    if (length < 0 || !room(length)) return "count";
    parameters.push({ binary: format !== 0, value: rest.slice(at, at + length) });
    at += length;
  }
  if (!room(2) || rest.length !== at + 2 + 2 * readInt16(rest, at)) return "count";
  return parameters;
}

export interface Named {
  /** S: a prepared statement, P: a portal. */
  readonly what: "S" | "P";
  readonly name: string;
}

// Describe, Close: Byte1 'S' or 'P', String name
export function readNamed(body: string): Named | WireFault {
  const what = body[0];
  if (what !== "S" && what !== "P") return "type";
  return body.indexOf("\0", 1) === body.length - 1 ? { what, name: body.slice(1, -1) } : "text";
}

export function describeText({ what, name }: Named): string {
  return message("D", `${what}${name}\0`);
}

export function closeText({ what, name }: Named): string {
  return message("C", `${what}${name}\0`);
}

export interface Execute {
  readonly portal: string;
  /** 0: no limit. */
  readonly rows: number;
}

// Execute: String portal, Int32 rows
export function readExecute(body: string): Execute | WireFault {
  const end = body.indexOf("\0");
  if (end < 0) return "text";
  return body.length === end + 5 ? { portal: body.slice(0, end), rows: readInt32(body, end + 1) } : "count";
}

export function executeText(portal: string, rows: number): string {
  return message("E", `${portal}\0${int32(rows)}`);
}

// PasswordMessage: String
export function passwordText(password: string): string {
  return message("p", `${password}\0`);
}

// SASLInitialResponse: String mechanism, Int32 length, Byte[n]
export function saslInitialText(mechanism: string, data: string): string {
  return message("p", `${mechanism}\0${int32(data.length)}${data}`);
}

export function readSaslInitial(body: string): { readonly mechanism: string; readonly data: string } | WireFault {
  const end = body.indexOf("\0");
  if (end < 0 || body.length < end + 5) return "text";
  const length = readInt32(body, end + 1);
  const data = body.slice(end + 5);
  return length === data.length || (length === -1 && data === "") ? { mechanism: body.slice(0, end), data } : "count";
}

// SASLResponse: Byte[n]
export function saslResponseText(data: string): string {
  return message("p", data);
}

/** No result formats, no parameters: for a Bind of our own. */
export const NO_PARAMETERS = int16(0) + int16(0) + int16(0);
