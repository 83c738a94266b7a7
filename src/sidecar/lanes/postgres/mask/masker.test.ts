/** Row Q9 of the threat model, as far as it needs no server: what is masked, and what is not sent because it could not be. */
import { beforeAll, describe, expect, test, vi } from "vitest";
import type { MaskRule } from "#contract/decision.ts";
import { createTokens } from "#mask/tokens.ts";
import type { Field } from "../codec/backend.ts";
import type { MaskedAct, RowMasker, SessionMasker } from "../masking.ts";
import { readParserFile } from "../sql/parser-file.ts";
import { createSqlReader } from "../sql/reader.ts";
import { createRowMasker } from "./masker.ts";

const reader = createSqlReader({ parserFile: readParserFile });
beforeAll(() => reader.load());

const MASKS: readonly MaskRule[] = [{ selector: "public.users.email", with: "token" }];
/** As `question.ts` would be answered: users(id, name, email, lowered), its child, a view that shows email as contact. */
const ROWS: readonly (readonly string[])[] = [
  ["100", "public", "users", "1", "id", "23", "-"],
  ["100", "public", "users", "2", "name", "25", "-"],
  ["100", "public", "users", "3", "email", "25", "-"],
  ["100", "public", "users", "3", "email", "25", "0"],
  ["100", "public", "users", "4", "lowered", "25", "g"],
  ["101", "public", "users_old", "3", "email", "25", "0"],
  ["102", "public", "contacts", "1", "id", "23", "v"],
  ["102", "public", "contacts", "2", "contact", "25", "v"],
];

/** Nothing was made since. */
const NEWEST = ["200", "", "", "1", "", "1", "n"];

const PLACE = { target: "db", database: "app", user: "app" };

class World {
  nowMs = 0;
  readonly masks: readonly MaskRule[];
  readonly room: RowMasker;
  readonly session: SessionMasker;

  constructor(masks: readonly MaskRule[] = MASKS, rows: readonly (readonly (string | null)[])[] | null = ROWS) {
    this.masks = masks;
    const clock = { wallMs: () => 0, elapsedMs: () => this.nowMs };
    this.room = createRowMasker({ tokens: createTokens(Buffer.alloc(32, 7)), clock });
    this.session = this.room.open(PLACE);
    if (rows !== null) this.session.learn(this.masks, [...rows, NEWEST]);
  }

  act(text: string): MaskedAct {
    return { masks: this.masks, statements: reader.read(text).statements };
  }

  objection(text: string, changed = false): string | null {
    return this.session.objection(this.act(text), changed)?.why ?? null;
  }

  /** What an agent reads of one row in text format; null where the result must not be shown. */
  shows(text: string, fields: readonly Partial<Field>[], values: readonly (string | null)[]): unknown {
    const act = this.act(text);
    const mask = this.session.result(act, act.statements[0] ?? null, fields.map(field));
    if (typeof mask === "string") return mask;
    return mask === null ? values : valuesOf(mask.row(row(values)));
  }
}

function field(over: Partial<Field>): Field {
  return { name: "x", table: 0, column: 0, type: 25, size: -1, modifier: -1, format: 0, ...over };
}

function row(values: readonly (string | Buffer | null)[]): Buffer {
  const parts = [Buffer.from([values.length >> 8, values.length & 255])];
  for (const value of values) {
    const bytes = value === null ? null : Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeInt32BE(bytes?.length ?? -1);
    parts.push(length, ...(bytes === null ? [] : [bytes]));
  }
  return Buffer.concat(parts);
}

function valuesOf(body: Uint8Array): (string | null)[] {
  const bytes = Buffer.from(body);
  const out: (string | null)[] = [];
  let at = 2;
  for (let i = bytes.readInt16BE(0); i > 0; i--) {
    const length = bytes.readInt32BE(at);
    out.push(length < 0 ? null : bytes.toString("latin1", at + 4, at + 4 + length));
    at += 4 + Math.max(0, length);
  }
  expect(at).toBe(bytes.length);
  return out;
}

const TOKEN = /^tok_email_[0-9a-z]{16}$/;
const EMAIL = { name: "email", table: 100, column: 3 };

