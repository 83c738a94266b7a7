/**
 * What a SQL text was understood to be: the seam between the session (which knows the wire) and the reader (which knows SQL).
 * Whatever the reader is not sure of makes the statement `complete: false`, and an operation with such a statement is denied unless a
 * policy allows exactly that.
 */
import type { Action } from "#contract/operation.ts";

export interface TableRef {
  readonly schema: string; // "" where the text names none: resolved by search_path, so a policy must not take it for "public"
  readonly name: string;
  readonly access: "read" | "write" | "admin";
}

/** What the statement does to the session's own state; the session follows it, or ends. */
export type SessionEffect =
  | { readonly kind: "begin"; readonly readWrite: boolean | null }
  | { readonly kind: "commit" }
  | { readonly kind: "rollback" }
  | { readonly kind: "savepoint" }
  | { readonly kind: "set"; readonly name: string; readonly value: string | null; readonly local: boolean }
  | { readonly kind: "prepare"; readonly name: string; readonly text: string }
  /** What it runs is known to the session only: without that it is not complete, whatever the statement says of itself. */
  | { readonly kind: "execute"; readonly name: string }
  | { readonly kind: "deallocate"; readonly name: string | null }
  | { readonly kind: "declare-cursor"; readonly name: string }
  /** FETCH and MOVE run a part of the cursor's statement. */
  | { readonly kind: "fetch"; readonly name: string }
  /** Null: all of them. */
  | { readonly kind: "close-cursor"; readonly name: string | null }
  | { readonly kind: "fetch"; readonly name: string }
  | { readonly kind: "close-cursor"; readonly name: string | null }
  | { readonly kind: "discard" }
  | { readonly kind: "listen" }
  | { readonly kind: "copy-in" }
  /** `format`: null: rows are written down in a way that nobody here knows. */
  | { readonly kind: "copy-out"; readonly format: CopyFormat | null };

/** How COPY writes rows down (manual: COPY, File Formats). One byte each for what separates and quotes; `nullText`: latin1 of its UTF-8. */
export type CopyFormat =
  | { readonly kind: "binary" }
  | { readonly kind: "text"; readonly delimiter: string; readonly nullText: string; readonly header: boolean }
  | {
      readonly kind: "csv";
      readonly delimiter: string;
      readonly nullText: string;
      readonly header: boolean;
      readonly quote: string;
      readonly escape: string;
    };

/** The reader's doubt about EXECUTE: the session, which has followed PREPARE, takes it away. FETCH is doubted by the session itself. */
export const KNOWN_TO_THE_SESSION = "what a prepared statement does is known to the session only";

/** One output column, as far as the text says: for masking. */
export interface OutputColumn {
  readonly name: string | null;
  /** The column it is a plain reference to; null: an expression, so its origin must not be trusted to RowDescription alone. */
  readonly reference: { readonly table: string | null; readonly column: string } | null;
  readonly star: boolean;
  /** Of an expression: all that it may read, names followed to their columns, "*" for whole rows. Absent: plain, or not known. */
  readonly columns?: readonly string[];
}

export interface Statement {
  /** Lower case: select, insert, update, delete, merge, truncate, create, alter, drop, grant, copy, set, show, begin, explain, do, call, … */
  readonly kind: string;
  readonly action: Action;
  readonly tables: readonly TableRef[];
  /** As written, lower case, with schema where given. */
  readonly functions: readonly string[];
  /** Column names that the text mentions anywhere, lower case as PostgreSQL folds them; "*" for a star. */
  readonly columns: readonly string[];
  /** Of those: what is given a value (INSERT, UPDATE, MERGE, COPY … FROM, at any depth); "*" where the text names none. */
  readonly writtenColumns: readonly string[];
  /** And what is read: mentioned anywhere else than as a target, or than in the RETURNING of the statement itself. */
  readonly readColumns: readonly string[];
  /** Columns in WHERE, ORDER BY, GROUP BY, HAVING, JOIN conditions: a masked one among them is a guessing oracle. */
  readonly conditionColumns: readonly string[];
  /** Columns that an output at any depth (also of a subquery, of VALUES, of RETURNING) is computed from: not plain, so its origin is lost. */
  readonly expressionColumns: readonly string[];
  readonly output: readonly OutputColumn[];
  readonly where: boolean;
  readonly limit: number | null;
  readonly effects: readonly SessionEffect[];
  readonly complete: boolean;
  /** Why not, for the record and the refusal. */
  readonly doubts: readonly string[];
  /** Byte range of this statement in the text (UTF-8), end exclusive. */
  readonly from: number;
  readonly to: number;
}

/**
 * What texts have in common that differ in the values of their literals only, where those values decide nothing. `kept`: whatever somebody
 * made of one of them that holds for all; `secrets`: which of the literals stand where secrets stand (redact.ts).
 */
export interface Shape {
  kept: object | null;
  secrets: readonly boolean[] | null | undefined;
}

/** `literals`: where they stand in this text: start, end, start, end, …; none: all texts of this shape are this one. */
export interface Alike {
  readonly shape: Shape;
  readonly literals: readonly number[];
}

export interface SqlReading {
  /** Null: the text is not remembered. */
  readonly alike: Alike | null;
  readonly statements: readonly Statement[];
  /** False also where the text could not be parsed at all; then there are no statements. */
  readonly complete: boolean;
  readonly doubts: readonly string[];
}

export interface SqlReader {
  /** Loads PostgreSQL's parser (once a process, on first use). Rejects when it cannot be loaded: then everything is refused. */
  load(): Promise<void>;
  readonly loaded: boolean;
  /** Synchronous; throws before `load` resolved. Cached. What takes too long to read is not parsed: `complete: false`. */
  read(text: string): SqlReading;
}
