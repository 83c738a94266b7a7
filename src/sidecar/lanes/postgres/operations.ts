/**
 * A statement as policies read it (`SqlFacts`), and as the record keeps it. What the loaded policy reads goes into the facts, the
 * rest into the detail, as `"rest":{"sql":{…}}` with the same member names.
 *
 * Passwords are taken out of the text before anybody sees it. Parameters are in the detail only: bounded, and never judged.
 */
import type { Action } from "#contract/operation.ts";
import type { Profile } from "#contract/policy-port.ts";
import { quote } from "#core/json-text.ts";
import type { Operation } from "#sidecar/seam/verdict.ts";
import type { Parameter } from "./codec/frontend.ts";
import { fromUtf8 } from "./codec/text.ts";
import type { Judged, Written } from "./question.ts";
import type { Alike, Statement } from "./sql/reading.ts";
import { SHOWN_CHARS } from "./sql/redact.ts";

/** Parameters on record, and characters of each. */
const MAX_PARAMETERS = 64;
const MAX_PARAMETER = 256;

/** Takes password literals and the like out of a statement's text, of a long one out of its first `SHOWN_CHARS` at least. `alike`: null: it is known by all of its characters only. */
export type Redact = (text: string, statements: readonly Statement[], alike: Alike | null) => string;

const READS_ALL: Pick<Profile, "reads"> = { reads: () => true };

const RANK: Readonly<Record<Action, number>> = {
  connect: 0,
  read: 0,
  write: 1,
  execute: 2,
  admin: 3,
  credential: 4,
  unknown: 5,
};

export class OperationWriter {
  readonly #identity: string;
  readonly #redact: Redact;

  /** `user` and `database`: those of the upstream's session. */
  constructor(user: string, database: string, redact: Redact) {
    this.#identity = `"user":${quote(user)},"database":${quote(database)}`;
    this.#redact = redact;
  }

  /** The part that does not change with its parameters. */
  write(judged: Judged, profile: Profile | null): Written {
    const { alike } = judged;
    if (alike === null) return this.#write(judged, profile, null).written;
    const { kept } = alike.shape;
    if (
      kept instanceof Kept &&
      kept.profile === profile &&
      kept.identity === this.#identity &&
      kept.by === this.#redact
    )
      return kept.written ?? kept.of(quote(this.#redact(judged.text, judged.statements, alike)));
    const { written, text } = this.#write(judged, profile, alike);
    // What a policy reads the text of is another fact each time.
    const same = alike.literals.length === 0;
    if (same || text !== null) alike.shape.kept = new Kept(written, text, same, this.#identity, this.#redact);
    return written;
  }

  /** `text`: where the statement's text stands in `rest`; null: it is among the facts. */
  #write(judged: Judged, profile: Profile | null, alike: Alike | null): { written: Written; text: TextAt | null } {
    const { reads } = profile ?? READS_ALL;
    const { statements, complete } = judged;
    let facts = "";
    let rest = "";
    const add = (name: string, text: string): void => {
      if (reads(`sql.${name}`)) facts += `,"${name}":${text}`;
      else rest += `,"${name}":${text}`;
    };
    const text = this.#redact(judged.text, statements, alike);
    add("statements", `[${statements.map(statementText).join(",")}]`);
    // Its tail is cut where it is longer, and the record says so.
    const left = Math.max(judged.text.length, text.length) - SHOWN_CHARS;
    const cut = left > 0;
    const quoted = quote(cut ? `${text.slice(0, SHOWN_CHARS)}…` : text);
    add("text", quoted);
    const end = rest.length;
    if (cut) rest += `,"cut":${left}`;
    add("doubts", JSON.stringify(judged.doubts));
    if (reads("sql.user") || reads("sql.database")) facts += `,${this.#identity}`;
    else rest += `,${this.#identity}`;
    const action = statements.length === 0 ? "unknown" : worst(statements);
    return {
      written: { profile, action, complete, facts: `"sql":{${facts.slice(1)}}`, rest },
      text: reads("sql.text") || cut ? null : { start: end - quoted.length, end },
    };
  }

  /** `extra`: further members of `rest.sql`, each with a comma in front. `body`: what an approval covers. */
  operation(written: Written, extra: string, body: string | null): Operation {
    const rest = (written.rest + extra).slice(1);
    return {
      protocol: "postgres",
      action: written.action,
      phase: "ask",
      parent: null,
      complete: written.complete,
      run: null,
      traceparent: null,
      facts: written.facts,
      detail: rest === "" ? "" : `"rest":{"sql":{${rest}}}`,
      body,
    };
  }
}

interface TextAt {
  readonly start: number;
  readonly end: number;
}

/** What was written of one statement of a shape, for those that differ in their literals only. */
class Kept {
  readonly profile: Profile | null;
  readonly identity: string;
  readonly by: Redact;
  /** All of it, where there is but one text of this shape. */
  readonly written: Written | null;
  readonly #first: Written;
  readonly #before: string;
  readonly #behind: string;

  constructor(first: Written, text: TextAt | null, same: boolean, identity: string, by: Redact) {
    this.profile = first.profile;
    this.identity = identity;
    this.by = by;
    this.written = same ? first : null;
    this.#first = first;
    this.#before = text === null ? "" : first.rest.slice(0, text.start);
    this.#behind = text === null ? "" : first.rest.slice(text.end);
  }

  /** `text`: of another one, quoted. */
  of(text: string): Written {
    const { profile, action, complete, facts } = this.#first;
    return { profile, action, complete, facts, rest: this.#before + text + this.#behind };
  }
}

function worst(statements: readonly Statement[]): Action {
  let action: Action = "read";
  for (const s of statements) if (RANK[s.action] > RANK[action]) action = s.action;
  return action;
}

function statementText(s: Statement): string {
  const tables = s.tables.map((t) => `{"schema":${quote(t.schema)},"name":${quote(t.name)},"access":"${t.access}"}`);
  return `{"kind":${quote(s.kind)},"action":"${s.action}","tables":[${tables.join(",")}],"functions":${list(s.functions)},"columns":${list(s.columns)},"where":${s.where},"limit":${s.limit ?? "null"}}`;
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "[]" : `[${names.map(quote).join(",")}]`;
}

/** Bind parameters for the record: text as it is, what is binary or no text in base64; cut at their bounds. */
export function parametersText(parameters: readonly Parameter[]): string {
  const { length } = parameters;
  if (length === 0) return "";
  let shown = "";
  for (let i = 0; i < length && i < MAX_PARAMETERS; i++) {
    const parameter = parameters[i];
    if (parameter !== undefined) shown += (i === 0 ? "" : ",") + parameterText(parameter);
  }
  return `,"parameters":[${shown}]${length > MAX_PARAMETERS ? `,"parameterCount":${length}` : ""}`;
}

function parameterText({ binary, value }: Parameter): string {
  if (value === null) return "null";
  const cut = value.length > MAX_PARAMETER;
  const bytes = cut ? value.slice(0, MAX_PARAMETER) : value;
  const text = binary ? null : fromUtf8(bytes);
  if (text !== null && !cut) return quote(text);
  const base64 = text === null ? Buffer.from(bytes, "latin1").toString("base64") : "";
  const shown = text === null ? `{"base64":"${base64}"` : `{"text":${quote(text)}`;
  return cut ? `${shown},"bytes":${value.length}}` : `${shown}}`;
}
