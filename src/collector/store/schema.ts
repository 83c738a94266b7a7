/** The SQLite store's tables. A change here raises VERSION and brings a step that carries an older file over. */
export const VERSION = 2;
/** "SGAT": tells other programs, and us, whose file it is. */
export const APPLICATION_ID = 0x53_47_41_54;

/**
 * What retention removed leaves the Merkle tree whole: `removed` holds the roots of full subtrees (2^level leaves from place idx on),
 * put together as far as they go, so that a long removed stretch is a handful of rows. A boot's lines up to `base_seq` are gone, and
 * its chain goes on from `base_chain`.
 */
const SECOND = `
CREATE TABLE removed (idx INTEGER PRIMARY KEY, level INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE TABLE act_keys (key TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
`;

export const SCHEMA = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE boots (
  id INTEGER PRIMARY KEY, boot TEXT NOT NULL UNIQUE, subject TEXT NOT NULL, pod TEXT NOT NULL,
  first_at INTEGER NOT NULL, seen_at INTEGER NOT NULL, last_seq INTEGER NOT NULL, chain TEXT NOT NULL, stopped INTEGER NOT NULL,
  cluster TEXT NOT NULL DEFAULT '', base_seq INTEGER NOT NULL DEFAULT 0, base_chain TEXT NOT NULL DEFAULT ''
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
${SECOND}
PRAGMA application_id = ${APPLICATION_ID};
PRAGMA user_version = ${VERSION};
`;

/** Index 0: from version 1 to 2, and so on. */
export const STEPS: readonly string[] = [
  `ALTER TABLE boots ADD COLUMN cluster TEXT NOT NULL DEFAULT '';
ALTER TABLE boots ADD COLUMN base_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE boots ADD COLUMN base_chain TEXT NOT NULL DEFAULT '';
${SECOND}
PRAGMA user_version = 2;`,
];
