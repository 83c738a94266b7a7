/**
 * What an agent did, out of the record: the lines of `sidegate audit query --json` (one event each), as `suggest` reads them.
 */
export interface Observed {
  /** Preamble, facts and the rest, laid over each other: what a policy can be asked about. */
  readonly op: Readonly<Record<string, unknown>>;
  readonly verdict: string;
  readonly code: string;
  /** It went on under observation and would have been denied. */
  readonly wouldDeny: boolean;
  /** The rule of a policy that would have denied it, `policy/code`; "": none did, it was just not allowed. */
  readonly deniedBy: string;
}

/** Null: another kind of record, or an operation whose detail was erased. */
export function readObserved(event: unknown): Observed | null {
  const { kind, op, verdict, decision, erased } = record(event);
  if (kind !== "op" || erased === true || typeof verdict !== "string") return null;
  const { rest, ...facts } = record(op);
  const { would, code } = record(decision);
  return {
    op: completed(merge(facts, record(rest)) as Record<string, unknown>),
    verdict,
    code: typeof code === "string" ? code : "",
    wouldDeny: would !== undefined && would !== null,
    deniedBy: ruleOf(record(would)["reasons"]),
  };
}

/** Reasons of our own (`sidegate`) say that nobody allowed it. */
function ruleOf(reasons: unknown): string {
  if (!Array.isArray(reasons)) return "";
  const by = reasons.map(record).find(({ policy }) => typeof policy === "string" && policy !== "sidegate");
  return by === undefined ? "" : `${String(by["policy"])}/${String(by["code"])}`;
}

/**
 * A record leaves out what says nothing (no query, no body) or follows from the path; a policy that was not asked at the time may
 * read it.
 */
function completed(op: Record<string, unknown>): Record<string, unknown> {
  const http = record(op["http"]);
  const { path } = http;
  if (typeof path !== "string") return op;
  const segments = path === "/" || !path.startsWith("/") ? [] : path.slice(1).split("/");
  return {
    ...op,
    http: { segments, query: {}, headers: {}, contentType: null, contentLength: null, truncated: false, ...http },
  };
}

/** One event a line; what is no event is left out. Throws SyntaxError with the line's number where a line is no JSON. */
export function* readObservedLines(text: string): Generator<Observed> {
  let number = 0;
  for (const line of text.split("\n")) {
    number++;
    if (line.trim() === "") continue;
    let event: unknown;
    try {
      event = JSON.parse(line);
    } catch {
      throw new SyntaxError(`line ${number} is no JSON`);
    }
    const observed = readObserved(event);
    if (observed !== null) yield observed;
  }
}

function merge(a: unknown, b: unknown): unknown {
  if (!isObject(a) || !isObject(b)) return b === undefined ? a : b;
  const out: Record<string, unknown> = { ...a };
  for (const [key, value] of Object.entries(b)) out[key] = key in a ? merge(a[key], value) : value;
  return out;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function record(value: unknown): Record<string, unknown> {
  return isObject(value) ? value : {};
}
