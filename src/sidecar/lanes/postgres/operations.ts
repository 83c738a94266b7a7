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
import type { Statement } from "./sql/reading.ts";

/** What of a statement's text goes on record. Its tail is cut where it is longer, and the record says so. */
const MAX_TEXT = 16_384;
/** Parameters on record, and characters of each. */
const MAX_PARAMETERS = 64;
const MAX_PARAMETER = 256;

/** Takes password literals and the like out of a statement's text. */
export type Redact = (text: string, statements: readonly Statement[]) => string;

/** One judgement's worth: usually one statement; with EXECUTE the one that it runs, too. */
export interface Judged {
  readonly statements: readonly Statement[];
  readonly text: string;
  readonly complete: boolean;
  readonly doubts: readonly string[];
}

export interface Written {
  readonly profile: Profile | null;
  readonly action: Action;
  readonly complete: boolean;
  readonly facts: string;
  /** Members of `rest.sql`, each with a comma in front. */
  readonly rest: string;
}

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
    const { reads } = profile ?? READS_ALL;
    const { statements, complete } = judged;
    let facts = "";
    let rest = "";
    const add = (name: string, text: string): void => {
      if (reads(`sql.${name}`)) facts += `,"${name}":${text}`;
      else rest += `,"${name}":${text}`;
    };
    const text = this.#redact(judged.text, statements);
    add("statements", `[${statements.map(statementText).join(",")}]`);
    add("text", quote(text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text));
    if (text.length > MAX_TEXT) rest += `,"cut":${text.length - MAX_TEXT}`;
    add("doubts", JSON.stringify(judged.doubts));
    if (reads("sql.user") || reads("sql.database")) facts += `,${this.#identity}`;
    else rest += `,${this.#identity}`;
    return {
      profile,
      action: statements.length === 0 ? "unknown" : worst(statements),
      complete,
      facts: `"sql":{${facts.slice(1)}}`,
      rest,
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
  if (parameters.length === 0) return "";
  const shown = parameters.slice(0, MAX_PARAMETERS).map(({ binary, value }) => {
    if (value === null) return "null";
    const cut = value.length > MAX_PARAMETER;
    const bytes = cut ? value.slice(0, MAX_PARAMETER) : value;
    const text = binary ? null : fromUtf8(bytes);
    const shownText =
      text === null ? `{"base64":"${Buffer.from(bytes, "latin1").toString("base64")}"` : `{"text":${quote(text)}`;
    if (!cut) return text === null ? `${shownText}}` : quote(text);
    return `${shownText},"bytes":${value.length}}`;
  });
  const more = parameters.length > MAX_PARAMETERS ? `,"parameterCount":${parameters.length}` : "";
  return `,"parameters":[${shown.join(",")}]${more}`;
}
