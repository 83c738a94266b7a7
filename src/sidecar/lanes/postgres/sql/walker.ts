/**
 * Walks a parse tree by an explicit table of node types. A node or a field that is not in the table is a doubt: what nobody described
 * is never taken for harmless, so a newer parser, or a corner of the grammar that was overlooked, makes a statement incomplete.
 */
import type { Findings } from "./findings.ts";
import type { TableRef } from "./reading.ts";
import { type Fields, isFields, nodeOf } from "./tree.ts";

/** Names of common table expressions, innermost first. */
export interface Scope {
  readonly name: string;
  readonly outer: Scope | null;
}

/** Where in a statement the walker is. */
export interface Place {
  readonly scope: Scope | null;
  /** In WHERE, ORDER BY, a join condition, …: what is mentioned here can be guessed by asking. */
  readonly condition: boolean;
  /** What happens to a table that is mentioned here. */
  readonly access: TableRef["access"];
}

export const TOP: Place = { scope: null, condition: false, access: "read" };

/** All fields of a node type; each is in exactly one of the lists. */
export interface Shape {
  /** Says nothing that the reading needs. */
  readonly skip?: readonly string[];
  /** Nodes, or lists of nodes. */
  readonly walk?: readonly string[];
  /** The same, but what they mention is a condition. */
  readonly conditions?: readonly string[];
  /** A field without wrapper: its type. */
  readonly enter?: Readonly<Record<string, string>>;
  /** Its fields are not looked at, because `run` doubts the statement whatever they say. */
  readonly opaque?: boolean;
  /** Dealt with by `run`. */
  readonly own?: readonly string[];
  readonly run?: (walker: Walker, fields: Fields, place: Place) => void;
}

export type Shapes = Readonly<Record<string, Shape>>;

/** Nodes in nodes. A longer chain (`1+1+1+…`) is not followed. */
const MAX_DEPTH = 700;

type Rule = { readonly kind: "skip" | "walk" | "condition" } | { readonly kind: "enter"; readonly type: string };

interface Compiled {
  readonly rules: ReadonlyMap<string, Rule>;
  readonly opaque: boolean;
  readonly run: Shape["run"];
}

export type CompiledShapes = ReadonlyMap<string, Compiled>;

/** Throws where a type or a field is described twice: that would be a mistake of ours. */
export function compileShapes(...tables: readonly Shapes[]): CompiledShapes {
  const all = new Map<string, Compiled>();
  for (const [type, shape] of tables.flatMap((t) => Object.entries(t))) {
    if (all.has(type)) throw new Error(`${type} is described twice`);
    const rules = new Map<string, Rule>();
    const put = (field: string, rule: Rule): void => {
      if (rules.has(field)) throw new Error(`${type}.${field} is described twice`);
      rules.set(field, rule);
    };
    for (const f of shape.skip ?? []) put(f, { kind: "skip" });
    for (const f of shape.own ?? []) put(f, { kind: "skip" });
    for (const f of shape.walk ?? []) put(f, { kind: "walk" });
    for (const f of shape.conditions ?? []) put(f, { kind: "condition" });
    for (const [f, t] of Object.entries(shape.enter ?? {})) put(f, { kind: "enter", type: t });
    all.set(type, { rules, opaque: shape.opaque === true, run: shape.run });
  }
  return all;
}

export class Walker {
  readonly found: Findings;
  /** The text as UTF-8: locations are byte offsets in it. */
  readonly bytes: Uint8Array;
  readonly #shapes: CompiledShapes;
  #depth = 0;

  constructor(shapes: CompiledShapes, found: Findings, bytes: Uint8Array) {
    this.#shapes = shapes;
    this.found = found;
    this.bytes = bytes;
  }

  /** A node, a list of nodes, or nothing. */
  visit(value: unknown, place: Place): void {
    if (value === undefined || value === null) return;
    if (Array.isArray(value)) {
      for (const item of value) this.visit(item, place);
      return;
    }
    if (isFields(value) && Object.keys(value).length === 0) return; // an absent element of a list
    const node = nodeOf(value);
    if (node === null) return this.found.doubt("a part of the statement has an unknown form");
    this.enter(node.type, node.fields, place);
  }

  /** Fields of a node whose type is known. */
  enter(type: string, fields: unknown, place: Place): void {
    if (fields === undefined) return;
    const shape = this.#shapes.get(type);
    if (shape === undefined) {
      this.found.act("unknown");
      return this.found.doubt(`${type} is not known to the reader`);
    }
    if (!isFields(fields)) return this.found.doubt(`${type} has an unknown form`);
    if (this.#depth >= MAX_DEPTH) return this.found.doubt("nested too deeply");
    this.#depth++;
    for (const field in shape.opaque ? {} : fields) {
      const rule = shape.rules.get(field);
      if (rule === undefined) this.found.doubt(`${type}.${field} is not known to the reader`);
      else if (rule.kind === "walk") this.visit(fields[field], place);
      else if (rule.kind === "condition") this.visit(fields[field], conditionOf(place));
      else if (rule.kind === "enter") this.enter(rule.type, fields[field], place);
    }
    shape.run?.(this, fields, place);
    this.#depth--;
  }
}

export function conditionOf(place: Place): Place {
  return place.condition ? place : { ...place, condition: true };
}

export function inScope(scope: Scope | null, name: string): boolean {
  for (let s = scope; s !== null; s = s.outer) if (s.name === name) return true;
  return false;
}
