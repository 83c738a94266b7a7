/** Between SQLite's columns and the port's rows. */
import { isUtf8 } from "node:buffer";
import type { SQLInputValue, SQLOutputValue } from "node:sqlite";
import type { BootRow, RecordRow, ScanRow } from "./port.ts";
import { bytesOf } from "./sqlite-query.ts";

/** Text where it is UTF-8, so that SQLite can search it; bytes where not, so that not one is changed. */
export function recordValues(index: number, boot: number, r: RecordRow): SQLInputValue[] {
  const { seq, t, kind, session, op, verdict, protocol, target, host, code, run } = r;
  return [
    index,
    boot,
    seq,
    t,
    kind,
    session,
    op,
    verdict,
    protocol,
    target,
    host,
    code,
    run,
    textOrBytes(r.core),
    r.leaf,
  ];
}

function textOrBytes(bytes: Uint8Array): string | Uint8Array {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // A NUL would end the text for some of SQLite's functions; it is no JSON anyway.
  return isUtf8(buffer) && !buffer.includes(0) ? buffer.toString("utf8") : bytes;
}

export function toBoot(row: Record<string, SQLOutputValue>): BootRow {
  return {
    boot: String(row["boot"]),
    subject: String(row["subject"]),
    pod: String(row["pod"]),
    firstAt: Number(row["first_at"]),
    seenAt: Number(row["seen_at"]),
    lastSeq: Number(row["last_seq"]),
    chain: String(row["chain"]),
    stopped: row["stopped"] === 1,
    cluster: String(row["cluster"]),
    baseSeq: Number(row["base_seq"]),
    baseChain: String(row["base_chain"]),
  };
}

export function toScan(row: Record<string, SQLOutputValue>): ScanRow {
  const word = (name: string): string | null => (row[name] === null ? null : String(row[name]));
  const count = (name: string): number | null => (row[name] === null ? null : Number(row[name]));
  return {
    index: Number(row["idx"]),
    row: {
      boot: String(row["name"]),
      seq: Number(row["seq"]),
      t: Number(row["t"]),
      kind: String(row["kind"]),
      session: count("session"),
      op: count("op"),
      verdict: word("verdict"),
      protocol: word("protocol"),
      target: word("target"),
      host: word("host"),
      code: word("code"),
      run: word("run"),
      core: bytesOf(row["core"] ?? null),
      leaf: bytesOf(row["leaf"] ?? null),
    },
    detail: row["salt"] === null ? null : { salt: String(row["salt"]), text: String(row["text"]) },
    erased: row["erased"] !== null,
  };
}
