/**
 * The record in one SQLite file: `sidegate run`, and the collector's volume in a small cluster.
 *
 * Durability: WAL with `synchronous = FULL`, so a commit is on the disk (fsync) before it is acknowledged and a sender removes
 * its own copy; with NORMAL a power cut could lose what both had forgotten. Readers (`sidegate audit …`) open the same file
 * read-only while the collector writes. `secure_delete`: an erased detail is overwritten, not only unlinked.
 */
import { closeSync, existsSync, openSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Checkpoint } from "../checkpoint.ts";
import type { Append, BootRow, CommitRow, Filter, Found, LogTip, RecordStore, ScanRow } from "./port.ts";
import { APPLICATION_ID, SCHEMA, VERSION } from "./schema.ts";
import { bytesOf, FOUND, findQuery, toFound } from "./sqlite-query.ts";
import { recordValues, toBoot, toScan } from "./sqlite-rows.ts";

export type SqliteMode = "write" | "read";

const BUSY_MS = 10_000;
/** Of checkpoints closer together than this only the newest is kept. */
const CHECKPOINT_EVERY_MS = 60_000;

export class StoreFault extends Error {
  readonly code: "store_missing" | "store_foreign";
  constructor(code: StoreFault["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** Opens the file at `path`, or (mode "write") makes it, readable by its owner only. Throws StoreFault, or SQLite's own error. */
export function openSqlite(path: string, mode: SqliteMode): RecordStore {
  if (mode === "read" && !existsSync(path)) throw new StoreFault("store_missing", `there is no record at ${path}`);
  // SQLite gives its -wal and -shm files the mode of the main one.
  if (mode === "write") closeSync(openSync(path, "a", 0o600));
  const db = new DatabaseSync(path, { readOnly: mode === "read", timeout: BUSY_MS });
  try {
    if (mode === "write") prepareFile(db);
    const owner = db.prepare("PRAGMA application_id").get()?.["application_id"];
    const version = db.prepare("PRAGMA user_version").get()?.["user_version"];
    if (owner !== APPLICATION_ID || version !== VERSION)
      throw new StoreFault("store_foreign", `${path} is no record of this version`);
  } catch (fault) {
    db.close();
    throw fault;
  }
  return new SqliteStore(db);
}

function prepareFile(db: DatabaseSync): void {
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;");
  db.exec("BEGIN IMMEDIATE");
  const tables = db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.["n"];
  if (tables === 0) db.exec(SCHEMA);
  db.exec("COMMIT");
}

class SqliteStore implements RecordStore {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  #sql(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#db.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }

  async boot(boot: string): Promise<BootRow | null> {
    const row = this.#sql("SELECT * FROM boots WHERE boot = ?").get(boot);
    return await Promise.resolve(row === undefined ? null : toBoot(row));
  }

  async boots(): Promise<readonly BootRow[]> {
    return await Promise.resolve(this.#sql("SELECT * FROM boots ORDER BY id").all().map(toBoot));
  }

  async log(): Promise<LogTip> {
    const row = this.#sql("SELECT size, peaks FROM log").get();
    return await Promise.resolve({ size: Number(row?.["size"] ?? 0), peaks: bytesOf(row?.["peaks"] ?? null) });
  }

  async append(change: Append): Promise<boolean> {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      const stored = this.#appendInside(change);
      this.#db.exec(stored ? "COMMIT" : "ROLLBACK");
      if (stored && change.erase.length > 0) this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
      return await Promise.resolve(stored);
    } catch (fault) {
      this.#db.exec("ROLLBACK");
      throw fault;
    }
  }

  #appendInside(change: Append): boolean {
    const size = this.#sql("SELECT size FROM log").get()?.["size"];
    const tip = this.#sql("SELECT last_seq FROM boots WHERE boot = ?").get(change.boot.boot)?.["last_seq"] ?? 0;
    if (size !== change.from.logSize || tip !== change.from.bootSeq) return false;
    const boot = this.#putBoot(change.boot);
    let index = change.from.logSize;
    const insert = this.#sql("INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
    for (const r of change.records) insert.run(...recordValues(index++, boot, r));
    const detail = this.#sql("INSERT INTO details VALUES (?,?,?,?)");
    for (const d of change.details) detail.run(boot, d.seq, d.salt, d.text);
    const commit = this.#sql("INSERT INTO commits VALUES (?,?,?)");
    for (const c of change.commits) commit.run(boot, c.lastSeq, c.hash);
    for (const e of change.erase) {
      this.#sql("DELETE FROM details WHERE boot = (SELECT id FROM boots WHERE boot = ?) AND seq = ?").run(
        e.boot,
        e.seq,
      );
      this.#sql("INSERT OR IGNORE INTO erased SELECT id, ? FROM boots WHERE boot = ?").run(e.seq, e.boot);
    }
    this.#sql("UPDATE log SET size = ?, peaks = ?").run(change.log.size, change.log.peaks);
    this.#putCheckpoint(change.checkpoint);
    return true;
  }

  #putBoot(b: BootRow): number {
    const row = this.#sql(
      `INSERT INTO boots (boot, subject, pod, first_at, seen_at, last_seq, chain, stopped) VALUES (?,?,?,?,?,?,?,?)
       ON CONFLICT (boot) DO UPDATE SET pod = excluded.pod, seen_at = excluded.seen_at, last_seq = excluded.last_seq,
         chain = excluded.chain, stopped = excluded.stopped RETURNING id`,
    ).get(b.boot, b.subject, b.pod, b.firstAt, b.seenAt, b.lastSeq, b.chain, b.stopped ? 1 : 0);
    return Number(row?.["id"]);
  }

  #putCheckpoint(c: Checkpoint): void {
    const [newest, before] = this.#sql("SELECT size, at FROM checkpoints ORDER BY size DESC LIMIT 2").all();
    if (
      newest !== undefined &&
      before !== undefined &&
      Number(newest["at"]) - Number(before["at"]) < CHECKPOINT_EVERY_MS
    )
      this.#sql("DELETE FROM checkpoints WHERE size = ?").run(newest["size"] ?? 0);
    this.#sql("INSERT OR REPLACE INTO checkpoints VALUES (?,?,?,?)").run(c.size, c.root, c.at, c.signature);
  }

  async seen(boot: string, atMs: number): Promise<void> {
    this.#sql("UPDATE boots SET seen_at = ? WHERE boot = ?").run(atMs, boot);
    await Promise.resolve();
  }

  async publicKey(): Promise<string | null> {
    const value = this.#sql("SELECT value FROM meta WHERE key = 'public_key'").get()?.["value"];
    return await Promise.resolve(typeof value === "string" ? value : null);
  }

  async setPublicKey(pem: string): Promise<void> {
    this.#sql("INSERT OR IGNORE INTO meta VALUES ('public_key', ?)").run(pem);
    await Promise.resolve();
  }

  async find(filter: Filter): Promise<readonly Found[]> {
    const { sql, values } = findQuery(filter);
    return await Promise.resolve(
      this.#sql(sql)
        .all(...values)
        .map(toFound),
    );
  }

  async get(boot: string, seq: number): Promise<Found | null> {
    const row = this.#sql(`${FOUND} WHERE b.boot = ? AND r.seq = ?`).get(boot, seq);
    return await Promise.resolve(row === undefined ? null : toFound(row));
  }

  async scan(from: number, limit: number): Promise<readonly ScanRow[]> {
    const rows = this.#sql(
      `SELECT r.*, b.boot AS name, d.salt, d.text, e.seq AS erased FROM records r JOIN boots b ON b.id = r.boot
       LEFT JOIN details d ON d.boot = r.boot AND d.seq = r.seq LEFT JOIN erased e ON e.boot = r.boot AND e.seq = r.seq
       WHERE r.idx >= ? ORDER BY r.idx LIMIT ?`,
    ).all(from, limit);
    return await Promise.resolve(rows.map(toScan));
  }

  async commits(boot: string): Promise<readonly CommitRow[]> {
    const rows = this.#sql(
      "SELECT last_seq, hash FROM commits WHERE boot = (SELECT id FROM boots WHERE boot = ?) ORDER BY last_seq",
    ).all(boot);
    return await Promise.resolve(rows.map((r) => ({ boot, lastSeq: Number(r["last_seq"]), hash: String(r["hash"]) })));
  }

  async checkpoints(): Promise<readonly Checkpoint[]> {
    const rows = this.#sql("SELECT * FROM checkpoints ORDER BY size").all();
    return await Promise.resolve(
      rows.map((r) => ({
        size: Number(r["size"]),
        root: bytesOf(r["root"] ?? null),
        at: Number(r["at"]),
        signature: bytesOf(r["signature"] ?? null),
      })),
    );
  }

  async consistent<T>(work: () => Promise<T>): Promise<T> {
    if (this.#db.isTransaction) return await work();
    this.#db.exec("BEGIN");
    try {
      return await work();
    } finally {
      this.#db.exec("COMMIT");
    }
  }

  async close(): Promise<void> {
    if (this.#db.isOpen) this.#db.close();
    await Promise.resolve();
  }
}