describe("by origin", () => {
  test("a column is a token under any alias, equal for equal values; NULL stays, others are untouched", () => {
    const w = new World();
    const shown = w.shows(
      "SELECT id, email AS e, email FROM users",
      [{ table: 100, column: 1 }, { ...EMAIL, name: "email" }, EMAIL],
      ["7", "ada@example.com", "ada@example.com"],
    ) as string[];
    expect(shown[0]).toBe("7");
    expect(shown[1]).toMatch(TOKEN);
    expect(shown[2]).toBe(shown[1]);
    expect(w.shows("SELECT email FROM users", [EMAIL], [null])).toEqual([null]);
    expect(w.shows("SELECT id FROM users", [{ table: 100, column: 1 }], ["7"])).toEqual(["7"]);
  });

  test("the text by which the rules are known is made once, not for each column of each result", () => {
    const w = new World();
    const fields = Array.from({ length: 500 }, () => EMAIL);
    const made = vi.spyOn(JSON, "stringify");
    try {
      w.shows(
        "SELECT email FROM users",
        fields,
        Array.from({ length: 500 }, () => null),
      );
      expect(made).not.toHaveBeenCalled();
    } finally {
      made.mockRestore();
    }
  });

  test("so are children, generated columns, views that read it, and whole rows", () => {
    const w = new World();
    const shown = (text: string, over: Partial<Field>): unknown => w.shows(text, [over], ["ada@example.com"]);
    expect(shown("SELECT email FROM users_old", { ...EMAIL, table: 101 })).toEqual([expect.stringMatching(TOKEN)]);
    expect(shown("SELECT lowered FROM users", { name: "lowered", table: 100, column: 4 })).toEqual([
      expect.stringMatching(/^tok_lowered_/),
    ]);
    expect(shown("SELECT contact FROM contacts", { name: "contact", table: 102, column: 2 })).toEqual([
      expect.stringMatching(/^tok_contact_/),
    ]);
    expect(shown("SELECT id FROM users", { table: 100, column: 0, type: 16_500 })).toEqual([null]);
  });

  test("a column whose origin PostgreSQL does not tell is masked by what the text says, or not shown", () => {
    const w = new World();
    expect(w.shows("SELECT email FROM users", [{ name: "email" }], ["ada@example.com"])).toEqual([
      expect.stringMatching(TOKEN),
    ]);
    expect(w.shows("SELECT * FROM users", [{ name: "x" }], ["ada@example.com"])).toBe("a column cannot be attributed");
    expect(w.shows("SELECT count(*) FROM users", [{ name: "count", type: 20 }], ["7"])).toEqual(["7"]);
  });

  test("a view that a rule names itself is masked where the rule says", () => {
    const masks = [...MASKS, { selector: "public.contacts.contact", with: "redact" }];
    const rows = [...ROWS, ["102", "public", "contacts", "2", "contact", "25", "1"]];
    const w = new World(masks, rows);
    const fields = [
      { table: 102, column: 1, type: 23 },
      { name: "contact", table: 102, column: 2 },
    ];
    expect(w.shows("SELECT id, contact FROM contacts", fields, ["7", "ada@example.com"])).toEqual(["7", "[masked]"]);
  });
});

