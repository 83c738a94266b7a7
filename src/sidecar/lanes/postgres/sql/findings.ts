/**
 * What one statement was found to do, while its tree is walked. Only grows: an action never falls (but for EXPLAIN), a doubt is never
 * taken back.
 */
import type { Action } from "#contract/operation.ts";
import { KNOWN_TYPES } from "./catalogue.ts";
import type { OutputColumn, SessionEffect, Statement, TableRef } from "./reading.ts";

/** From harmless to not. `unknown` is what nobody can place, so it outranks everything. */
const RANK: Readonly<Record<Action, number>> = {
  connect: 0,
  read: 0,
  write: 1,
  execute: 2,
  admin: 3,
  credential: 4,
  unknown: 5,
};
const ACCESS_RANK: Readonly<Record<TableRef["access"], number>> = { read: 0, write: 1, admin: 2 };

/** A statement that needs more of one kind than this is not described further, and therefore not complete. */
const MAX_NAMES = 1024;
const MAX_DOUBTS = 32;

/** FigureColname of PostgreSQL's parse_target.c: what an output column is called that has no name and is no column or function. */
const GIVEN =
  /^(\?column\?|case|coalesce|greatest|least|nullif|array|row|exists|grouping|bool|xml.*|json.*|current_.*|session_user|user|localtime.*|merge_action)$/;

function isGivenName(name: string): boolean {
  return GIVEN.test(name) || KNOWN_TYPES.has(name);
}

/** An output with its node in the tree, while the tree is walked. */
export interface FoundOutput extends OutputColumn {
  readonly node?: unknown;
}

export class Findings {
  kind = "";
  action: Action = "read";
  where = false;
  /** An UPDATE, DELETE or MERGE in it is not bounded by a condition. */
  unguarded = false;
  limit: number | null = null;
  output: readonly FoundOutput[] = [];
  /** What each output mentions, by its node. */
  readonly outputs = new Map<unknown, ReadonlySet<string>>();
  readonly effects: SessionEffect[] = [];
  /** Byte offsets of literals that stood where any other literal would have read the same. */
  readonly literals: number[] = [];
  /** Schemas and functions, as written. */
  readonly functions = new Set<string>();
  readonly columns = new Set<string>();
  readonly conditions = new Set<string>();
  readonly written = new Set<string>();
  readonly #read = new Set<string>();
  /** In the RETURNING of the statement itself. */
  #returning = false;
  readonly computed = new Set<string>();
  /** Names by which relations are called: such a name alone is a whole row. */
  readonly relations = new Set<string>();
  readonly #tables = new Map<string, TableRef>();
  readonly #doubts = new Set<string>();
  /** Names that the statement itself gives (`AS x`): to the columns behind them, and whether it is one column, plainly. */
  readonly #names = new Map<string, { readonly columns: Set<string>; plain: boolean }>();
  /** Columns behind outputs to which PostgreSQL gives a name by its own rules (`?column?`, `case`, a type's name). */
  readonly #unnamed = new Set<string>();
  readonly #collecting: Set<string>[] = [];

  act(action: Action): void {
    if (RANK[action] > RANK[this.action]) this.action = action;
  }

