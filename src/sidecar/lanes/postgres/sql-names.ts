/**
 * Names that SQL itself gives: PREPARE and DECLARE. They are the server's own, so they cannot be replaced by names of ours; what they
 * stand for is followed here, so that EXECUTE and FETCH are judged by what they run.
 *
 * Fails towards "not known": after a statement that nobody understood, no name is taken for what it was before.
 */
import { utf8 } from "./codec/text.ts";
import { Names, type Prepared } from "./names.ts";
import type { ReadingState } from "./reading-state.ts";
import type { SessionEffect, SqlReader, Statement } from "./sql/reading.ts";

export interface Cursor {
  readonly statements: readonly Statement[];
  readonly complete: boolean;
  readonly doubts: readonly string[];
  readonly generation: number;
}

/** What a name stands for at some point of a session. Names are JavaScript text. */
export interface Scope {
  prepared(name: string): Prepared | null;
  cursor(name: string): Cursor | null;
}

export class SqlNames implements Scope {
  readonly #state: ReadingState;
  readonly #prepared: Names<Prepared>;
  readonly #cursors: Names<Cursor>;

  constructor(state: ReadingState) {
    const { statements, statementBytes, portals } = state.limits;
    this.#state = state;
    this.#prepared = new Names({ count: statements, bytes: statementBytes, weigh: ({ text }) => text.length });
    this.#cursors = new Names({ count: portals });
  }

  prepared(name: string): Prepared | null {
    return this.#current(this.#prepared.get(name));
  }

  cursor(name: string): Cursor | null {
    return this.#current(this.#cursors.get(name));
  }

  /** A statement with these effects has ended well. */
  done(effects: readonly SessionEffect[], statements: readonly Statement[]): void {
    for (const effect of effects)
      switch (effect.kind) {
        case "prepare":
          this.#prepared.set(effect.name, preparedBySql(effect, this.#state));
          break;
        case "deallocate":
          this.#prepared.drop((name) => effect.name === null || name === effect.name);
          break;
        case "declare-cursor":
          this.#cursors.set(effect.name, declared(statements, this.#state));
          break;
        case "close-cursor":
          this.#cursors.drop((name) => effect.name === null || name === effect.name);
          break;
        case "discard":
          this.#prepared.drop(() => true);
          this.#cursors.drop(() => true);
          break;
        default:
      }
  }

  /** CloseComplete of a name that PREPARE gave. */
  closed(name: string): void {
    this.#prepared.delete(name);
  }

  #current<V extends { readonly generation: number }>(found: V | undefined): V | null {
    return found === undefined || found.generation !== this.#state.generation ? null : found;
  }
}

/** The names as later statements of one Query will find them, if the earlier ones end well; if not, the later ones do not run. */
export class QueryScope implements Scope {
  readonly #outer: Scope;
  readonly #state: ReadingState;
  readonly #prepared = new Map<string, Prepared | null>();
  readonly #cursors = new Map<string, Cursor | null>();
  #forgotten = false;

  constructor(outer: Scope, state: ReadingState) {
    this.#outer = outer;
    this.#state = state;
  }

  prepared(name: string): Prepared | null {
    const own = this.#prepared.get(name);
    return own === undefined && !this.#forgotten ? this.#outer.prepared(name) : (own ?? null);
  }

  cursor(name: string): Cursor | null {
    const own = this.#cursors.get(name);
    return own === undefined && !this.#forgotten ? this.#outer.cursor(name) : (own ?? null);
  }

  /** `statements`: what the statement amounts to. `complete`: false: whatever it is, no name is known behind it. */
  follow(effects: readonly SessionEffect[], statements: readonly Statement[], complete: boolean): void {
    if (!complete) this.#forget();
    for (const effect of effects)
      switch (effect.kind) {
        case "prepare":
          this.#prepared.set(effect.name, preparedBySql(effect, this.#state));
          break;
        case "deallocate":
          if (effect.name === null) this.#forget();
          else this.#prepared.set(effect.name, null);
          break;
        case "declare-cursor":
          this.#cursors.set(effect.name, declared(statements, this.#state));
          break;
        case "close-cursor":
          if (effect.name === null) this.#forget();
          else this.#cursors.set(effect.name, null);
          break;
        case "discard":
          this.#forget();
          break;
        default:
      }
  }

  #forget(): void {
    this.#forgotten = true;
    this.#prepared.clear();
    this.#cursors.clear();
  }
}

function declared(statements: readonly Statement[], { generation }: ReadingState): Cursor {
  return {
    statements,
    complete: statements.every((s) => s.complete),
    doubts: statements.flatMap((s) => s.doubts),
    generation,
  };
}

function preparedBySql(effect: SessionEffect & { readonly kind: "prepare" }, state: ReadingState): Prepared {
  const sql: SqlReader = state.sql;
  const reading = sql.read(effect.text);
  return {
    upstream: utf8(effect.name),
    text: utf8(effect.text),
    types: "",
    reading,
    generation: state.generation,
    judged: null,
    bySql: true,
    question: null,
    written: null,
  };
}
