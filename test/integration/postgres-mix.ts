/**
 * A mix of statements in all the ways that the protocol has, for comparing answers byte by byte. Each step is sent at once and
 * answered by so many ReadyForQuery.
 */
import { say } from "./postgres-wire.ts";

export interface MixStep {
  readonly name: string;
  readonly bytes: string;
  readonly readies?: number;
  /** Sent when the first part was answered up to a CopyInResponse. */
  readonly copy?: string;
  /** The error is said by us in the server's place: the same but for where in the server's source it arose. */
  readonly ours?: boolean;
}

export const SETUP = `
  create table items (id int primary key, name text, price numeric, made timestamptz, raw bytea);
  insert into items select g, 'item ' || g, g * 1.5, '2026-01-01'::timestamptz + g * interval '1 hour', ('\\x' || lpad(to_hex(g), 4, '0'))::bytea from generate_series(1, 50) g;
  create table parent (id int primary key);
  create table child (id int, parent int references parent (id) deferrable initially deferred);
  create table notes (id serial, t text);
`;

export const MIX: readonly MixStep[] = [
  { name: "a select", bytes: say.query("select * from items order by id limit 3") },
  { name: "no rows", bytes: say.query("select name from items where id < 0") },
  { name: "an empty query", bytes: say.query("") },
  { name: "a comment only", bytes: say.query("-- ping") },
  { name: "several statements", bytes: say.query("select 1; select 'a' as x; select null, true") },
  { name: "an error in the middle", bytes: say.query("select 1; select 1/0; select 2") },
  { name: "an unknown table", bytes: say.query("select * from nowhere") },
  { name: "an unknown column, with its position", bytes: say.query("select id, nonesuch from items") },
  { name: "a notice", bytes: say.query("drop table if exists nowhere") },
  { name: "insert with returning", bytes: say.query("insert into notes (t) values ('ü'), (null) returning id, t") },
  { name: "update", bytes: say.query("update items set price = price + 1 where id <= 3") },
  { name: "begin", bytes: say.query("begin") },
  { name: "an error in a transaction", bytes: say.query("select 1/0") },
  { name: "in a failed transaction", bytes: say.query("select 1") },
  { name: "rollback", bytes: say.query("rollback") },
  { name: "rollback without a transaction", bytes: say.query("rollback") },
  {
    name: "savepoints",
    bytes: say.query("begin; savepoint a; insert into notes (t) values ('s'); rollback to a; commit"),
  },
  { name: "settings", bytes: say.query("set application_name = 'mix'; show application_name; reset application_name") },
  { name: "set in a transaction that rolls back", bytes: say.query("begin; set datestyle = 'German'; rollback") },
  { name: "extended, unnamed", bytes: say.extended("select $1::int + 1, $2::text", ["41", "it''s"]) },
  { name: "extended, null and empty", bytes: say.extended("select $1::text, $2::text", [null, ""]) },
  { name: "extended, empty", bytes: say.extended("") },
  { name: "extended, parse error", bytes: say.extended("select * from nowhere") },
  { name: "extended, bad parameter", bytes: say.extended("select $1::int", ["x"]) },
  { name: "extended, wrong count", bytes: say.extended("select $1::int", []) },
  {
    name: "binary results",
    bytes:
      say.parse("", "select id, price, made, raw, name from items where id = $1", [23]) +
      say.bind("", "", ["7"], true) +
      say.describe("P", "") +
      say.execute() +
      say.sync,
  },
  {
    name: "a named statement, prepared and described",
    bytes: say.parse("one", "select name from items where id = $1") + say.describe("S", "one") + say.sync,
  },
  { name: "the same, run", bytes: say.bind("", "one", ["3"]) + say.execute() + say.sync },
  {
    name: "twice in one batch",
    bytes: say.bind("", "one", ["4"]) + say.execute() + say.bind("", "one", ["5"]) + say.execute() + say.sync,
  },
  { name: "parsed again", bytes: say.parse("one", "select 2") + say.sync, ours: true },
  { name: "an unknown statement", bytes: say.bind("", "two") + say.execute() + say.sync, ours: true },
  { name: "an unknown statement, described", bytes: say.describe("S", "two") + say.sync, ours: true },
  { name: "an unknown portal", bytes: say.execute("none") + say.sync, ours: true },
  { name: "an unknown portal, described", bytes: say.describe("P", "none") + say.sync, ours: true },
  { name: "closed", bytes: say.close("S", "one") + say.close("S", "one") + say.sync },
  { name: "run when it is closed", bytes: say.bind("", "one", ["3"]) + say.execute() + say.sync, ours: true },
  { name: "several commands in a Parse", bytes: say.parse("", "select 1; select 2") + say.sync, ours: true },
  {
    name: "a portal by rows",
    bytes:
      say.query("begin") +
      say.parse("", "select id from items order by id") +
      say.bind("p", "") +
      say.execute("p", 2) +
      say.execute("p", 2) +
      say.flush +
      say.execute("p", 0) +
      say.close("P", "p") +
      say.sync +
      say.query("commit"),
    readies: 3,
  },
  {
    name: "a portal that is gone with its transaction",
    bytes: say.parse("", "select 1") + say.bind("q", "") + say.sync + say.execute("q") + say.sync,
    readies: 2,
    ours: true,
  },
  {
    name: "an error skips up to Sync",
    bytes:
      say.parse("", "select 1/$1::int") +
      say.bind("", "", ["0"]) +
      say.execute() +
      say.parse("skipped", "select 1") +
      say.bind("", "skipped") +
      say.execute() +
      say.sync,
  },
  { name: "what was skipped does not exist", bytes: say.bind("", "skipped") + say.execute() + say.sync, ours: true },
  {
    name: "a batch is one transaction",
    bytes:
      say.parse("", "insert into notes (t) values ('gone')") +
      say.bind("", "") +
      say.execute() +
      say.parse("", "select 1/0") +
      say.bind("", "") +
      say.execute() +
      say.sync +
      say.query("select count(*) from notes where t = 'gone'"),
    readies: 2,
  },
  {
    name: "a constraint that fails with Sync",
    bytes: say.parse("", "insert into child values (1, 99)") + say.bind("", "") + say.execute() + say.sync,
  },
  { name: "a constraint that fails with commit", bytes: say.query("begin; insert into child values (1, 99); commit") },
  {
    name: "pipelined batches",
    bytes: say.extended("select 1") + say.extended("select 2/$1::int", ["0"]) + say.extended("select 3"),
    readies: 3,
  },
  {
    name: "pipelined queries",
    bytes: say.query("select 1") + say.query("select 1/0") + say.query("select 3"),
    readies: 3,
  },
  { name: "copy out", bytes: say.query("copy (select id, name from items order by id limit 5) to stdout") },
  {
    name: "copy out, binary",
    bytes: say.query("copy (select id, raw from items order by id limit 5) to stdout (format binary)"),
  },
  {
    name: "copy in",
    bytes: say.query("copy notes (t) from stdin"),
    copy: say.copyData("one\ntwo\n") + say.copyData("th") + say.copyData("ree\n") + say.copyDone,
  },
  {
    name: "copy in, failed by the client",
    bytes: say.query("copy notes (t) from stdin"),
    copy: say.copyData("x\n") + say.copyFail("enough"),
  },
  {
    name: "copy in, failed by the server",
    bytes: say.query("copy items (id) from stdin"),
    copy: say.copyData("no number\n") + say.copyDone,
  },
  {
    name: "copy in, extended",
    bytes: say.parse("", "copy notes (t) from stdin") + say.bind("", "") + say.execute() + say.sync,
    copy: say.copyData("four\n") + say.copyDone + say.sync,
  },
  { name: "what came of it", bytes: say.query("select t from notes order by id") },
  {
    name: "a cursor in SQL",
    bytes: say.query(
      "begin; declare c cursor for select id from items order by id; fetch 2 from c; move 3 in c; fetch 1 from c; close c; commit",
    ),
  },
  {
    name: "prepare and execute in SQL",
    bytes: say.query("prepare pq (int) as select name from items where id = $1; execute pq (2)"),
  },
  { name: "execute again", bytes: say.query("execute pq (3)") },
  { name: "bound by its SQL name", bytes: say.bind("", "pq", ["4"]) + say.execute() + say.sync },
  { name: "deallocate", bytes: say.query("deallocate pq") },
  { name: "listen and notify", bytes: say.query("listen chan; unlisten chan") },
  { name: "explain", bytes: say.query("explain (costs off) select * from items where id = 1") },
  {
    name: "many columns and a long value",
    bytes: say.query(
      `select ${Array.from({ length: 200 }, (_, i) => `${i} as c${i}`).join(", ")}, repeat('x', 100000)`,
    ),
  },
  { name: "many rows", bytes: say.query("select g, repeat('y', 50) from generate_series(1, 5000) g") },
  {
    name: "deallocate all",
    bytes:
      say.parse("d", "select 1") +
      say.sync +
      say.query("deallocate all") +
      say.bind("", "d") +
      say.execute() +
      say.sync,
    readies: 3,
    ours: true,
  },
  { name: "discard all", bytes: say.query("discard all") },
];
