/**
 * What is known of a table by its name: PostgreSQL's own tables that show secrets, other tables' values, or other sessions' statements,
 * and what a write to one of them does.
 */
import type { Findings } from "./findings.ts";
import type { TableRef } from "./reading.ts";

/** Passwords and what is as good: reading one is `credential`. */
const SECRET = new Set([
  "pg_authid",
  "pg_shadow",
  "pg_user_mapping",
  "pg_user_mappings",
  "pg_subscription",
  "user_mapping_options",
  "_pg_user_mappings",
]);
/** Tables of extensions that hold secrets, in whatever schema. */
const VAULT = new Set(["decrypted_secrets", "pg_dist_authinfo"]);
const VAULT_SCHEMAS = new Set(["vault", "pgsodium"]);
/** Values of columns of tables that the text does not name. */
const VALUES = new Set(["pg_stats", "pg_statistic", "pg_stats_ext", "pg_stats_ext_exprs", "pg_statistic_ext_data"]);
/** Statements of other sessions, with their literals. */
const STATEMENTS = new Set([
  "pg_stat_activity",
  "pg_stat_statements",
  "pg_stat_monitor",
  "pg_prepared_statements",
  "pg_cursors",
]);
const ADMIN = new Set(["pg_largeobject", "pg_hba_file_rules", "pg_ident_file_mappings", "pg_file_settings"]);
/** Writing to one of these changes a role, a password, or a setting (pg_settings has a rule that calls set_config). */
const OWNS = new Set([
  ...SECRET,
  "pg_settings",
  "pg_auth_members",
  "pg_roles",
  "pg_user",
  "pg_group",
  "pg_db_role_setting",
  "pg_parameter_acl",
]);

/** PostgreSQL clips names to 63 bytes; where a name is that long and not ASCII, the server may clip at another character. */
const MAX_NAME_BYTES = 63;

/** What reading one of PostgreSQL's own tables shows. */
function noteOwn(found: Findings, name: string, shown: string): void {
  if (SECRET.has(name)) {
    found.act("credential");
    found.doubt(`${shown} holds authenticators`);
  } else if (VALUES.has(name)) found.doubt(`${shown} shows values of tables that the text does not name`);
  else if (ADMIN.has(name)) {
    found.act("admin");
    found.doubt(`${shown} is for the database's administrator`);
  }
}

/** What tables of extensions show, in whatever schema they are. */
function noteExtension(found: Findings, schema: string, name: string, shown: string): void {
  if (STATEMENTS.has(name)) found.doubt(`${shown} shows statements of other sessions`);
  if (!VAULT.has(name) && !VAULT_SCHEMAS.has(schema)) return;
  found.act("credential");
  found.doubt(`${shown} holds secrets`);
}

function noteOwnWritten(found: Findings, schema: string, name: string, shown: string): void {
  if (schema === "" && !/^_?pg_/.test(name) && !OWNS.has(name)) return;
  found.act(OWNS.has(name) ? "credential" : "admin");
  found.doubt(`${shown} is PostgreSQL's own`);
}

export function noteTable(found: Findings, schema: string, name: string, access: TableRef["access"]): void {
  const shown = schema === "" ? name : `${schema}.${name}`;
  found.table(schema, name, access);
  if (access !== "read") found.act(access === "write" ? "write" : "admin");
  if (Buffer.byteLength(name) >= MAX_NAME_BYTES && Buffer.byteLength(name) !== name.length)
    found.doubt("a name is too long to be sure of");
  if (schema.startsWith("pg_toast")) return found.doubt(`${shown} holds values of another table`);
  if (schema.startsWith("pg_temp")) return found.doubt(`${shown} is in a temporary schema`);
  noteExtension(found, schema, name, shown);
  if (schema !== "" && schema !== "pg_catalog" && schema !== "information_schema") return;
  noteOwn(found, name, shown);
  if (access !== "read") noteOwnWritten(found, schema, name, shown);
}