describe("a schema that somebody else changes meanwhile", () => {
  test("Q9: a table that was made anew since is masked whole, and asked about before the next statement", () => {
    const w = new World();
    const fields = [
      { name: "id", table: 201, column: 1, type: 23 },
      { name: "email", table: 201, column: 3 },
      { name: "born", table: 201, column: 5, type: 1_082 },
    ];
    expect(w.session.question(MASKS)).toBeNull();
    expect(w.shows("SELECT id, email, born FROM users", fields, ["7", "ada@example.com", "1990-01-01"])).toEqual([
      expect.not.stringMatching(/^7$/),
      expect.stringMatching(TOKEN),
      null,
    ]);
    expect(w.session.question(MASKS)).not.toBeNull();
  });

  test("Q9: so is a column that a known table did not have", () => {
    const w = new World();
    expect(w.shows("SELECT * FROM users", [{ name: "ssn", table: 100, column: 9 }], ["078-05-1120"])).toEqual([
      expect.stringMatching(/^tok_ssn_/),
    ]);
    expect(w.session.question(MASKS)).not.toBeNull();
  });

  test("Q9: and what this gateway's own sessions change is asked about at once, whether that statement had masks or not", () => {
    for (const text of [
      "CREATE OR REPLACE VIEW v AS SELECT email FROM users",
      "DROP TABLE users",
      "SELECT my_function()",
    ]) {
      const w = new World();
      w.session.follow(w.act(text).statements);
      w.session.settled();
      expect(w.session.question(MASKS), text).not.toBeNull();
    }
    const w = new World();
    w.session.follow(w.act("SELECT 1").statements);
    w.session.follow(w.act("INSERT INTO elsewhere VALUES (1)").statements);
    expect(w.session.question(MASKS)).toBeNull();
  });

  test("Q9: from a change until the end of its transaction nothing is learnt and nothing is shown; then it is asked about", () => {
    const w = new World();
    w.session.follow(w.act("BEGIN").statements);
    w.session.follow(w.act("DROP TYPE mail CASCADE").statements);
    expect(w.session.question(MASKS)).toBeNull();
    w.session.learn(MASKS, [NEWEST]);
    expect(w.objection("SELECT 1 FROM other")).toBe("the transaction has changed the catalogue");
    w.session.follow(w.act("ROLLBACK").statements);
    w.session.settled();
    expect(w.session.question(MASKS)).not.toBeNull();
    expect(w.shows("SELECT email AS e FROM users", [{ ...EMAIL, name: "e" }], ["ada@example.com"])).toEqual([
      expect.stringMatching(/^tok_e_/),
    ]);
    w.session.learn(MASKS, [...ROWS, NEWEST]);
    expect(w.objection("SELECT email AS e FROM users")).toBeNull();
    w.session.settled();
    expect(w.session.question(MASKS)).toBeNull();
  });

  test("Q9: so it is where others have learnt what was before meanwhile, and its session then commits or ends", () => {
    for (const end of ["settled", "ended"] as const) {
      const w = new World();
      const other = w.room.open(PLACE);
      w.session.follow(w.act("CREATE OR REPLACE VIEW v AS SELECT 1").statements);
      expect(other.question(MASKS)).not.toBeNull();
      other.learn(MASKS, [...ROWS, NEWEST]);
      expect(other.question(MASKS)).toBeNull();
      expect(other.objection(w.act("SELECT id FROM users"), false)).toBeNull();
      w.session[end]();
      expect(other.question(MASKS), end).not.toBeNull();
    }
  });

  test("Q9: a statement behind a change in the same Query is not sent; one without rules about columns is", () => {
    expect(new World().objection("SELECT email FROM users", true)).toBe("the transaction has changed the catalogue");
    expect(new World([{ selector: "detect:email", with: "token" }], null).objection("SELECT 1", true)).toBeNull();
  });
});

