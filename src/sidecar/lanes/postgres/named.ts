/**
 * What the agent's names stand for now, by either way to give one: messages (Parse, Bind) and SQL (PREPARE, DECLARE).
 */
import type { Judge } from "#sidecar/seam/verdict.ts";
import type { Act } from "./act.ts";
import { fromUtf8, utf8 } from "./codec/text.ts";
import type { PostgresLimits } from "./limits.ts";
import { Names, type Portal, type Prepared } from "./names.ts";
import type { SqlNames } from "./sql-names.ts";

export class Named {
  readonly statements: Names<Prepared>;
  readonly portals: Names<Portal<Act>>;
  readonly #sqlNames: SqlNames;
  readonly #judge: Judge;

  constructor(limits: PostgresLimits, sqlNames: SqlNames, judge: Judge) {
    const { statements, statementBytes, portals } = limits;
    this.#sqlNames = sqlNames;
    this.#judge = judge;
    this.statements = new Names({
      count: statements,
      bytes: statementBytes,
      weigh: ({ text, types }) => text.length + types.length,
    });
    this.portals = new Names({ count: portals, bytes: statementBytes, weigh: ({ rest }) => rest?.length ?? 0 });
  }

  /** By either kind of name; null: nothing is known by it. */
  find(name: string): Prepared | null {
    const own = this.statements.get(name);
    if (own !== undefined || name === "") return own ?? null;
    const text = fromUtf8(name);
    return text === null ? null : this.#sqlNames.prepared(text);
  }

  /** A cursor that DECLARE made is a portal, too: clients describe it by its own name before they FETCH. Null: it is not known. */
  cursor(name: string): string | null {
    const text = fromUtf8(name);
    return text !== null && this.#sqlNames.cursor(text) !== null ? name : null;
  }

  /** Our name upstream for a statement that the agent has prepared by a message. `name`: as SQL has it. */
  renamed(name: string): string | null {
    return this.statements.get(utf8(name))?.upstream ?? null;
  }

  /** Acts that stopped at a row limit. */
  *suspended(): Iterable<Act> {
    for (const portal of this.portals.values()) if (portal.act !== null) yield portal.act;
  }

  /** A portal that stopped at its row limit will not be gone on with. */
  leave(name: string): void {
    const portal = this.portals.get(name);
    if (portal === undefined || portal.act === null) return;
    portal.act.finish(this.#judge, "suspended");
    portal.act = null;
  }

  /** Their transaction has ended. */
  dropPortals(): void {
    this.portals.drop((name) => {
      this.leave(name);
      return true;
    });
  }

  /** The server drops the unnamed ones with every Query. */
  dropUnnamed(): void {
    this.statements.delete("");
    this.leave("");
    this.portals.delete("");
  }

  /** DEALLOCATE has taken one, or all that have a name. */
  deallocated(name: string | null): void {
    if (name === null) this.statements.drop((other) => other !== "");
    else this.statements.delete(utf8(name));
  }
}
