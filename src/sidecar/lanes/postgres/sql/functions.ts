/**
 * What is known of a function by its name. Known to be harmless: nothing. Known to be something else: which action it makes of the
 * statement. Not known: it may do anything that its owner may, so the statement is `execute` and not complete.
 *
 * A name is all that the text gives. `lower(x)` is taken for PostgreSQL's own; a function of that name that somebody with CREATE rights
 * put into a schema of the search path for a better matching type is called instead (CVE-2018-1058). The tree cannot show that: the
 * server's READ ONLY transaction and the rights of the role must hold there.
 */
import type { Action } from "#contract/operation.ts";
import { HARMLESS_FUNCTIONS } from "./catalogue.ts";
import type { Findings } from "./findings.ts";

/** Way out of the database, server files, large objects, the server's own life: names of PostgreSQL 15 to 18 and of common extensions. */
const ADMIN =
  /^(lo_|lo$|loread$|lowrite$|pg_read_|pg_ls_|pg_stat_file|pg_file_|pg_logdir_ls|pg_logfile_|dblink|postgres_fdw_|pg_reload_conf|pg_rotate_|pg_promote|pg_switch_|pg_create_|pg_drop_|pg_copy_|pg_logical_|pg_replication_|pg_sync_replication|pg_backup_|pg_start_backup|pg_stop_backup|pg_wal_replay_|pg_stat_reset|pg_stat_statements_reset|pg_terminate_|pg_cancel_|pg_import_|pg_log_|pg_extension_|binary_upgrade_|pg_hba_|pg_ident_|pg_show_all_file|pg_current_logfile|pg_control_|brin_|gin_clean|pg_export_snapshot|pg_nextoid|pg_stop_making|pg_clear_|pg_restore_|pg_set_|http$|http_|urlencode$|pg_prewarm|pgstatginindex|heap_|get_raw_page|bt_|page_|sys_exec|sys_eval|system$|cmd_|plpy_|table_export|aws_|gs_|cstore_|create_|drop_|lwlock_|pg_partman|run_maintenance|set_sequence|crypt_master)/;
const ADMIN_SCHEMAS = new Set([
  "net",
  "cron",
  "http",
  "aws_s3",
  "aws_lambda",
  "aws_commons",
  "azure_storage",
  "dblink",
  "pgagent",
  "plv8",
]);
const WRITE =
  /^(nextval|setval|currval|lastval|setseed|pg_notify|txid_current|pg_current_xact_id|pg_advisory_|pg_try_advisory_|ts_rewrite|pg_stat_clear|pg_stat_force)/;
/** Answers with a secret, or changes who the session is. */
const CREDENTIAL = /^(set_config|pg_options_to_table|set_user|reset_user|pgsodium_|decrypted_|gen_salt$|crypt$)/;

export interface FunctionName {
  /** Empty where the text names none. */
  readonly schema: string;
  readonly name: string;
}

export function writtenName(f: FunctionName): string {
  return f.schema === "" ? f.name : `${f.schema}.${f.name}`;
}

function isHarmless(f: FunctionName): boolean {
  if (f.schema === "" || f.schema === "pg_catalog") return HARMLESS_FUNCTIONS.has(f.name);
  return f.schema === "information_schema" && HARMLESS_FUNCTIONS.has(`information_schema.${f.name}`);
}

function actionOf(f: FunctionName): Action {
  const name = f.name.toLowerCase();
  if (ADMIN_SCHEMAS.has(f.schema) || ADMIN.test(name)) return "admin";
  if (CREDENTIAL.test(name)) return "credential";
  return WRITE.test(name) ? "write" : "execute";
}

export function noteFunction(found: Findings, f: FunctionName): void {
  const written = writtenName(f);
  found.function(written);
  if (isHarmless(f)) return;
  found.act(actionOf(f));
  found.doubt(`function ${written} is not known to be harmless`);
}
