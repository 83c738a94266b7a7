/**
 * What a setting does when it is changed. Harmless: a list. Decides who the session is: `credential`. Changes how the server reads a
 * text: the statement is not complete, unless the value is the one that is pinned anyway. Not in the list: not complete.
 *
 * The same for a SET, a set_config() of constants, and what a startup message sets.
 */
import { Findings } from "./findings.ts";
import type { Statement } from "./reading.ts";

const HARMLESS = new Set([
  "application_name",
  "datestyle",
  "intervalstyle",
  "timezone",
  "extra_float_digits",
  "bytea_output",
  "client_min_messages",
  "statement_timeout",
  "lock_timeout",
  "idle_in_transaction_session_timeout",
  "idle_session_timeout",
  "transaction_timeout",
  "xmloption",
  "xmlbinary",
  "work_mem",
  "hash_mem_multiplier",
  "maintenance_work_mem",
  "temp_buffers",
  "jit",
  "jit_above_cost",
  "jit_inline_above_cost",
  "jit_optimize_above_cost",
  "parallel_setup_cost",
  "parallel_tuple_cost",
  "min_parallel_index_scan_size",
  "min_parallel_table_scan_size",
  "max_parallel_workers",
  "max_parallel_maintenance_workers",
  "effective_io_concurrency",
  "random_page_cost",
  "seq_page_cost",
  "cursor_tuple_fraction",
  "plan_cache_mode",
  "geqo",
  "default_statistics_target",
  "from_collapse_limit",
  "join_collapse_limit",
  "constraint_exclusion",
  "max_parallel_workers_per_gather",
  "effective_cache_size",
  "default_transaction_isolation",
  "default_transaction_deferrable",
  "transaction_isolation",
  "transaction_deferrable",
  "default_text_search_config",
  "gin_fuzzy_search_limit",
  "quote_all_identifiers",
  "check_function_bodies",
  // It makes a query fail that a row policy would filter; it opens nothing.
  "row_security",
  "lc_messages",
  "lc_monetary",
  "lc_numeric",
  "lc_time",
  "tcp_keepalives_idle",
  "tcp_keepalives_interval",
  "tcp_keepalives_count",
  "tcp_user_timeout",
  "client_connection_check_interval",
  "synchronize_seqscans",
]);
const PLANNER = /^enable_[a-z_]+$/;
const IDENTITY = new Set(["role", "session_authorization", "is_superuser"]);
/** Whether the transaction may write; `on` is harmless. */
const READ_ONLY = new Set(["transaction_read_only", "default_transaction_read_only"]);

/** The values that the sidecar pins at startup. */
const LEXING: ReadonlyMap<string, (value: string) => boolean> = new Map([
  ["standard_conforming_strings", isOn],
  ["backslash_quote", (v) => v.toLowerCase() === "safe_encoding"],
  ["client_encoding", isUtf8],
  ["escape_string_warning", isOn],
]);

/** PostgreSQL compares letters and digits of an encoding's name only; drivers send 'utf-8' with its quotes, too. */
export function isUtf8(value: string): boolean {
  return /^(utf8|unicode)$/.test(value.toLowerCase().replaceAll(/[^a-z0-9]/g, ""));
}

/** As PostgreSQL reads a boolean: every beginning of a word that only one has. */
export function isOn(value: string): boolean {
  return /^(on|true|yes|1|tru|tr|t|ye|y)$/i.test(value);
}

/** `value` null: reset, default, or a value that the text does not show. */
export function noteSetting(found: Findings, name: string, value: string | null): void {
  const key = name.toLowerCase();
  if (HARMLESS.has(key) || PLANNER.test(key)) return;
  if (key === "search_path") return noteSearchPath(found, value);
  if (IDENTITY.has(key)) {
    found.act("credential");
    return;
  }
  if (READ_ONLY.has(key)) {
    if (value === null || !isOn(value)) found.act("write");
    return;
  }
  const pinned = LEXING.get(key);
  if (pinned !== undefined) {
    if (value !== null && pinned(value)) return;
    found.act("admin");
    return found.doubt(`${key} changes how the server reads a text`);
  }
  found.act(key.includes(".") ? "write" : "admin");
  found.doubt(`setting ${key} is not known to be harmless`);
}

/** What a startup message sets, as the statement that would set it. Names and values are JavaScript text. */
export function settingStatement(name: string, value: string): Statement {
  const found = new Findings();
  found.kind = "set";
  noteSetting(found, name, value);
  found.effects.push({ kind: "set", name: name.toLowerCase(), value, local: false });
  return found.finish(0, 0);
}

/** pg_catalog is searched first where it is not named; named, it may come after somebody's look-alikes. pg_temp is everybody's own. */
function noteSearchPath(found: Findings, value: string | null): void {
  if (value === null) return;
  const schemas = value.split(",").map((s) =>
    s
      .trim()
      .replace(/^"(.*)"$/, "$1")
      .toLowerCase(),
  );
  const catalogue = schemas.indexOf("pg_catalog");
  const temporary = schemas.findIndex((s) => s.startsWith("pg_temp"));
  if (catalogue > 0 || (temporary !== -1 && temporary !== schemas.length - 1))
    found.doubt("search_path puts other schemas before pg_catalog");
}
