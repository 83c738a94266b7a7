/**
 * From a core line to the columns that one searches by. The line itself is kept as it came; a line that is no JSON gets the kind
 * "malformed" and is kept too.
 */
import type { CoreLine } from "#audit/batch.ts";
import { leafHash } from "./merkle.ts";
import type { RecordRow } from "./store/port.ts";

type Members = Readonly<Record<string, unknown>>;

export interface CoreRead {
  readonly row: RecordRow;
  readonly members: Members | null;
}

export function rowOf(boot: string, line: CoreLine): CoreRead {
  const members = parse(line.bytes);
  const leaf = leafHash(line.bytes);
  const base = { boot, seq: line.seq, core: line.bytes, leaf };
  if (members === null) return { row: { ...base, ...EMPTY, t: 0, kind: "malformed" }, members };
  const pre = object(members["pre"]);
  const target = object(pre["target"]);
  const row: RecordRow = {
    ...base,
    t: Math.min(count(members["t"]) ?? 0, MAX_TIME),
    kind: text(members["k"]) ?? "malformed",
    session: count(members["s"]),
    op: count(members["op"]),
    verdict: text(members["verdict"]),
    protocol: text(members["protocol"]),
    target: text(target["name"]) ?? text(members["target"]),
    host: text(target["host"]) ?? text(members["host"]),
    code: text(object(members["decision"])["code"]),
    run: text(object(pre["run"])["id"]),
  };
  return { row, members };
}

/** The last instant that a Date can name. */
const MAX_TIME = 8_640_000_000_000_000;

/** A whole number that every reader can hold: a sender must not be able to store what makes later questions fail. */
function count(value: unknown): number | null {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : null;
}

const EMPTY = {
  session: null,
  op: null,
  verdict: null,
  protocol: null,
  target: null,
  host: null,
  code: null,
  run: null,
} as const;

/** namespace/name of the pod that a boot line names; a run outside a cluster has no namespace. */
export function podOf(boot: Members | null): string {
  const workload = object(boot?.["workload"]);
  const namespace = text(workload["namespace"]) ?? "";
  const pod = text(workload["pod"]) ?? "";
  return namespace === "" ? pod : `${namespace}/${pod}`;
}

/** A JSON object, or null. */
export function parse(bytes: Uint8Array): Members | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Members) : null;
  } catch {
    return null;
  }
}

export function object(value: unknown): Members {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Members) : {};
}

export function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

export function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
