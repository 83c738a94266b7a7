/** Questions to the SQLite store: one SELECT, its conditions from a filter. Values are always bound, never glued. */
import type { SQLInputValue, SQLOutputValue } from "node:sqlite";
import { CONTROL_BOOT } from "../act.ts";
import type { Filter, Found } from "./port.ts";

export const FOUND = `SELECT r.idx, b.boot AS name, r.seq, r.t, r.kind, b.pod, r.core, d.salt, d.text, e.seq AS erased,
  (SELECT x.core FROM records x WHERE x.boot = r.boot AND x.op = r.seq AND x.kind = 'end' LIMIT 1) AS end_core,
  (SELECT x.core FROM records x WHERE x.boot = r.boot AND x.seq = r.session) AS session_core,
  (SELECT sum(CASE WHEN json_valid(x.core) THEN CAST(json_extract(x.core, '$.count') AS REAL) END) FROM records x WHERE x.boot = r.boot AND x.op = r.seq AND x.kind = 'fold') AS folded
FROM records r JOIN boots b ON b.id = r.boot
LEFT JOIN details d ON d.boot = r.boot AND d.seq = r.seq
LEFT JOIN erased e ON e.boot = r.boot AND e.seq = r.seq`;

const MAX_LIMIT = 100_000;

export function findQuery(filter: Filter): { readonly sql: string; readonly values: SQLInputValue[] } {
  const where: string[] = [];
  const values: SQLInputValue[] = [];
  const add = (condition: string, ...bound: SQLInputValue[]): void => {
    where.push(condition);
    values.push(...bound);
  };
  const kinds = filter.kinds ?? ["op"];
  add(`r.kind IN (${kinds.map(() => "?").join(",")})`, ...kinds);
  if (filter.after !== undefined) add("r.idx > ?", filter.after);
  if (filter.before !== undefined) add("r.idx < ?", filter.before);
  if (filter.sinceMs !== undefined) add("r.t >= ?", filter.sinceMs);
  if (filter.untilMs !== undefined) add("r.t < ?", filter.untilMs);
  if (filter.boot !== undefined) add("b.boot = ?", filter.boot);
  if (filter.pod !== undefined)
    add("(b.pod = ? OR b.pod LIKE ? ESCAPE '\\')", filter.pod, `%/${escapeLike(filter.pod)}`);
  if (filter.namespaces !== undefined) {
    // Another cluster's namespace of the same name is somebody else's, and acts are about every namespace.
    const inside = filter.namespaces.map(() => "substr(b.pod, 1, ?) = ?").join(" OR ");
    const bound = filter.namespaces.flatMap((name) => [name.length + 1, `${name}/`]);
    add(`b.cluster = '' AND b.boot <> ? AND (${inside === "" ? "FALSE" : inside})`, CONTROL_BOOT, ...bound);
  }
  if (filter.target !== undefined) add("r.target = ?", filter.target);
  if (filter.host !== undefined) add("r.host = ?", filter.host.toLowerCase());
  if (filter.verdict !== undefined) add("r.verdict = ?", filter.verdict);
  if (filter.code !== undefined) add("r.code = ?", filter.code);
  if (filter.protocol !== undefined) add("r.protocol = ?", filter.protocol);
  if (filter.run !== undefined) add("(r.run = ? OR b.boot = ?)", filter.run, filter.run);
  if (filter.text !== undefined) {
    const like = `%${escapeLike(filter.text)}%`;
    add("(CAST(r.core AS TEXT) LIKE ? ESCAPE '\\' OR d.text LIKE ? ESCAPE '\\')", like, like);
  }
  const order = filter.after === undefined ? "DESC" : "ASC";
  values.push(Math.max(1, Math.min(MAX_LIMIT, Math.trunc(filter.limit))));
  return { sql: `${FOUND} WHERE ${where.join(" AND ")} ORDER BY r.idx ${order} LIMIT ?`, values };
}

export function toFound(row: Record<string, SQLOutputValue>): Found {
  const optional = (name: string): Buffer | null => (row[name] === null ? null : bytesOf(row[name] ?? null));
  return {
    index: Number(row["idx"]),
    boot: String(row["name"]),
    seq: Number(row["seq"]),
    t: Number(row["t"]),
    kind: String(row["kind"]),
    pod: String(row["pod"]),
    core: bytesOf(row["core"] ?? null),
    detail: row["salt"] === null ? null : { salt: String(row["salt"]), text: String(row["text"]) },
    erased: row["erased"] !== null,
    end: optional("end_core"),
    sessionCore: optional("session_core"),
    folded: Number(row["folded"] ?? 0),
  };
}

/** A column that holds text or a blob, as bytes. */
export function bytesOf(value: SQLOutputValue): Buffer {
  if (typeof value === "string") return Buffer.from(value, "utf8");
  return value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : Buffer.alloc(0);
}

function escapeLike(text: string): string {
  return text.replaceAll(/[\\%_]/g, String.raw`\$&`);
}
