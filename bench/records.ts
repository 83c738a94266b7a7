/** Compares the record with what was sent: the bench measures nothing that was not really judged and really recorded. */
import { DatabaseSync } from "node:sqlite";

export interface Sent {
  /** Requests that the load generator got an answer to. */
  readonly answered: number;
  /** Requests that the upstream saw. */
  readonly arrived: number;
  /** Connections that were cut off at the end of a round, each with one request under way at most. */
  readonly cut: number;
}

export interface Recorded {
  readonly asked: number;
  readonly answered: number;
  readonly denied: number;
  readonly bytes: number;
}

/** Throws where the two disagree. */
export function compareRecords(database: string, sent: Sent): Recorded {
  const db = new DatabaseSync(database, { readOnly: true });
  try {
    const one = (sql: string): number => (db.prepare(sql).get() as { n: number | null } | undefined)?.n ?? 0;
    const asked = one(
      `SELECT count(*) n FROM records WHERE kind='op' AND verdict='allow' AND instr(core, '"phase":"ask"')`,
    );
    // wrk opens one connection more than it uses, to see whether anybody is there.
    const denied = one(
      `SELECT count(*) n FROM records WHERE kind='op' AND verdict='deny' AND NOT instr(core, '"code":"protocol_unknown"')`,
    );
    const answered = one(`SELECT count(*) n FROM records WHERE kind='end' AND instr(core, '"status":"200"')`);
    const unended = one(
      "SELECT count(*) n FROM records o WHERE kind='op' AND verdict='allow' AND (SELECT count(*) FROM records e WHERE e.boot=o.boot AND e.op=o.seq) != 1",
    );
    const bytes = one("SELECT sum(length(core)) n FROM records") + one("SELECT sum(length(text)) n FROM details");
    const wrong: string[] = [];
    if (denied > 0) wrong.push(`${denied} operations were denied`);
    if (unended > 0) wrong.push(`${unended} operations have no outcome, or two`);
    if (asked < sent.arrived) wrong.push(`${sent.arrived} requests reached the upstream, ${asked} are on record`);
    if (asked > sent.arrived + sent.cut)
      wrong.push(`${asked} requests are on record, ${sent.arrived} reached the upstream`);
    if (answered < sent.answered || answered > sent.answered + sent.cut)
      wrong.push(`${sent.answered} answers were received, ${answered} are on record`);
    if (wrong.length > 0) throw new Error(`the record is not what happened: ${wrong.join("; ")}`);
    return { asked, answered, denied, bytes };
  } finally {
    db.close();
  }
}

export interface SentStatements {
  /** Transactions that pgbench counted: one statement each. */
  readonly transactions: number;
  /** Clients that prepare it, if they come to it before their time is up. */
  readonly prepared: number;
  /** Each run asks twice for its tables first. */
  readonly runs: number;
}

/** As `compareRecords`, for statements: exact, for pgbench waits for every answer. Throws where the two disagree. */
export function compareStatements(database: string, sent: SentStatements): Recorded {
  const db = new DatabaseSync(database, { readOnly: true });
  try {
    const one = (sql: string): number => (db.prepare(sql).get() as { n: number | null } | undefined)?.n ?? 0;
    const asked = one(
      `SELECT count(*) n FROM records WHERE kind='op' AND verdict='allow' AND instr(core, '"phase":"ask"')`,
    );
    const denied = one("SELECT count(*) n FROM records WHERE kind='op' AND verdict='deny'");
    const answered = one(`SELECT count(*) n FROM records WHERE kind='end' AND instr(core, '"status":"SELECT 1"')`);
    const prepared = one(`SELECT count(*) n FROM records WHERE kind='end' AND instr(core, '"status":"prepared"')`);
    const unended = one(
      "SELECT count(*) n FROM records o WHERE kind='op' AND verdict='allow' AND (SELECT count(*) FROM records e WHERE e.boot=o.boot AND e.op=o.seq) != 1",
    );
    const bytes = one("SELECT sum(length(core)) n FROM records") + one("SELECT sum(length(text)) n FROM details");
    const wrong: string[] = [];
    const expected = sent.transactions + 2 * sent.runs;
    if (denied > 0) wrong.push(`${denied} statements were denied`);
    if (unended > 0) wrong.push(`${unended} statements have no outcome, or two`);
    if (answered !== expected) wrong.push(`${expected} statements were answered, ${answered} are on record`);
    if (prepared > sent.prepared) wrong.push(`${sent.prepared} were prepared, ${prepared} are on record`);
    if (asked !== expected + prepared) wrong.push(`${expected + prepared} were sent, ${asked} are on record`);
    if (wrong.length > 0) throw new Error(`the record is not what happened: ${wrong.join("; ")}`);
    return { asked, answered, denied, bytes };
  } finally {
    db.close();
  }
}
