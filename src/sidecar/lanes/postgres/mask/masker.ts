/**
 * Carries out a policy's masks on PostgreSQL's rows: by origin (table OID and attribute number), by output name, by detector. What
 * could get around that is objected to before it is sent (`objections.ts`).
 */
import type { MaskRule } from "#contract/decision.ts";
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";
import { coverFindings } from "#mask/cover.ts";
import type { Tokens } from "#mask/tokens.ts";
import type { Field } from "../codec/backend.ts";
import type { CopyMask, MaskedAct, Objection, ResultMask, RowMasker, SessionMasker } from "../masking.ts";
import type { CopyFormat, OutputColumn, Statement } from "../sql/reading.ts";
import { Catalogue, latin1, type Relation } from "./catalogue.ts";
import { CsvCopyMask, type LineColumn, TextCopyMask } from "./copy-lines.ts";
import { copyObjection, mayQuote, objectionTo, type Touched, touchedBy } from "./objections.ts";
import { questionFor } from "./question.ts";
import { BinaryCopyMask, type Change, RowMask } from "./rows.ts";
import { type Form, type Rules, readRules, stricter } from "./rules.ts";
import { coverValue, type Described, maskWhole } from "./values.ts";

export interface RowMaskerOptions {
  readonly tokens: Tokens;
  readonly clock: Clock;
}

/** What was learnt of a database is asked for again after so long: others make views, too. */
const LEARNT_MS = 30_000;
const MAX_LEARNT = 64;
/** Kinds of statements after which the catalogue may say something else. */
const CHANGES = new Set(["create", "alter", "drop", "do", "call", "import", "rename"]);

interface Learnt {
  /** Target and database. */
  readonly place: string;
  readonly catalogue: Catalogue;
  /** Asked for again from then on; what is known still serves what is under way. */
  againMs: number;
}

export function createRowMasker(options: RowMaskerOptions): RowMasker {
  const learnt = new Lru<string, Learnt>(MAX_LEARNT);
  const rules = new WeakMap<readonly MaskRule[], Rules | string>();
  return {
    open: ({ target, database }) => new Masker(options, learnt, rules, `${target}\n${database}`),
  };
}

class Masker implements SessionMasker {
  readonly #options: RowMaskerOptions;
  readonly #learnt: Lru<string, Learnt>;
  readonly #rules: WeakMap<readonly MaskRule[], Rules | string>;
  readonly #place: string;
  /** A statement of this session may have changed the catalogue, and its transaction may still be open. */
  #changed = false;

  constructor(
    options: RowMaskerOptions,
    learnt: Lru<string, Learnt>,
    rules: WeakMap<readonly MaskRule[], Rules | string>,
    place: string,
  ) {
    this.#options = options;
    this.#learnt = learnt;
    this.#rules = rules;
    this.#place = place;
  }