  doubt(text: string): void {
    if (this.#doubts.size < MAX_DOUBTS) this.#doubts.add(text);
  }

  get complete(): boolean {
    return this.#doubts.size === 0;
  }

  table(schema: string, name: string, access: TableRef["access"]): void {
    const key = `${schema}\u0000${name}`;
    const known = this.#tables.get(key);
    if (known === undefined && this.#tables.size >= MAX_NAMES) return this.doubt("too many tables");
    if (known === undefined || ACCESS_RANK[access] > ACCESS_RANK[known.access])
      this.#tables.set(key, { schema, name, access });
  }

  /** The statement is planned, not run: what it would write is only read, and what it would do to the session does not happen. */
  plannedOnly(): void {
    if (this.action === "write") this.action = "read";
    for (const [key, table] of this.#tables)
      if (table.access === "write") this.#tables.set(key, { ...table, access: "read" });
    // What EXPLAIN EXECUTE plans is known to the session only.
    this.effects.splice(0, Infinity, ...this.effects.filter((e) => e.kind === "execute"));
  }

  function(name: string): void {
    if (this.functions.size >= MAX_NAMES) return this.doubt("too many functions");
    this.functions.add(name);
  }

  column(name: string, condition: boolean): void {
    if (this.columns.size >= MAX_NAMES) return this.doubt("too many columns");
    this.columns.add(name);
    if (!this.#returning) this.#read.add(name);
    if (condition) this.conditions.add(name);
    for (const set of this.#collecting) set.add(name);
  }

  /** A column that is given a value; "*": all of a table. */
  target(name: string): void {
    if (this.columns.size >= MAX_NAMES) return this.doubt("too many columns");
    this.columns.add(name);
    this.written.add(name);
    for (const set of this.#collecting) set.add(name);
  }

  /** What is mentioned while `walk` runs is given back, and nothing else is made of it. */
  givenBack(walk: () => void): void {
    this.#returning = true;
    try {
      walk();
    } finally {
      this.#returning = false;
    }
  }

  /** The columns that are mentioned while `walk` runs. */
  collect(walk: () => void): Set<string> {
    const set = new Set<string>();
    this.#collecting.push(set);
    try {
      walk();
    } finally {
      this.#collecting.pop();
    }
    return set;
  }

  /** The statement calls these columns by a name of its own. `plain`: the one column, unchanged. */
  name(alias: string, columns: ReadonlySet<string>, plain: boolean): void {
    const known = this.#names.get(alias);
    if (known === undefined) {
      if (this.#names.size >= MAX_NAMES) return this.doubt("too many names");
      this.#names.set(alias, { columns: new Set(columns), plain });
      return;
    }
    for (const c of columns) known.columns.add(c);
    known.plain = false;
  }

  /** An output is computed from these. */
  computedFrom(columns: ReadonlySet<string>): void {
    for (const column of columns) this.computed.add(column);
  }

  unnamed(columns: ReadonlySet<string>): void {
    for (const column of columns) this.#unnamed.add(column);
  }

  /** Everything that a set of names may stand for, names that the statement gave followed to their columns. */
  #behind(names: ReadonlySet<string>): Set<string> {
    const all = new Set(names);
    for (const name of all) {
      if (this.relations.has(name)) all.add("*");
      // a Set is walked as it grows
      for (const column of this.#names.get(name)?.columns ?? []) all.add(column);
      if (isGivenName(name)) for (const column of this.#unnamed) all.add(column);
    }
    return all;
  }

  #finished({ node, ...column }: FoundOutput): OutputColumn {
    const settled = this.#settled(column);
    const mentioned = this.outputs.get(node);
    if (settled.reference !== null || settled.star || mentioned === undefined) return settled;
    return { ...settled, columns: [...this.#behind(mentioned)] };
  }

  /** A plain reference whose name the statement gave to something else is no plain reference. */
  #settled(column: OutputColumn): OutputColumn {
    const none: OutputColumn = { ...column, reference: null };
    if (column.reference === null) return column;
    let { table, column: name } = column.reference;
    const seen = new Set<string>();
    for (let given = this.#names.get(name); given !== undefined; given = this.#names.get(name)) {
      const [behind] = given.columns;
      if (!given.plain || given.columns.size !== 1 || behind === undefined || behind === "*" || seen.has(name))
        return none;
      seen.add(name);
      table = null;
      name = behind;
    }
    if (this.#unnamed.size > 0 && isGivenName(name)) return none;
    return table === null && this.relations.has(name) ? none : { ...column, reference: { table, column: name } };
  }

  finish(from: number, to: number): Statement {
    for (const c of this.#behind(this.columns)) this.columns.add(c);
    const doubts = [...this.#doubts];
    return {
      kind: this.kind,
      action: this.action,
      tables: [...this.#tables.values()],
      functions: [...this.functions],
      columns: [...this.columns],
      writtenColumns: [...this.written],
      readColumns: [...this.#behind(this.#read)],
      conditionColumns: [...this.#behind(this.conditions)],
      expressionColumns: [...this.#behind(this.computed)],
      output: this.output.map((c) => this.#finished(c)),
      where: this.where && !this.unguarded,
      limit: this.limit,
      effects: this.effects,
      complete: doubts.length === 0,
      doubts,
      from,
      to,
    };
  }
}
