/**
 * What a database's catalogue says of the rules (`question.ts`): relations with confidential columns, by OID and by name.
 *
 * Errs towards masking: a view that reads a confidential column is confidential in all of its columns, unless a rule names that view
 * itself; a table whose name the text leaves unqualified is every table of that name.
 */
import type { TableRef } from "../sql/reading.ts";
import { type ColumnRule, type Form, stricter } from "./rules.ts";

export interface Column {
  readonly name: string;
  readonly type: number;
}

export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** By attribute number. */
  readonly columns: ReadonlyMap<number, Column>;
  /** By attribute number; never empty. */
  readonly masked: ReadonlyMap<number, Form>;
  /** Names of the masked ones. */
  readonly names: ReadonlyMap<string, Form>;
  /** Of those: whether a value that is written is accepted depends on other rows. */
  readonly guarded: ReadonlySet<string>;
}

/** Where a row says why it is there. */
const WHY = 6;
/** More than this is a rule that means half of a large database: refused, not cut short. */
const MAX_ROWS = 50_000;

export class Catalogue {
  readonly #byOid = new Map<number, Relation>();
  readonly #byName = new Map<string, Relation[]>();
  /** The highest OID of a relation that there was. */
  readonly #newest: number;

  private constructor(relations: readonly Relation[], newest: number) {
    this.#newest = newest;
    for (const relation of relations) {
      this.#byOid.set(relation.oid, relation);
      const named = this.#byName.get(relation.name);
      if (named === undefined) this.#byName.set(relation.name, [relation]);
      else named.push(relation);
    }
  }

  /** `rows`: the answer to `questionFor(rules)`, bytes as latin1. Null: it is not what was asked for. */
  static read(rules: readonly ColumnRule[], rows: readonly (readonly (string | null)[])[]): Catalogue | null {
    if (rows.length > MAX_ROWS) return null;
    const found = new Map<number, Found>();
    let newest = 0;
    for (const row of rows)
      if (row[WHY] === "n") newest = Number(row[0]);
      else if (!take(row, rules, found)) return null;
    if (!Number.isSafeInteger(newest) || newest <= 0) return null;
    return new Catalogue(
      [...found.values()].map((f) => f.relation(rules)).filter((r) => r.masked.size > 0),
      newest,
    );
  }

  /** Whether this column was made after the question was answered, so that nothing is known of it. Whole rows have attribute 0. */
  isNewer(oid: number, column: number): boolean {
    if (oid > this.#newest) return true;
    const relation = this.#byOid.get(oid);
    return relation !== undefined && column > 0 && !relation.columns.has(column);
  }

  relation(oid: number): Relation | undefined {
    return this.#byOid.get(oid);
  }

  /** Whether one of these is named in a text of the server's, bytes as latin1. */
  named(text: string): boolean {
    // Between quotes, a quote is doubled.
    for (const name of this.#byName.keys())
      if (text.includes(name) || text.includes(name.replaceAll('"', '""'))) return true;
    return false;
  }

  /** Every relation that these may be. */
  touched(tables: readonly TableRef[]): readonly Relation[] {
    const touched = new Set<Relation>();
    for (const { schema, name } of tables)
      for (const relation of this.#byName.get(latin1(name)) ?? [])
        if (schema === "" || latin1(schema) === relation.schema) touched.add(relation);
    return [...touched];
  }
}

/** Names from the text are characters, from the wire bytes. */
export function latin1(name: string): string {
  return Buffer.from(name, "utf8").toString("latin1");
}

class Found {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly columns = new Map<number, Column>();
  readonly direct = new Map<number, Form>();
  readonly generated = new Set<number>();
  readonly guarded = new Set<number>();
  isView = false;

  constructor(oid: number, schema: string, name: string) {
    this.oid = oid;
    this.schema = schema;
    this.name = name;
  }

  relation(rules: readonly ColumnRule[]): Relation {
    const masked = new Map(this.direct);
    const strictest = [...this.direct.values()].reduce<Form>(stricter, "token");
    for (const number of this.generated) masked.set(number, stricter(masked.get(number), strictest));
    const ownRule = rules.some(({ schema, table }) => table !== null && table === this.name && schema === this.schema);
    if (this.isView && !ownRule) {
      const form = rules.reduce<Form>((before, rule) => stricter(before, rule.form), "token");
      for (const number of this.columns.keys()) masked.set(number, stricter(masked.get(number), form));
    }
    const names = new Map<string, Form>();
    for (const [number, form] of masked) {
      const name = this.columns.get(number)?.name ?? "";
      names.set(name, stricter(names.get(name), form));
    }
    // What a view writes to is another table's.
    const guarded = [...masked.keys()].filter((number) => this.isView || this.guarded.has(number));
    const { oid, schema, name, columns } = this;
    return {
      oid,
      schema,
      name,
      columns,
      masked,
      names,
      guarded: new Set(guarded.map((number) => columns.get(number)?.name ?? "")),
    };
  }
}

function take(row: readonly (string | null)[], rules: readonly ColumnRule[], found: Map<number, Found>): boolean {
  const [oidText, schema, name, numberText, column, typeText, why] = row;
  const oid = Number(oidText);
  const number = Number(numberText);
  const type = Number(typeText);
  if (![oid, number, type].every((n) => Number.isSafeInteger(n) && n > 0)) return false;
  if (schema == null || name == null || column == null || why == null) return false;
  let relation = found.get(oid);
  if (relation === undefined) {
    relation = new Found(oid, schema, name);
    found.set(oid, relation);
  }
  relation.columns.set(number, { name: column, type });
  if (why === "v") relation.isView = true;
  else if (why === "g") relation.generated.add(number);
  else if (why === "u") relation.guarded.add(number);
  else if (why !== "-") {
    const rule = /^\d{1,6}$/.test(why) ? rules[Number(why)] : undefined;
    if (rule === undefined) return false;
    relation.direct.set(number, stricter(relation.direct.get(number), rule.form));
  }
  return true;
}