describe("Q9: ways around a mask are not sent", () => {
  test.each([
    "SELECT email::bytea FROM users",
    "SELECT 'x' || email FROM users",
    "SELECT replace(email, '@', ' at ') FROM users",
    "SELECT json_agg(u) FROM users u",
    "SELECT u FROM users u",
    "SELECT (u).email FROM users u",
    "SELECT row(email) FROM users",
    "SELECT count(email) FROM users",
    "SELECT CASE WHEN email IS NULL THEN 1 END FROM users",
    "SELECT * FROM (SELECT 1/length(email) FROM users) x",
    "SELECT x FROM users, LATERAL (VALUES (upper(email))) v(x)",
    "SELECT (SELECT email FROM users LIMIT 1)",
    "SELECT id FROM users WHERE email LIKE 'a%'",
    "SELECT id FROM users ORDER BY email",
    "SELECT email FROM users ORDER BY 1",
    "SELECT id FROM users GROUP BY id, email",
    "SELECT id FROM users GROUP BY id HAVING min(email) > 'm'",
    "SELECT a.id FROM users a JOIN guesses b ON a.email = b.email",
    "SELECT id FROM users JOIN guesses USING (email)",
    "SELECT id FROM users NATURAL JOIN guesses",
    "SELECT id FROM (SELECT id, email AS e FROM users) x WHERE e > 'm'",
    "WITH x AS (SELECT email AS e FROM users) SELECT 1 FROM x WHERE e > 'm'",
    "SELECT email FROM users UNION SELECT name FROM users",
    "SELECT email FROM users UNION ALL SELECT 'x'",
    "SELECT * FROM users EXCEPT SELECT * FROM users",
    "SELECT DISTINCT ON (email) id FROM users",
    "SELECT email INTO stolen FROM users",
    "CREATE TABLE stolen AS SELECT email FROM users",
    "CREATE TEMP TABLE stolen AS TABLE users",
    "CREATE VIEW stolen AS SELECT email FROM users",
    "INSERT INTO stolen SELECT email FROM users",
    "UPDATE users SET name = email",
    "UPDATE users SET name = 'x' WHERE id = 1 RETURNING upper(email)",
    "DELETE FROM users WHERE email = 'x'",
    "ALTER TABLE users RENAME COLUMN email TO e",
    "ALTER TABLE users RENAME TO u2",
    "ALTER SCHEMA public RENAME TO other",
    "COPY (SELECT upper(email) FROM users) TO STDOUT (FORMAT csv)",
    "COPY users TO STDOUT (FORMAT csv, DELIMITER ',,')",
    "COPY users TO STDOUT (FORMAT csv, HEADER maybe)",
    // Whoever chooses the text for NULL could find out who has it for a value.
    "COPY users TO STDOUT (NULL 'ada@example.com')",
    "WITH x AS (INSERT INTO stolen SELECT email FROM users RETURNING 1) SELECT * FROM x",
    "WITH x AS (UPDATE users SET name = 'x' RETURNING email AS e) INSERT INTO stolen SELECT e FROM x",
    "WITH x(s) AS (UPDATE users SET name = 'x' RETURNING email) INSERT INTO stolen SELECT s FROM x",
    "WITH x AS (DELETE FROM users RETURNING *) INSERT INTO stolen SELECT * FROM x",
    "UPDATE stolen SET note = u.email FROM users u",
    "MERGE INTO stolen s USING users u ON s.id = u.id WHEN MATCHED THEN UPDATE SET note = u.email",
    "INSERT INTO users(id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = users.email",
    "INSERT INTO users(id) VALUES (1) RETURNING upper(email)",
    "SELECT most_common_vals FROM pg_stats",
    "SELECT contact || '' FROM contacts",
    "SELECT email || '' FROM public.users_old",
    "EXPLAIN ANALYZE SELECT 1 FROM users WHERE email > 'm'",
    "SELECT my_function() FROM users",
  ])("%s", (text) => {
    const { statements } = reader.read(text);
    expect(statements.length, text).toBeGreaterThan(0);
    expect(new World().objection(text), text).not.toBeNull();
  });

  test.each([
    "SELECT id, name, email FROM users",
    "SELECT * FROM users",
    "TABLE users",
    "SELECT id, upper(name) FROM users WHERE id > 5 ORDER BY name",
    "SELECT email, upper(name) FROM users WHERE id = 1",
    "SELECT count(*) FROM users",
    "SELECT e FROM (SELECT email AS e FROM users) x",
    "SELECT u.email, o.total FROM users u JOIN orders o ON o.user_id = u.id WHERE o.total > 5",
    "DELETE FROM users WHERE id = 1",
    "UPDATE users SET name = 'x' WHERE id = 1",
    "COPY users TO STDOUT",
    "COPY (SELECT id, email FROM users) TO STDOUT",
    "COPY users TO STDOUT (FORMAT csv, HEADER)",
    "COPY users TO STDOUT WITH CSV DELIMITER ';' QUOTE '|' ESCAPE '!' NULL 'n/a' FORCE QUOTE *",
    "COPY users TO STDOUT (DELIMITER ',', NULL '')",
    "INSERT INTO users(id, name) VALUES (1, 'x') RETURNING id, name, email",
    "UPDATE users SET name = 'x' WHERE id = 1 RETURNING *",
    "INSERT INTO users(id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
    "INSERT INTO elsewhere(id, email) SELECT id, name FROM users",
    "COPY users(id, name) FROM STDIN",
    "SELECT upper(email) FROM elsewhere",
    "SELECT 1",
  ])("but this is: %s", (text) => {
    expect(new World().objection(text)).toBeNull();
  });

  test("and nothing is, where nobody knows what the masks mean", () => {
    expect(new World(MASKS, null).objection("SELECT 1")).toContain("the catalogue does not say");
    const partly = new World(MASKS, null);
    partly.session.learn(MASKS, ROWS);
    expect(partly.objection("SELECT 1")).toContain("the catalogue does not say");
    expect(new World(MASKS, [["x", "public", "users", "1", "id", "23", "-"]]).objection("SELECT 1")).not.toBeNull();
    for (const mask of [
      { selector: "users.email", with: "token" },
      { selector: "detect:nothing", with: "token" },
      { selector: "public.users.email", with: "blur" },
      { selector: "column:", with: "token" },
    ])
      expect(new World([mask], []).objection("SELECT 1"), mask.selector).not.toBeNull();
  });
});

