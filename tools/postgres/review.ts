/**
 * What people decided about PostgreSQL's own functions where `pg_proc` does not tell the whole truth. Each entry needs a reason; the
 * generator (catalogue.ts) refuses an entry that no server knows, so a list cannot rot.
 */

/** Marked immutable or stable, and yet not for a read: it runs SQL that it is given, takes a transaction id, or shows secrets. */
export const NOT_HARMLESS: ReadonlyMap<string, string> = new Map([
  ["table_to_xml", "reads a table that is named in a value"],
  ["table_to_xmlschema", "reads a table that is named in a value"],
  ["table_to_xml_and_xmlschema", "reads a table that is named in a value"],
  ["schema_to_xml", "reads all tables of a schema"],
  ["schema_to_xmlschema", "reads all tables of a schema"],
  ["schema_to_xml_and_xmlschema", "reads all tables of a schema"],
  ["database_to_xml", "reads all tables"],
  ["database_to_xmlschema", "reads all tables"],
  ["database_to_xml_and_xmlschema", "reads all tables"],
  ["txid_current", "takes a transaction id: a write"],
  ["pg_current_xact_id", "takes a transaction id: a write"],
  ["pg_options_to_table", "shows options of servers and user mappings, passwords among them"],
  ["pg_mcv_list_items", "shows values of columns"],
  ["pg_stat_get_activity", "shows other sessions' statements"],
  ["pg_stat_get_backend_activity", "shows other sessions' statements"],
  ["pg_prepared_statement", "shows the session's statements under their real names"],
  ["pg_cursor", "shows the session's statements under their real names"],
  ["pg_show_all_settings", "its rows can be given to set_config"],
  ["fmgr_c_validator", "loads a library"],
  ["fmgr_internal_validator", "no query needs it"],
  ["fmgr_sql_validator", "parses a function's body"],
  ["postgresql_fdw_validator", "no query needs it"],
  ["pg_event_trigger_ddl_commands", "no query needs it"],
  ["pg_event_trigger_dropped_objects", "no query needs it"],
  ["pg_event_trigger_table_rewrite_oid", "no query needs it"],
  ["pg_event_trigger_table_rewrite_reason", "no query needs it"],
  ["pg_get_publication_tables", "no query needs it"],
  ["pg_replication_origin_oid", "no query needs it"],
  ["pg_stat_get_wal_receiver", "shows a connection string"],
  ["pg_stat_get_subscription", "no query needs it"],
]);

/** Marked volatile only because the answer differs from call to call; nothing is changed, and no value of a table is shown. */
export const HARMLESS: ReadonlyMap<string, string> = new Map([
  ["clock_timestamp", "a clock"],
  ["timeofday", "a clock"],
  ["random", "a number"],
  ["gen_random_uuid", "a number"],
  ["pg_relation_size", "a size; psql's \\d+"],
  ["pg_table_size", "a size; psql's \\d+"],
  ["pg_indexes_size", "a size"],
  ["pg_total_relation_size", "a size"],
  ["pg_database_size", "a size; psql's \\l+"],
  ["pg_tablespace_size", "a size; psql's \\db+"],
  ["pg_is_in_recovery", "every pool and driver asks"],
  ["pg_last_wal_receive_lsn", "monitoring of replicas"],
  ["pg_last_wal_replay_lsn", "monitoring of replicas"],
  ["pg_last_xact_replay_timestamp", "monitoring of replicas"],
  ["pg_current_wal_lsn", "monitoring of replicas"],
  ["pg_is_wal_replay_paused", "monitoring of replicas"],
  ["pg_partition_tree", "structure"],
  ["pg_partition_ancestors", "structure; psql's \\d"],
  ["pg_jit_available", "a fact of the server"],
  ["pg_collation_actual_version", "a fact of the server"],
  ["pg_database_collation_actual_version", "a fact of the server"],
]);

/** SQL functions of information_schema that drivers use (pgjdbc's primary keys); all immutable or stable. */
export const INFORMATION_SCHEMA =
  /^_pg_(expandarray|truetypid|truetypmod|char_max_length|char_octet_length|numeric_precision|numeric_precision_radix|numeric_scale|datetime_precision|interval_type|index_position)$/;
