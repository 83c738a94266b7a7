/**
 * The record in one SQLite file: `sidegate run`, and the collector's volume in a small cluster.
 *
 * Durability: WAL with `synchronous = FULL`, so a commit is on the disk (fsync) before it is acknowledged and a sender removes
 * its own copy; with NORMAL a power cut could lose what both had forgotten. Readers (`sidegate audit …`) open the same file
 * read-only while the collector writes. `secure_delete`: an erased detail is overwritten, not only unlinked.
 */
import { closeSync, existsSync, openSync, statSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Checkpoint } from "../checkpoint.ts";
import { foundBytes } from "../found-wire.ts";
import { nodeHash } from "../merkle.ts";
import type {
  Append,
  BootRow,
  CommitRow,
  Filter,
  Found,
  LogTip,
  RecordStore,
  Removal,
  RemovedTree,
  ScanRow,
  Usage,
} from "./port.ts";
import { APPLICATION_ID, SCHEMA, STEPS, VERSION } from "./schema.ts";
import { bytesOf, FOUND, findQuery, toFound } from "./sqlite-query.ts";
import { recordValues, toBoot, toScan } from "./sqlite-rows.ts";

export type SqliteMode = "write" | "read";

const BUSY_MS = 10_000;
/** Of checkpoints closer together than this only the newest is kept. */
const CHECKPOINT_EVERY_MS = 60_000;
/** Free pages that one step gives back: a step holds up those who write, and its log needs room. */
const VACUUM_PAGES = 1_000;

/** SQLite's primary result codes for a volume without room: SQLITE_FULL, and what a failing write of the log may say. */
const SQLITE_FULL = 13;
const SQLITE_IOERR = 10;

/** Whether the fault is the volume's: there is no room. */
export function isFull(fault: unknown): boolean {
  if (!(fault instanceof Error)) return false;
  const { errcode, code } = fault as { errcode?: unknown; code?: unknown };
  if (code === "ENOSPC" || code === "EDQUOT") return true;
  const primary = typeof errcode === "number" ? errcode % 256 : 0;
  return primary === SQLITE_FULL || (primary === SQLITE_IOERR && /full|space|quota/i.test(fault.message));
}

export class StoreFault extends Error {
  readonly code: "store_missing" | "store_foreign" | "store_old";
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
    if (owner === APPLICATION_ID && typeof version === "number" && version >= 1 && version < VERSION)
      throw new StoreFault("store_old", `${path} is of an older version; whoever writes to it carries it over first`);
    if (owner !== APPLICATION_ID || version !== VERSION)
      throw new StoreFault("store_foreign", `${path} is no record of this version`);
  } catch (fault) {
    db.close();
    throw fault;
  }
  return new SqliteStore(db, path);
}

function prepareFile(db: DatabaseSync): void {
  // Only a file without tables takes `auto_vacuum`; an older one keeps its free pages for itself.
  db.exec(
    "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;",
  );
  db.exec("BEGIN IMMEDIATE");
  const tables = db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.["n"];
  if (tables === 0) db.exec(SCHEMA);
  else if (db.prepare("PRAGMA application_id").get()?.["application_id"] === APPLICATION_ID) {
    const version = Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);
    for (const step of STEPS.slice(Math.max(0, version - 1))) db.exec(step);
  }
  db.exec("COMMIT");
}

class SqliteStore implements RecordStore {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  readonly #path: string;

