/**
 * From a statement that was read to what the judge is asked: EXECUTE and FETCH become what they run, a name that nobody knows makes the
 * statement incomplete, and what may not run in this session whatever a policy says is told apart.
 */
import { quote } from "#core/json-text.ts";
import { fromUtf8 } from "./codec/text.ts";
import type { Prepared } from "./names.ts";
import type { Judged, Question } from "./question.ts";
import type { ReadingState } from "./reading-state.ts";
import { objection, type SettingObjection } from "./settings.ts";
import { KNOWN_TO_THE_SESSION, type SqlReading, type Statement } from "./sql/reading.ts";
import { QueryScope, type Scope } from "./sql-names.ts";

/** A Query: its questions in order, and the text that is sent when all were permitted. */
export interface QuestionedQuery {
  readonly questions: readonly Question[];
  readonly bytes: string;
}

/** Our name upstream for a statement that the agent prepared by a message and now names in SQL; null: it did not. */
export type RenamedTo = (name: string) => string | null;

export function questionsOfQuery(
  bytes: string,
  reading: SqlReading,
  outer: Scope,
  renamed: RenamedTo,
  state: ReadingState,
): QuestionedQuery {
  const { statements } = reading;
  if (statements.length === 0) return { questions: [unread(bytes, reading)], bytes };
  const scope = statements.length === 1 ? null : new QueryScope(outer, state);
  const questions: Question[] = [];
  let sent = "";
  let at = 0;
  for (const statement of statements) {
    const { from, to } = statement;
    const own = statements.length === 1 ? bytes : bytes.slice(from, to);
    const question = questionOf(statement, own, reading, scope ?? outer, state);
    scope?.follow(statement.effects, question.judged.statements, question.judged.complete);
    questions.push(question);
    const other = deallocationOf(statement, renamed);
    if (other === null) continue;
    sent += bytes.slice(at, from) + other;
    at = to;
  }
  return { questions, bytes: at === 0 ? bytes : sent + bytes.slice(at) };
}

/** `known`: false where something that nobody understood has run since its portal was made. */
export function questionOfPrepared(prepared: Prepared, scope: Scope, state: ReadingState, known = true): Question {
  if (prepared.question !== null && known) return prepared.question;
  const { text: bytes, reading } = prepared;
  const [statement] = reading.statements;
  const question =
    statement === undefined ? unread(bytes, reading) : questionOf(statement, bytes, reading, scope, state);
  if (known) {
    // It stays as it is, whatever else is prepared or declared.
    if (statement !== undefined && isPlain(statement, reading)) prepared.question = question;
    return question;
  }
  const doubts = [...question.judged.doubts, "a statement that nobody understood has run since this portal was made"];
  return { ...question, judged: { ...question.judged, alike: null, complete: false, doubts } };
}

/** What DEALLOCATE must say upstream for a statement that has another name there; null: what it says already. */
export function deallocationOf(statement: Statement, renamed: RenamedTo): string | null {
  for (const effect of statement.effects) {
    if (effect.kind !== "deallocate" || effect.name === null) continue;
    const upstream = renamed(effect.name);
    // Our names are letters, digits, "_" and "-": nothing to be doubled between the quotes.
    if (upstream !== null) return `DEALLOCATE "${upstream}"`;
  }
  return null;
}

/** No tree: the text is all there is. */
function unread(bytes: string, reading: SqlReading): Question {
  const judged: Judged = {
    statements: [],
    text: fromUtf8(bytes) ?? "",
    complete: false,
    doubts: reading.doubts,
    alike: null,
  };
  return { judged, extra: "", objection: null, statement: null, bytes };
}

function questionOf(
  statement: Statement,
  bytes: string,
  reading: SqlReading,
  scope: Scope,
  state: ReadingState,
): Question {
  const text = fromUtf8(bytes) ?? "";
  if (isPlain(statement, reading)) {
    // The usual case, without a list of anything.
    const alone = reading.statements.length === 1;
    const statements = alone ? reading.statements : [statement];
    const judged: Judged = { statements, text, complete: true, doubts: NONE, alike: alone ? reading.alike : null };
    return { judged, extra: "", objection: objection(statement, state.readOnly), statement, bytes };
  }
  const runs = runsOf(statement, scope);
  const doubts = [
    ...statement.doubts.filter((doubt) => doubt !== KNOWN_TO_THE_SESSION || !runs.named),
    ...(reading.complete ? NONE : reading.doubts.filter((doubt) => doubt !== KNOWN_TO_THE_SESSION)),
    ...runs.doubts,
  ];
  // EXECUTE and FETCH are what they run; EXPLAIN ANALYZE EXECUTE is itself, and that.
  const alone = (statement.kind === "execute" || statement.kind === "fetch") && runs.statements.length > 0;
  const statements = alone ? runs.statements : [statement, ...runs.statements];
  const judged: Judged = { statements, text, complete: doubts.length === 0, doubts, alike: null };
  let found: SettingObjection | null = null;
  for (const s of [statement, ...runs.statements]) found ??= objection(s, state.readOnly);
  return { judged, extra: runs.extra, objection: found, statement, bytes };
}

/** Understood, and nothing but itself: it runs nothing that has a name. */
function isPlain({ effects, complete }: Statement, reading: SqlReading): boolean {
  if (!complete || !reading.complete) return false;
  for (const { kind } of effects) if (kind === "execute" || kind === "fetch") return false;
  return true;
}

interface Runs {
  readonly statements: Statement[];
  readonly doubts: string[];
  readonly extra: string;
  /** Every name in it is known. */
  readonly named: boolean;
}

function runsOf({ effects }: Statement, scope: Scope): Runs {
  const statements: Statement[] = [];
  const doubts: string[] = [];
  let extra = "";
  let named = true;
  for (const effect of effects) {
    if (effect.kind === "execute") {
      const prepared = scope.prepared(effect.name);
      if (prepared === null) {
        named = false;
        doubts.push(`prepared statement ${quote(effect.name)} is not known`);
        continue;
      }
      statements.push(...prepared.reading.statements);
      doubts.push(...prepared.reading.doubts, ...prepared.reading.statements.flatMap((s) => s.doubts));
      extra += `,"prepared":${quote(fromUtf8(prepared.text) ?? "")}`;
    } else if (effect.kind === "fetch") {
      const cursor = scope.cursor(effect.name);
      if (cursor === null) {
        named = false;
        doubts.push(`cursor ${quote(effect.name)} is not known`);
        continue;
      }
      statements.push(...cursor.statements);
      doubts.push(...cursor.doubts);
    }
  }
  return { statements, doubts, extra, named };
}

const NONE: readonly string[] = [];