  question(masks: readonly MaskRule[]): string | null {
    const rules = this.#read(masks);
    if (this.#changed || typeof rules === "string" || rules.columns.length === 0) return null;
    const known = this.#learnt.get(this.#key(rules));
    if (known !== undefined && this.#options.clock.elapsedMs() < known.againMs) return null;
    return questionFor(rules.columns);
  }

  learn(masks: readonly MaskRule[], rows: readonly (readonly (string | null)[])[]): void {
    const rules = this.#read(masks);
    if (this.#changed || typeof rules === "string") return;
    const key = this.#key(rules);
    const catalogue = Catalogue.read(rules.columns, rows);
    // An answer that cannot be read teaches nothing: every statement is objected to.
    if (catalogue === null) this.#learnt.delete(key);
    else this.#learnt.set(key, { place: this.#place, catalogue, againMs: this.#options.clock.elapsedMs() + LEARNT_MS });
  }

  changes(statements: readonly Statement[]): boolean {
    return statements.some(({ kind, complete }) => CHANGES.has(kind) || !complete);
  }

  /** What is known under this session's place may have changed, whichever masks it was asked for. */
  follow(statements: readonly Statement[]): void {
    if (this.changes(statements)) this.#changed = true;
    // COMMIT AND CHAIN leaves no moment between two transactions.
    else if (!this.#changed || !statements.some(({ kind }) => kind === "commit")) return;
    this.#forget();
  }

  /** In a transaction others do not see what it changed, and learn what was before: it counts again at its end. */
  settled(): void {
    if (!this.#changed) return;
    this.#changed = false;
    this.#forget();
  }

  ended(): void {
    this.settled();
  }

  objection({ masks, statements }: MaskedAct, changed: boolean): Objection | null {
    const rules = this.#read(masks);
    if (typeof rules === "string") return { code: "obligation_unsupported", why: rules };
    const why = this.#evades(rules, statements, changed);
    return why === null ? null : { code: "mask_evaded", why };
  }

  #evades(rules: Rules, statements: readonly Statement[], changed: boolean): string | null {
    if (rules.columns.length > 0 && (changed || this.#changed)) return CHANGED;
    for (const statement of statements) {
      const why = copyObjection(statement);
      if (why !== null) return why;
    }
    if (rules.columns.length === 0) return null;
    const learnt = this.#learnt.get(this.#key(rules));
    if (learnt === undefined) return UNKNOWN;
    for (const statement of statements) {
      const why = objectionTo(statement, learnt.catalogue);
      if (why !== null) return why;
    }
    return null;
  }

  result({ masks }: MaskedAct, statement: Statement | null, fields: readonly Field[]): ResultMask | string | null {
    const rules = this.#read(masks);
    if (typeof rules === "string") return rules;
    const shown = this.#shown(rules, statement);
    if (shown === null) return UNKNOWN;
    const changes: (Change | null)[] = [];
    if (fields.some((field) => shown.isNewer(field))) this.#forget();
    for (const [i, field] of fields.entries()) {
      const form = shown.form(field, i, fields.length);
      if (form === "hidden") return "a column cannot be attributed";
      changes.push(this.#change(field, form, rules));
    }
    return changes.every((change) => change === null) ? null : new RowMask(changes);
  }

  copy({ masks }: MaskedAct, statement: Statement | null, binary: boolean, columns: number): CopyMask | string | null {
    const rules = this.#read(masks);
    if (typeof rules === "string") return rules;
    const shown = this.#shown(rules, statement);
    if (shown === null) return UNKNOWN;
    const fields = shown.copied(columns, binary ? 1 : 0);
    if (fields === null) return "the columns of this copy cannot be attributed";
    const changes = fields.map(({ described, form }) => this.#change(described, form, rules));
    if (changes.every((change) => change === null)) return null;
    const format = formatOf(statement);
    if (format === null || (format.kind === "binary") !== binary)
      return "this copy is not in the format that was asked for";
    if (format.kind === "binary") return new BinaryCopyMask(changes);
    const lines = fields.map(
      ({ described, form }, i): LineColumn => ({
        name: form === null ? null : latin1(described.name),
        change: changes[i] ?? null,
      }),
    );
    return format.kind === "csv" ? new CsvCopyMask(lines, format) : new TextCopyMask(lines, format);
  }

  quotes({ masks, statements }: MaskedAct): boolean {
    const rules = this.#read(masks);
    if (typeof rules === "string") return true;
    const catalogue = this.#catalogue(rules);
    if (catalogue === null) return rules.columns.length > 0;
    return statements.some((each) => mayQuote(each, catalogue));
  }

  notice(
    masks: readonly MaskRule[],
    quotes: boolean,
    fields: ReadonlyMap<string, string>,
  ): ReadonlyMap<string, string> {
    const rules = this.#read(masks);
    const hides = (quotes || this.#about(rules, fields)) && !isOfTheStatement(fields);
    const shown = new Map<string, string>();
    let changed = false;
    for (const [letter, text] of fields) {
      const instead = this.#message(letter, text, rules, hides);
      if (instead !== text) changed = true;
      if (instead !== null) shown.set(letter, instead);
    }
    return changed ? shown : fields;
  }

  payload(masks: readonly MaskRule[], payload: string): string {
    const rules = this.#read(masks);
    if (payload === "") return payload;
    if (typeof rules === "string" || rules.columns.length > 0) return NOT_ATTRIBUTED;
    return rules.detectors.size === 0
      ? payload
      : coverFindings(payload, rules.detectors, this.#options.tokens, "latin1").text;
  }

  /** Whether a message is about a confidential relation that no statement named: t: its table, W and q: what a foreign key's action runs. */
  #about(rules: Rules | string, fields: ReadonlyMap<string, string>): boolean {
    const catalogue = typeof rules === "string" ? null : this.#catalogue(rules);
    return catalogue !== null && ["t", "W", "q"].some((letter) => catalogue.named(fields.get(letter) ?? ""));
  }

  /** Null: left out. M: message, D: detail, H: hint, W: where, q: an internal query. */
  #message(letter: string, text: string, rules: Rules | string, hides: boolean): string | null {
    if (!"MDHWq".includes(letter)) return text;
    if (typeof rules === "string" || hides) return letter === "M" ? WITHHELD : null;
    return rules.detectors.size === 0
      ? text
      : coverFindings(text, rules.detectors, this.#options.tokens, "latin1").text;
  }

  /** What is known of this place still serves what is under way, and is asked for again before anything else. */
  #forget(): void {
    for (const learnt of this.#learnt.values()) if (learnt.place === this.#place) learnt.againMs = 0;
  }

  #change(described: Described, form: Form | null, { detectors }: Rules): Change | null {
    const { tokens } = this.#options;
    if (form !== null) return (value) => maskWhole(value, described, form, tokens);
    return detectors.size === 0 ? null : (value) => coverValue(value, described, detectors, tokens);
  }

  /** Null: there are rules about columns, and nothing is known of them. */
  #shown(rules: Rules, statement: Statement | null): Shown | null {
    const catalogue = this.#catalogue(rules);
    return catalogue === null && rules.columns.length > 0 ? null : new Shown(rules, catalogue, statement);
  }

  #catalogue(rules: Rules): Catalogue | null {
    return this.#learnt.get(this.#key(rules))?.catalogue ?? null;
  }

  #key({ key }: Rules): string {
    return `${this.#place}\n${key}`;
  }

  #read(masks: readonly MaskRule[]): Rules | string {
    let rules = this.#rules.get(masks);
    if (rules === undefined) {
      rules = readRules(masks);
      this.#rules.set(masks, rules);
    }
    return rules;
  }
}

const UNKNOWN = "the catalogue does not say what the masks mean";
const CHANGED = "the transaction has changed the catalogue";
const NOT_ATTRIBUTED = "[masked]";
const WITHHELD = "the message is not shown: it could quote a masked value";

/**
 * Class 42: the statement itself is at fault, and no row was looked at. Unless it is said by a function: that may have seen rows, and gives
 * its errors the code that it likes.
 */
function isOfTheStatement(fields: ReadonlyMap<string, string>): boolean {
  return fields.get("C")?.startsWith("42") === true && !fields.has("W") && !fields.has("q");
}

/** No OID. */
const UNTYPED = 0;

/** Which columns of one result are confidential. */
class Shown {
  readonly #rules: Rules;
  readonly #catalogue: Catalogue | null;
  readonly #statement: Statement | null;
  readonly #touched: Touched | null;

  constructor(rules: Rules, catalogue: Catalogue | null, statement: Statement | null) {
    this.#rules = rules;
    this.#catalogue = catalogue;
    this.#statement = statement;
    this.#touched = catalogue === null || statement === null ? null : touchedBy(statement, catalogue);
  }

  /** It was made since the catalogue was asked. */
  isNewer({ table, column }: Field): boolean {
    return this.#catalogue?.isNewer(table, column) === true;
  }

  /** Null: it is none. `hidden`: nobody can say. */
  form(field: Field, at: number, count: number): Form | "hidden" | null {
    let form: Form | null = this.#rules.names.get(fromUtf8(field.name)) ?? null;
    if (this.isNewer(field))
      return this.#rules.columns.reduce<Form>((before, rule) => stricter(before, rule.form), form ?? "token");
    const relation = this.#catalogue?.relation(field.table);
    // Attribute 0 is the whole row.
    const origin = field.column > 0 ? relation?.masked.get(field.column) : strictest(relation);
    if (origin !== undefined) form = stricter(form ?? undefined, origin);
    if (relation !== undefined || field.table !== 0 || this.#catalogue === null) return form;
    return this.#withoutOrigin(form, at, count);
  }

  /** An expression, or a column whose origin PostgreSQL does not tell: what the text says of it counts. */
  #withoutOrigin(form: Form | null, at: number, count: number): Form | "hidden" | null {
    const [statement, touched] = [this.#statement, this.#touched];
    if (statement === null || touched === null) return "hidden";
    if (touched.relations.length === 0 || statement.kind === "explain") return form;
    const output = outputAt(statement.output, at, count);
    const names =
      output?.reference?.column === undefined ? (output?.columns ?? statement.columns) : [output.reference.column];
    if (!touched.hits(names)) return form;
    if (output?.reference == null) return "hidden";
    return stricter(form ?? undefined, strictest(...touched.relations) ?? "token");
  }

  /** Columns of a COPY in their order: nothing on the wire names them. */
  copied(
    count: number,
    format: number,
  ): readonly { readonly described: Described; readonly form: Form | null }[] | null {
    const unknown = Array.from({ length: count }, (_, i) => ({
      described: { name: `column${i + 1}`, type: UNTYPED, format },
      form: null,
    }));
    const [statement, touched] = [this.#statement, this.#touched];
    if (this.#catalogue === null) return unknown;
    if (statement === null || touched === null) return null;
    const named = this.#rules.names.size > 0;
    if (touched.relations.length === 0 && !named) return unknown;
    if (touched.relations.length > 1) return null;
    const [relation] = touched.relations;
    const outputs = statement.output;
    if (outputs.length === 1 && outputs[0]?.star === true && statement.tables.length === 1)
      return relation === undefined ? unknown : wholeTable(relation, count, format);
    if (outputs.length !== count || outputs.some((output) => output.star)) return null;
    return outputs.map((output, i) => this.#copiedColumn(output, relation, i, format));
  }

  #copiedColumn(
    { name, reference }: OutputColumn,
    relation: Relation | undefined,
    at: number,
    format: number,
  ): { readonly described: Described; readonly form: Form | null } {
    const called = name ?? `column${at + 1}`;
    const column = reference === null ? undefined : columnOf(relation, latin1(reference.column));
    let form = this.#rules.names.get(called) ?? null;
    const origin = column === undefined ? undefined : relation?.masked.get(column.number);
    if (origin !== undefined) form = stricter(form ?? undefined, origin);
    return { described: { name: called, type: column?.type ?? UNTYPED, format }, form };
  }
}

function formatOf(statement: Statement | null): CopyFormat | null {
  for (const effect of statement?.effects ?? []) if (effect.kind === "copy-out") return effect.format;
  return null;
}

function wholeTable(
  { columns, masked }: Relation,
  count: number,
  format: number,
): readonly { readonly described: Described; readonly form: Form | null }[] | null {
  if (columns.size !== count) return null;
  return [...columns.entries()]
    .toSorted(([a], [b]) => a - b)
    .map(([number, { name, type }]) => ({
      described: { name: fromUtf8(name), type, format },
      form: masked.get(number) ?? null,
    }));
}

function columnOf(
  relation: Relation | undefined,
  name: string,
): { readonly number: number; readonly type: number } | undefined {
  for (const [number, column] of relation?.columns ?? [])
    if (column.name === name) return { number, type: column.type };
  return undefined;
}

function strictest(...relations: readonly (Relation | undefined)[]): Form | undefined {
  let form: Form | undefined;
  for (const relation of relations) for (const each of relation?.masked.values() ?? []) form = stricter(form, each);
  return form;
}

/** Outputs and columns correspond from the front up to a star, and from behind down to the last one. */
function outputAt(outputs: readonly OutputColumn[], at: number, count: number): OutputColumn | null {
  const first = outputs.findIndex((output) => output.star);
  if (first < 0) return outputs.length === count ? (outputs[at] ?? null) : null;
  if (at < first) return outputs[at] ?? null;
  const last = outputs.findLastIndex((output) => output.star);
  const behind = outputs.length - (count - at);
  return behind > last ? (outputs[behind] ?? null) : null;
}

function fromUtf8(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}
