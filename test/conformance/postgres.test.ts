import {
  AUTHENTICATION_OK,
  keyDataText,
  noticeText,
  readNotice,
  readyText,
} from "#sidecar/lanes/postgres/codec/backend.ts";
import { queryText } from "#sidecar/lanes/postgres/codec/frontend.ts";
import { startupText } from "#sidecar/lanes/postgres/codec/startup.ts";
import { int16, int32, message } from "#sidecar/lanes/postgres/codec/text.ts";
import { createPostgresLane } from "#sidecar/lanes/postgres/lane.ts";
import { readParserFile } from "#sidecar/lanes/postgres/sql/parser-file.ts";
import { createSqlReader } from "#sidecar/lanes/postgres/sql/reader.ts";
import type { Bench } from "./ports.ts";
import { type Act, conformance } from "./suite.ts";

const reader = createSqlReader({ parserFile: readParserFile });
await reader.load();

/** A login as a server that trusts everybody answers it. */
function login(b: Bench): void {
  b.say(
    startupText({
      minor: 0,
      parameters: [
        ["user", "agent"],
        ["database", "shop"],
      ],
    }),
  );
  b.upstream.events.opened();
  const status = message("S", "client_encoding\0UTF8\0") + message("S", "standard_conforming_strings\0on\0");
  b.upstream.answer(AUTHENTICATION_OK + status + keyDataText(1, "key!") + readyText("I"));
}

const describe = (name: string): string =>
  message("T", `${int16(1)}${name}\0${int32(0)}${int16(0)}${int32(25)}${int16(-1)}${int32(-1)}${int16(0)}`);
const row = (value: string): string => message("D", int16(1) + int32(value.length) + value);
const done = (tag: string): string => message("C", `${tag}\0`);

const same = (request: string, answer: string, status: string): Act => ({
  request,
  forwarded: request,
  answer,
  delivered: answer,
  status,
});

const SELECT = same(
  queryText("select b from t"),
  describe("b") + row("one") + row("two") + done("SELECT 2") + readyText("I"),
  "SELECT 2",
);
const INSERT = same(queryText("insert into t values (1)"), done("INSERT 0 1") + readyText("I"), "INSERT 0 1");
const FAILS = same(
  queryText("select 1/0"),
  noticeText("E", [
    ["S", "ERROR"],
    ["V", "ERROR"],
    ["C", "22012"],
    ["M", "division by zero"],
  ]) + readyText("I"),
  "22012",
);
const NOTICED = same(
  queryText("drop table if exists x"),
  noticeText("N", [
    ["S", "NOTICE"],
    ["C", "00000"],
    ["M", "it does not exist, skipping"],
  ]) +
    done("DROP TABLE") +
    readyText("I"),
  "DROP TABLE",
);
const COPY_OUT = same(
  queryText("copy t to stdout"),
  message("H", "\0\0\x01\0\0") +
    message("d", "1\n") +
    message("d", "2\n") +
    message("c", "") +
    done("COPY 2") +
    readyText("I"),
  "COPY 2",
);

const ok = (answer: string): string => answer + readyText("I");