  constructor(db: DatabaseSync, path: string) {
    this.#db = db;
    this.#path = path;
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
      if (stored && (change.erase.length > 0 || (change.remove ?? []).length > 0))
        this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
      return await Promise.resolve(stored);
    } catch (fault) {
      // A full volume ends the transaction by itself.
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw fault;
    }
  }

  #appendInside(change: Append): boolean {
    const size = this.#sql("SELECT size FROM log").get()?.["size"];
    const tip = this.#sql("SELECT last_seq FROM boots WHERE boot = ?").get(change.boot.boot)?.["last_seq"] ?? 0;
    if (size !== change.from.logSize || tip !== change.from.bootSeq) return false;
    if (change.key !== undefined) {
      if (this.#sql("SELECT seq FROM act_keys WHERE key = ?").get(change.key) !== undefined) return false;
      this.#sql("INSERT INTO act_keys VALUES (?,?)").run(change.key, change.boot.lastSeq);
    }
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
    for (const removal of change.remove ?? []) this.#remove(removal);
    this.#sql("UPDATE log SET size = ?, peaks = ?").run(change.log.size, change.log.peaks);
    this.#putCheckpoint(change.checkpoint);
    return true;
  }

  #remove({ boot, through, chain, whole }: Removal): void {
    const id = this.#sql("SELECT id FROM boots WHERE boot = ?").get(boot)?.["id"] ?? null;
    for (const row of this.#sql("SELECT idx, leaf FROM records WHERE boot = ? AND seq <= ?").iterate(id, through))
      this.#keepTree(Number(row["idx"]), bytesOf(row["leaf"] ?? null));
    for (const table of ["records", "details", "erased"] as const)
      this.#sql(`DELETE FROM ${table} WHERE boot = ? AND seq <= ?`).run(id, through);
    this.#sql("DELETE FROM commits WHERE boot = ? AND last_seq <= ?").run(id, through);
    // What came since it was planned stays.
    if (whole) this.#sql("DELETE FROM boots WHERE id = ? AND last_seq = ?").run(id, through);
    this.#sql("UPDATE boots SET base_seq = ?, base_chain = ? WHERE id = ?").run(through, chain, id);
  }

  /** Puts the leaf together with its neighbours as far as those are removed too. */
  #keepTree(at: number, leaf: Buffer): void {
    let [index, level, hash] = [at, 0, leaf];
    for (;;) {
      const size = 2 ** level;
      const left = index % (2 * size) === 0;
      const other = left ? index + size : index - size;
      const found = this.#sql("SELECT hash FROM removed WHERE idx = ? AND level = ?").get(other, level);
      if (found === undefined) break;
      this.#sql("DELETE FROM removed WHERE idx = ?").run(other);
      const sibling = bytesOf(found["hash"] ?? null);
      hash = left ? nodeHash(hash, sibling) : nodeHash(sibling, hash);
      index = Math.min(index, other);
      level++;
    }
    this.#sql("INSERT INTO removed VALUES (?,?,?)").run(index, level, hash);
  }

  #putBoot(b: BootRow): number {
    const row = this.#sql(
      `INSERT INTO boots (boot, subject, pod, first_at, seen_at, last_seq, chain, stopped, cluster) VALUES (?,?,?,?,?,?,?,?,?)
       ON CONFLICT (boot) DO UPDATE SET pod = excluded.pod, seen_at = excluded.seen_at, last_seq = excluded.last_seq,
         chain = excluded.chain, stopped = excluded.stopped RETURNING id`,
    ).get(b.boot, b.subject, b.pod, b.firstAt, b.seenAt, b.lastSeq, b.chain, b.stopped ? 1 : 0, b.cluster);
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
    const found: Found[] = [];
    let bytes = 0;
    for (const row of this.#sql(sql).iterate(...values)) {
      const one = toFound(row);
      found.push(one);
      bytes += foundBytes(one);
      if (bytes >= (filter.maxBytes ?? Number.POSITIVE_INFINITY)) break;
    }
    return await Promise.resolve(found);
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

  async removed(): Promise<readonly RemovedTree[]> {
    const rows = this.#sql("SELECT * FROM removed ORDER BY idx").all();
    return await Promise.resolve(
      rows.map((r) => ({ index: Number(r["idx"]), level: Number(r["level"]), hash: bytesOf(r["hash"] ?? null) })),
    );
  }

  async commitBefore(
    boot: string,
    t: number,
    { after, most }: { readonly after: number; readonly most: number },
  ): Promise<CommitRow | null> {
    const id = this.#sql("SELECT id FROM boots WHERE boot = ?").get(boot)?.["id"] ?? null;
    const next = this.#sql(
      "SELECT last_seq FROM commits WHERE boot = ? AND last_seq > ? ORDER BY last_seq LIMIT 1",
    ).get(id, after)?.["last_seq"];
    const end = Math.max(after + most, Number(next ?? 0));
    const young = this.#sql(
      "SELECT seq FROM records WHERE boot = ? AND seq > ? AND seq <= ? AND t >= ? ORDER BY seq LIMIT 1",
    ).get(id, after, end, t)?.["seq"];
    const row = this.#sql(
      "SELECT last_seq, hash FROM commits WHERE boot = ? AND last_seq > ? AND last_seq < ? ORDER BY last_seq DESC LIMIT 1",
    ).get(id, after, young ?? end + 1);
    if (row === undefined) return await Promise.resolve(null);
    return await Promise.resolve({ boot, lastSeq: Number(row["last_seq"]), hash: String(row["hash"]) });
  }

  async firstTime(boot: string): Promise<number | null> {
    const t = this.#sql(
      "SELECT t FROM records WHERE boot = (SELECT id FROM boots WHERE boot = ?) ORDER BY seq LIMIT 1",
    ).get(boot)?.["t"];
    return await Promise.resolve(typeof t === "number" ? t : null);
  }

  async count(boot: string, through: number, after = 0): Promise<number> {
    const row = this.#sql(
      "SELECT count(*) AS n FROM records WHERE boot = (SELECT id FROM boots WHERE boot = ?) AND seq > ? AND seq <= ?",
    ).get(boot, after, through);
    return await Promise.resolve(Number(row?.["n"] ?? 0));
  }

  async oldest(): Promise<number | null> {
    const t = this.#sql("SELECT t FROM records WHERE t > 0 ORDER BY idx LIMIT 1").get()?.["t"];
    return await Promise.resolve(typeof t === "number" ? t : null);
  }

  async act(key: string): Promise<number | null> {
    const seq = this.#sql("SELECT seq FROM act_keys WHERE key = ?").get(key)?.["seq"];
    return await Promise.resolve(typeof seq === "number" ? seq : null);
  }

  #pragma(name: string): number {
    return Number(Object.values(this.#sql(`PRAGMA ${name}`).get() ?? {})[0] ?? 0);
  }

  async usage(): Promise<Usage> {
    const size = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    const log = size(`${this.#path}-wal`);
    const liveBytes = (this.#pragma("page_count") - this.#pragma("freelist_count")) * this.#pragma("page_size");
    const fileBytes = size(this.#path) + log + size(`${this.#path}-shm`);
    return await Promise.resolve({ bytes: liveBytes + log, liveBytes, fileBytes });
  }

  async shrink(pause: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    for (let free = this.#pragma("freelist_count"); free > 0; ) {
      this.#db.exec(`PRAGMA incremental_vacuum(${VACUUM_PAGES}); PRAGMA wal_checkpoint(TRUNCATE);`);
      const left = this.#pragma("freelist_count");
      // An older file keeps them for itself.
      if (left >= free) break;
      free = left;
      await pause();
    }
    this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
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