test("whoever is refused hears whether the statement or the mask is at fault", () => {
  const code = (w: World, text: string): string | undefined => w.session.objection(w.act(text), false)?.code;
  expect(code(new World(), "SELECT upper(email) FROM users")).toBe("mask_evaded");
  expect(code(new World(), "COPY users TO STDOUT (FORMAT csv, HEADER maybe)")).toBe("mask_evaded");
  expect(code(new World([{ selector: "users.email", with: "token" }], []), "SELECT 1")).toBe("obligation_unsupported");
});

describe("a masked column that is written", () => {
  const WRITES = [
    "INSERT INTO users(id, email) VALUES (1, 'guess@example.com')",
    "INSERT INTO users VALUES (1, 'x', 'guess@example.com')",
    "INSERT INTO users SELECT 1, 'x', 'guess@example.com'",
    "UPDATE users SET email = 'guess@example.com' WHERE id = 1",
    "UPDATE users SET (id, email) = (1, 'guess@example.com') WHERE id = 1",
    "INSERT INTO users(id) VALUES (1) ON CONFLICT (id) DO UPDATE SET email = 'guess@example.com'",
    "MERGE INTO users u USING elsewhere e ON u.id = e.id WHEN MATCHED THEN UPDATE SET email = 'x'",
    "MERGE INTO users u USING elsewhere e ON u.id = e.id WHEN NOT MATCHED THEN INSERT VALUES (1, 'x', 'y')",
    "WITH x AS (UPDATE users SET email = 'x' WHERE id = 1 RETURNING id) SELECT id FROM x",
    "COPY users FROM STDIN",
    "COPY users(id, email) FROM STDIN",
    "PREPARE p AS UPDATE users SET email = $1",
  ];
  const redacted: readonly MaskRule[] = [{ selector: "public.users.email", with: "redact" }];

  test.each(WRITES)("with token, is an oracle, because its token could be compared: %s", (text) => {
    expect(new World().objection(text)).toMatch(/its token would tell/);
  });

  test.each(WRITES)("with redact, tells nothing: %s", (text) => {
    expect(new World(redacted).objection(text)).toBeNull();
  });

  test.each(WRITES)("with redact, where it must be unique, fails if another row has the value: %s", (text) => {
    const w = new World(redacted, [...ROWS, ["100", "public", "users", "3", "email", "25", "u"]]);
    expect(w.objection(text)).toMatch(/an index, a key or a partition would tell/);
  });

  test("through a view that shows it is not written at all", () => {
    const masks = [...redacted, { selector: "public.contacts.contact", with: "redact" }];
    const rows = [...ROWS, ["102", "public", "contacts", "2", "contact", "25", "1"]];
    expect(new World(masks, rows).objection("UPDATE contacts SET contact = 'x'")).toMatch(/would tell/);
    expect(new World(redacted).objection("INSERT INTO contacts VALUES (1, 'x')")).toMatch(/would tell/);
  });
});