conformance("PostgreSQL", {
  make: (clock) => createPostgresLane({ reader, clock }),
  setting: { host: "db.test", port: 5_432 },
  prepare: login,
  own: ["PostgreSQL", "PostgreSQL SSLRequest"],
  withoutKeepAlive: (text) =>
    messages(text)
      .filter((m) => !(m[0] === "N" && m.includes("sidegate: waiting")))
      .join(""),
  kind: "judged",
  acts: [SELECT, INSERT, FAILS, NOTICED, COPY_OUT],
  malformed: [
    { name: "an unknown type", bytes: message("q", "select 1\0") },
    { name: "a password out of turn", bytes: message("p", "x\0") },
    { name: "a length of 0", bytes: `Q${int32(0)}` },
    { name: "a length of 3", bytes: `Q${int32(3)}` },
    { name: "a length below zero", bytes: `Q${int32(-1)}xxxx` },
    { name: "a Query without an end", bytes: message("Q", "select 1") },
    { name: "a Query with something behind its end", bytes: message("Q", "select 1\0delete from t\0") },
    { name: "an empty body for a Query", bytes: message("Q", "") },
    { name: "a Parse without its types", bytes: message("P", "\0select 1\0") },
    { name: "a Parse with fewer types than it says", bytes: message("P", `\0select 1\0${int16(2)}${int32(23)}`) },
    { name: "a Bind without names", bytes: message("B", "x") },
    { name: "a Describe of neither", bytes: message("D", "X\0") },
    { name: "an Execute without its count", bytes: message("E", "\0") },
    { name: "a Sync with a body", bytes: message("S", "x") },
    { name: "a Flush with a body", bytes: message("H", "x") },
    { name: "a Terminate with a body", bytes: message("X", "x") },
  ],
  lengths: [
    { name: "a Query of 1 MiB", bytes: queryText(`/*${"x".repeat(1_048_576 - 6 - 13)}*/ select 1`), taken: true },
    {
      name: "a Query one byte longer",
      bytes: queryText(`/*${"x".repeat(1_048_576 - 6 - 12)}*/ select 1`),
      taken: false,
    },
    { name: "a Query of 2 MiB", bytes: queryText("x".repeat(2_097_152)), taken: false },
    { name: "a Query that says 2 GiB", bytes: `Q${int32(0x7fff_ffff)}select`, taken: false },
    { name: "a Describe of 8 KiB", bytes: message("D", `S${"n".repeat(8_185)}\0`), taken: true },
    { name: "a longer Describe", bytes: message("D", `S${"n".repeat(8_190)}\0`), taken: false },
  ],
  refusal(text) {
    const all = messages(text);
    const error = all.find((m) => m[0] === "E");
    const fields = error === undefined ? null : readNotice(error.slice(5));
    const understood =
      fields !== null &&
      fields.get("M")?.startsWith("sidegate: ") === true &&
      /^[0-9A-Z]{5}$/.test(fields.get("C") ?? "");
    return { understood, goesOn: fields?.get("S") === "ERROR" && all.at(-1)?.[0] === "Z" };
  },
  badAnswers: [
    { name: "an unknown type", bytes: ok(message("q", "")) },
    { name: "a second login", bytes: ok(AUTHENTICATION_OK) },
    { name: "a ParseComplete that nobody asked for", bytes: ok(message("1", "")) },
    { name: "a BindComplete that nobody asked for", bytes: ok(message("2", "")) },
    { name: "more results than statements", bytes: ok(done("SELECT 1") + done("DELETE 5")) },
    { name: "a CommandComplete without an end", bytes: ok(message("C", "SELECT 1")) },
    { name: "a length of 0", bytes: `D${int32(0)}` },
    { name: "a length below zero", bytes: `D${int32(-5)}` },
    { name: "COPY data without a COPY", bytes: ok(message("d", "x\n")) },
    { name: "a COPY in both directions", bytes: ok(message("W", "\0\0\0")) },
    { name: "a FunctionCallResponse", bytes: ok(message("V", int32(-1))) },
    { name: "another encoding", bytes: ok(message("S", "client_encoding\0SJIS\0")) },
    { name: "a status that is none", bytes: message("Z", "X") },
    { name: "a RowDescription that is too long", bytes: `T${int32(1_000_000)}` },
    { name: "a CommandComplete that is too long", bytes: `C${int32(1_000_000)}` },
  ],
});

function messages(text: string): string[] {
  const all: string[] = [];
  for (let at = 0; at + 5 <= text.length; ) {
    const length = Buffer.from(text.slice(at + 1, at + 5), "latin1").readInt32BE(0) + 1;
    all.push(text.slice(at, at + length));
    at += length;
  }
  return all;
}
