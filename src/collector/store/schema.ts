/** The SQLite store's tables. A change here raises VERSION and brings a step that carries an older file over. */
export const VERSION = 1;
/** "SGAT": tells other programs, and us, whose file it is. */
export const APPLICATION_ID = 0x53_47_41_54;

export const SCHEMA = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE boots (
  id INTEGER PRIMARY KEY, boot TEXT NOT NULL UNIQUE, subject TEXT NOT NULL, pod TEXT NOT NULL,
  first_at INTEGER NOT NULL, seen_at INTEGER NOT NULL, last_seq INTEGER NOT NULL, chain TEXT NOT NULL, stopped INTEGER NOT NULL
);
CREATE TABLE records (
  idx INTEGER PRIMARY KEY, boot INTEGER NOT NULL, seq INTEGER NOT NULL, t INTEGER NOT NULL, kind TEXT NOT NULL,
  session INTEGER, op INTEGER, verdict TEXT, protocol TEXT, target TEXT, host TEXT, code TEXT, run TEXT,
  core NOT NULL, leaf BLOB NOT NULL
);
CREATE UNIQUE INDEX records_seq ON records (boot, seq);
CREATE INDEX records_op ON records (boot, op) WHERE op IS NOT NULL;
CREATE INDEX records_denied ON records (idx) WHERE verdict = 'deny';
CREATE TABLE details (boot INTEGER NOT NULL, seq INTEGER NOT NULL, salt TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (boot, seq)) WITHOUT ROWID;
CREATE TABLE erased (boot INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (boot, seq)) WITHOUT ROWID;
CREATE TABLE commits (boot INTEGER NOT NULL, last_seq INTEGER NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (boot, last_seq)) WITHOUT ROWID;
CREATE TABLE log (id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, peaks BLOB NOT NULL);
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, root BLOB NOT NULL, at INTEGER NOT NULL, signature BLOB NOT NULL);
INSERT INTO log VALUES (1, 0, x'');
PRAGMA application_id = ${APPLICATION_ID};
PRAGMA user_version = ${VERSION};
`;