describe("by output name and by detector", () => {
  test("a name is masked wherever it stands", () => {
    const w = new World([{ selector: "column:email", with: "redact" }], ROWS.slice(0, 4));
    expect(w.shows("SELECT 'x' AS email", [{ name: "email" }], ["ada"])).toEqual(["[masked]"]);
    expect(w.objection("SELECT upper(email) FROM users")).not.toBeNull();
  });

  test("a detector covers what it finds, in text and binary, JSON stays JSON, and numbers stay numbers", () => {
    const w = new World([{ selector: "detect:*", with: "token" }], null);
    const shown = w.shows(
      "SELECT a, b, c, d",
      [{}, { type: 114 }, { type: 20 }, { type: 16 }],
      ["write to ada@example.com!", '{"card":4111111111111111,"mail":"ada@example.com"}', "4111111111111111", "t"],
    ) as string[];
    expect(shown[0]).toMatch(/^write to tok_email_\w{16}!$/);
    expect(JSON.parse(shown[1] ?? "")).toEqual({
      card: expect.stringMatching(/^tok_card_/),
      mail: expect.stringMatching(TOKEN),
    });
    expect(shown[2]).toMatch(/^\d+$/);
    expect(shown[2]).not.toBe("4111111111111111");
    expect(shown[3]).toBe("t");
  });
});

describe("formats", () => {
  const masked = (type: number, format: number, value: Buffer, form = "token"): Buffer | null => {
    const w = new World([{ selector: "public.users.email", with: form }]);
    const act = w.act("SELECT email FROM users");
    const mask = w.session.result(act, act.statements[0] ?? null, [field({ ...EMAIL, type, format })]);
    if (mask === null || typeof mask === "string") throw new Error(String(mask));
    const body = Buffer.from(mask.row(row([value])));
    expect(mask.masked).toBe(1);
    return body.readInt32BE(2) < 0 ? null : body.subarray(6);
  };

  test("the same value is the same token in text and in binary", () => {
    const int4 = Buffer.alloc(4);
    int4.writeInt32BE(42);
    expect(masked(23, 1, int4)?.readInt32BE(0)).toBe(Number(masked(23, 0, Buffer.from("42"))));
    const hex = "00112233445566778899aabbccddeeff";
    const dashed = "00112233-4455-6677-8899-AABBCCDDEEFF";
    expect(masked(2950, 1, Buffer.from(hex, "hex"))?.toString("hex")).toBe(
      masked(2950, 0, Buffer.from(dashed))?.toString().replaceAll("-", ""),
    );
    expect(masked(25, 1, Buffer.from("a"))).toEqual(masked(25, 0, Buffer.from("a")));
  });

  test("what no token can stand for is NULL, and so is everything where the mask says null", () => {
    expect(masked(1184, 0, Buffer.from("2020-01-01"))).toBeNull();
    expect(masked(1184, 1, Buffer.alloc(8))).toBeNull();
    expect(masked(25, 0, Buffer.from("x"), "null")).toBeNull();
    expect(masked(23, 0, Buffer.from("1"), "redact")).toBeNull();
    const jsonb = masked(3802, 1, Buffer.from('\u0001"x"'));
    expect(jsonb?.[0]).toBe(1);
    expect(jsonb?.toString("latin1", 1)).toMatch(/^"tok_email_\w{16}"$/);
  });

  test("a row that is not as it was described is not passed on", () => {
    const w = new World();
    const act = w.act("SELECT email FROM users");
    const mask = w.session.result(act, act.statements[0] ?? null, [field(EMAIL)]);
    if (mask === null || typeof mask === "string") throw new Error(String(mask));
    for (const body of [row(["a", "b"]), row(["a"]).subarray(0, 6), Buffer.concat([row(["a"]), Buffer.from("x")])])
      expect(() => mask.row(body)).toThrow("not as it was described");
  });
});

describe("COPY", () => {
  const copied = (text: string, columns: number, binary = false) => {
    const w = new World();
    const act = w.act(text);
    return w.session.copy(act, act.statements[0] ?? null, binary, columns);
  };
  const data = (text: string, columns: number, line: string): string | null => {
    const mask = copied(text, columns);
    if (mask === null) return line;
    return typeof mask === "string" ? null : Buffer.from(mask.data(Buffer.from(line)) ?? []).toString() || null;
  };

  test("text: the column by its place, escapes and NULL kept", () => {
    expect(data("COPY users TO STDOUT", 4, "1\ta\\tb\tada@example.com\t\\N\n")).toMatch(
      /^1\ta\\tb\ttok_email_\w{16}\t\\N\n$/,
    );
    expect(data("COPY users (email, id) TO STDOUT", 2, "ada@example.com\t1\n")).toMatch(/^tok_email_\w{16}\t1\n$/);
    expect(data("COPY (SELECT id, email AS e FROM users) TO STDOUT", 2, "1\tx\n")).toMatch(/^1\ttok_e_\w{16}\n$/);
    expect(data("COPY users (id, name) TO STDOUT", 2, "1\ta\n")).toBe("1\ta\n");
  });

  test("text with another delimiter and NULL", () => {
    const options = "(DELIMITER ',', NULL '')";
    expect(data(`COPY users TO STDOUT ${options}`, 4, "1,a\\,b,ada@example.com,\n")).toMatch(
      /^1,a\\,b,tok_email_\w{16},\n$/,
    );
    expect(data(`COPY users TO STDOUT ${options}`, 4, "1,a,,x\n")).toMatch(/^1,a,,tok_lowered_\w{16}\n$/);
    expect(data(`COPY users TO STDOUT ${options}`, 4, "1,a\\\\,b,,x\n")).toBeNull();
  });

  test("csv: quotes, escapes, line ends in a value, NULL and the header", () => {
    const csv = "COPY users TO STDOUT (FORMAT csv)";
    expect(data(csv, 4, '1,"a,""b""\nc",ada@example.com,\n')).toMatch(/^1,"a,""b""\nc",tok_email_\w{16},\n$/);
    // A quoted value stays quoted; an empty one that is quoted is no NULL.
    expect(data(csv, 4, '1,"","ada ""x"" @example.com",\n')).toMatch(/^1,"","tok_email_\w{16}",\n$/);
    expect(data(csv, 4, '1,a,"",\n')).toMatch(/^1,a,"tok_email_\w{16}",\n$/);
    // The same value has the same token, however it is written down.
    const plain = data(csv, 4, "1,a,ada@example.com,\n")?.slice(4, 30);
    expect(data(csv, 4, '1,a,"ada@example.com",\n')?.slice(5, 31)).toBe(plain);
    const own = "COPY users TO STDOUT (FORMAT csv, DELIMITER ';', QUOTE '|', ESCAPE '!', NULL 'n/a', HEADER)";
    const mask = copied(own, 4);
    if (mask === null || typeof mask === "string") throw new Error(String(mask));
    const line = (text: string): string => Buffer.from(mask.data(Buffer.from(text)) ?? "null").toString();
    expect(line("id;name;email;lowered\n")).toBe("id;name;email;lowered\n");
    expect(line("1;|a;!|b|;|ada!!|;n/a\n")).toMatch(/^1;\|a;!\|b\|;\|tok_email_\w{16}\|;n\/a\n$/);
  });

  test("csv: what is not as announced ends the copy", () => {
    const csv = "COPY users TO STDOUT (FORMAT csv)";
    for (const line of ["1,a,b\n", "1,a,b,c,d\n", '1,a,"b,c\n', '1,a,b"c",d\n', '1,a,"b"c,d\n', "1,a,b,c"])
      expect(data(csv, 4, line), line).toBeNull();
    // A first line that is no header is a row.
    expect(data("COPY users TO STDOUT (FORMAT csv, HEADER)", 4, "1,a,ada@example.com,\n")).toBeNull();
    expect(copied(csv, 4, true)).toMatch(/format/);
  });

  test("a detector looks into csv as into text", () => {
    const w = new World([{ selector: "detect:email", with: "token" }], null);
    const act = w.act("COPY t TO STDOUT (FORMAT csv)");
    const mask = w.session.copy(act, act.statements[0] ?? null, false, 2);
    if (mask === null || typeof mask === "string") throw new Error(String(mask));
    expect(Buffer.from(mask.data(Buffer.from('1,"to ""ada@example.com"", now"\n')) ?? []).toString()).toMatch(
      /^1,"to ""tok_email_\w{16}"", now"\n$/,
    );
    expect(w.objection("COPY t TO STDOUT (FORMAT csv, HEADER maybe)")).not.toBeNull();
  });

  test("binary: behind the header, and the trailer as it is", () => {
    const mask = copied("COPY users (id, email) TO STDOUT (FORMAT binary)", 2, true);
    if (mask === null || typeof mask === "string") throw new Error(String(mask));
    const header = Buffer.concat([Buffer.from("PGCOPY\n\xff\r\n\0", "latin1"), Buffer.alloc(8)]);
    const out = Buffer.from(mask.data(Buffer.concat([header, row([Buffer.alloc(4), "ada@example.com"])])) ?? []);
    expect(out.subarray(0, header.length)).toEqual(header);
    expect(valuesOf(out.subarray(header.length))[1]).toMatch(TOKEN);
    const trailer = Buffer.from([0xff, 0xff]);
    expect(mask.data(trailer)).toEqual(trailer);
    expect(mask.data(Buffer.from("garbage"))).toBeNull();
  });

  test("is ended where its columns cannot be attributed, or a line is not as expected", () => {
    expect(copied("COPY users TO STDOUT", 3)).toBe("the columns of this copy cannot be attributed");
    expect(data("COPY users TO STDOUT", 4, "1\ta\n")).toBeNull();
    expect(data("COPY users TO STDOUT", 4, "1\ta\tb\tc")).toBeNull();
  });
});

describe("messages", () => {
  const shown = (text: string, code: string, more: Record<string, string> = {}): Record<string, string> => {
    const w = new World();
    const fields = new Map(
      Object.entries({ S: "ERROR", C: code, M: "ada@example.com", D: "(ada@example.com)", n: "k", ...more }),
    );
    const act = w.act(text);
    return Object.fromEntries(w.session.notice(act.masks, w.session.quotes(act), fields));
  };

  test("of a statement on a masked table say nothing that could quote a value, but keep their code", () => {
    const told = shown("INSERT INTO users(id) VALUES (1)", "23505");
    expect(JSON.stringify(told)).not.toContain("ada");
    expect(told).toMatchObject({ S: "ERROR", C: "23505", n: "k" });
  });

  test("of a function say nothing of a masked table either, whichever code they have", () => {
    const told = shown("UPDATE users SET id = id", "42501", { W: "PL/pgSQL function f() line 1 at RAISE (ada)" });
    expect(JSON.stringify(told)).not.toContain("ada");
  });

  test("about a masked table that the statement does not name say nothing, as where a foreign key's action fails", () => {
    for (const more of [
      { t: "users" },
      { W: 'SQL statement "UPDATE ONLY "public"."users" SET …"' },
      { q: "DELETE FROM users" },
    ])
      expect(JSON.stringify(shown("DELETE FROM elsewhere", "23502", more))).not.toContain("ada");
    expect(shown("DELETE FROM elsewhere", "23502", { t: "elsewhere" })["D"]).toBe("(ada@example.com)");
  });

  test("and notifications pass the detectors; where columns are masked, nobody can say where a payload comes from", () => {
    const payload = (masks: readonly MaskRule[], text: string): string => new World(masks).session.payload(masks, text);
    const email: readonly MaskRule[] = [{ selector: "detect:email", with: "token" }];
    expect(payload(email, '{"id":7,"email":"ada@example.com"}')).toMatch(/^\{"id":7,"email":"tok_email_\w{16}"\}$/);
    expect(payload(email, "job 7 is done")).toBe("job 7 is done");
    expect(payload(MASKS, "ada@example.com")).toBe("[masked]");
    expect(payload(MASKS, "")).toBe("");
    expect(payload([{ selector: "nonsense", with: "token" }], "x")).toBe("[masked]");
  });

  test("are kept where the statement itself is at fault, or no masked table is in it", () => {
    expect(shown("SELECT nope FROM users", "42703")["M"]).toBe("ada@example.com");
    expect(shown("SELECT 1/0 FROM elsewhere", "22012")["D"]).toBe("(ada@example.com)");
  });
});

test("the catalogue is asked once for a while, and again after a statement that may change it", () => {
  const w = new World(MASKS, null);
  expect(w.session.question(MASKS)).toContain("'users'::pg_catalog.text");
  w.session.learn(MASKS, [...ROWS, NEWEST]);
  expect(w.session.question(MASKS)).toBeNull();
  w.session.follow(w.act("CREATE TABLE other (a int)").statements);
  w.session.settled();
  expect(w.session.question(MASKS)).not.toBeNull();
  expect(w.objection("SELECT id FROM users")).toBeNull();
  w.session.learn(MASKS, [...ROWS, NEWEST]);
  w.nowMs = 31_000;
  expect(w.session.question(MASKS)).not.toBeNull();
  expect(w.session.question([{ selector: "detect:email", with: "token" }])).toBeNull();
});
