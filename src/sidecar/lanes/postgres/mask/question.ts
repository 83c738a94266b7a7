/**
 * The query that finds what column rules mean in a database, and everything else through which the same values can be read.
 * One statement, read-only, results in text format. Whatever it uses is named by its schema, operators too: `search_path` is the agent's.
 */
import type { ColumnRule } from "./rules.ts";

/** Null: a rule has a name that PostgreSQL cannot have. */
export function questionFor(rules: readonly ColumnRule[]): string | null {
  const rows: string[] = [];
  for (const [index, { schema, table, column }] of rules.entries()) {
    const names = [schema, table, column].map(literal);
    if (names.includes(null)) return null;
    rows.push(`(${index}::pg_catalog.int4, ${names.join(", ")})`);
  }
  return QUESTION.replace("$WANTED$", () => rows.join(", "));
}

/** NULL matches any name. */
function literal(name: string | null): string | null {
  if (name === null) return "NULL::pg_catalog.text";
  if (name.length > 63 || name.includes("\0") || name.includes("\\")) return null;
  return `'${name.replaceAll("'", "''")}'::pg_catalog.text`;
}

/**
 * Columns of its result:
 *   oid, schema, relation, attribute number, attribute name, type's OID, and why it is confidential:
 *   "0"…  the number of a rule: it is meant by it, is the same column of a parent or child, or refers to one by a foreign key, at
 *         any depth, so that it holds the same values
 *   "g"   generated from columns of a table that has a confidential one
 *   "v"   of a view (or rule) that reads a confidential column, or whole rows of its table, at any depth; or that calls a function in SQL
 *         or a procedural language that is not immutable and whose source names such a table, runs SQL that it puts together, or is not
 *         there to be read
 *   "u"   of a table with a confidential one: in an index, a foreign key or a partition's key, so that writing tells of other rows: by
 *         whether it is accepted, by where the row comes in the index's order (an index-only scan gives rows in it), and by whether an
 *         update of it was a change at all (pg_stat_get_tuples_hot_updated)
 *   "-"   a column beside them
 * And one row with the highest OID of a relation ("n", the other columns mean nothing): what is above it was made since. (Behind four
 * thousand million OIDs the server begins anew; then a new relation is noticed when the question is asked again.)
 */
const QUESTION = `WITH RECURSIVE
wanted(rule, nsp, rel, att) AS (VALUES $WANTED$),
rels AS (
  SELECT c.oid, n.nspname::pg_catalog.text AS nsp, c.relname::pg_catalog.text AS rel
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog."char"[])
    AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL ('{pg_catalog,information_schema,pg_toast}'::pg_catalog.text[])
),
atts AS (
  SELECT a.attrelid, a.attnum::pg_catalog.int4 AS num, a.attname::pg_catalog.text AS att, a.atttypid AS typ,
    pg_catalog.length(pg_catalog.to_jsonb(a) OPERATOR(pg_catalog.->>) 'attgenerated'::pg_catalog.text) OPERATOR(pg_catalog.>) 0 AS gen
  FROM pg_catalog.pg_attribute a
  WHERE a.attnum::pg_catalog.int4 OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
),
named AS (
  SELECT w.rule, r.oid, a.num, a.att
  FROM wanted w
  JOIN rels r ON (w.nsp IS NULL OR r.nsp OPERATOR(pg_catalog.=) w.nsp) AND (w.rel IS NULL OR r.rel OPERATOR(pg_catalog.=) w.rel)
  JOIN atts a ON a.attrelid OPERATOR(pg_catalog.=) r.oid AND (w.att IS NULL OR a.att OPERATOR(pg_catalog.=) w.att)
),
family(root, oid) AS (
  SELECT n.oid, n.oid FROM named n
  UNION
  SELECT f.root, CASE WHEN i.inhparent OPERATOR(pg_catalog.=) f.oid THEN i.inhrelid ELSE i.inhparent END
  FROM family f JOIN pg_catalog.pg_inherits i
    ON i.inhparent OPERATOR(pg_catalog.=) f.oid OR i.inhrelid OPERATOR(pg_catalog.=) f.oid
),
direct(why, oid, num) AS (
  SELECT n.rule::pg_catalog.text, f.oid, a.num
  FROM named n JOIN family f ON f.root OPERATOR(pg_catalog.=) n.oid
  JOIN atts a ON a.attrelid OPERATOR(pg_catalog.=) f.oid AND a.att OPERATOR(pg_catalog.=) n.att
  UNION
  SELECT d.why, c.conrelid, k.here::pg_catalog.int4
  FROM direct d JOIN pg_catalog.pg_constraint c ON c.confrelid OPERATOR(pg_catalog.=) d.oid AND c.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog."char",
    ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey)) AS k(here, there)
  WHERE k.there::pg_catalog.int4 OPERATOR(pg_catalog.=) d.num
),
confidential AS (
  SELECT why, oid, num FROM direct
  UNION
  SELECT 'g', a.attrelid, a.num
  FROM atts a WHERE a.gen AND a.attrelid IN (SELECT d.oid FROM direct d)
),
readers AS (
  SELECT d.refobjid AS relid, d.refobjsubid AS num, r.ev_class AS reader,
    pg_catalog.strpos(r.ev_action::pg_catalog.text, ':varattno 0 '::pg_catalog.text) OPERATOR(pg_catalog.>) 0
    OR pg_catalog.strpos(r.ev_qual::pg_catalog.text, ':varattno 0 '::pg_catalog.text) OPERATOR(pg_catalog.>) 0 AS rows
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid OPERATOR(pg_catalog.=) d.objid
  WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid
    AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
    AND r.ev_class OPERATOR(pg_catalog.<>) d.refobjid
),
tellers(oid) AS (
  SELECT r.ev_class
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_rewrite r ON r.oid OPERATOR(pg_catalog.=) d.objid
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.refobjid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
  WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid
    AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
    AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL ('{pg_catalog,information_schema}'::pg_catalog.text[])
    AND l.lanname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL ('{internal,c}'::pg_catalog.text[])
    AND p.provolatile OPERATOR(pg_catalog.<>) 'i'::pg_catalog."char"
    AND (p.prosrc OPERATOR(pg_catalog.=) '' OR pg_catalog.strpos(pg_catalog.lower(p.prosrc), 'execute') OPERATOR(pg_catalog.>) 0
      OR EXISTS (SELECT 1 FROM confidential c JOIN rels x ON x.oid OPERATOR(pg_catalog.=) c.oid
        WHERE pg_catalog.strpos(pg_catalog.lower(p.prosrc), pg_catalog.lower(x.rel)) OPERATOR(pg_catalog.>) 0))
),
guarded(oid, num) AS (
  SELECT i.indrelid, k.num::pg_catalog.int4 FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey::pg_catalog.int2[]) AS k(num)
  WHERE i.indexprs IS NULL AND i.indpred IS NULL
  UNION
  SELECT i.indrelid, a.num FROM pg_catalog.pg_index i JOIN atts a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
  WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
  UNION
  SELECT t.partrelid, k.num::pg_catalog.int4 FROM pg_catalog.pg_partitioned_table t, pg_catalog.unnest(t.partattrs::pg_catalog.int2[]) AS k(num)
  UNION
  SELECT c.conrelid, k.num::pg_catalog.int4 FROM pg_catalog.pg_constraint c, pg_catalog.unnest(c.conkey) AS k(num)
  WHERE c.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog."char"
  UNION
  SELECT c.confrelid, k.num::pg_catalog.int4 FROM pg_catalog.pg_constraint c, pg_catalog.unnest(c.confkey) AS k(num)
  WHERE c.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog."char"
),
views(oid) AS (
  SELECT x.reader FROM readers x JOIN confidential c ON c.oid OPERATOR(pg_catalog.=) x.relid
  WHERE x.rows OR x.num OPERATOR(pg_catalog.=) c.num
  UNION
  SELECT t.oid FROM tellers t
  UNION
  SELECT x.reader FROM views v JOIN readers x ON x.relid OPERATOR(pg_catalog.=) v.oid
  WHERE x.rows OR x.num OPERATOR(pg_catalog.>) 0
),
told AS (
  SELECT c.why, c.oid, c.num FROM confidential c
  UNION
  SELECT 'v', v.oid, a.num FROM views v JOIN atts a ON a.attrelid OPERATOR(pg_catalog.=) v.oid
  UNION
  SELECT 'u', g.oid, g.num FROM guarded g WHERE g.oid IN (SELECT d.oid FROM confidential d)
  UNION
  SELECT '-', a.attrelid, a.num FROM atts a
  WHERE a.attrelid IN (SELECT c.oid FROM confidential c UNION SELECT v.oid FROM views v)
)
SELECT t.oid::pg_catalog.text, r.nsp, r.rel, t.num::pg_catalog.text, a.att, a.typ::pg_catalog.text, t.why::pg_catalog.text
FROM told t
JOIN rels r ON r.oid OPERATOR(pg_catalog.=) t.oid
JOIN atts a ON a.attrelid OPERATOR(pg_catalog.=) t.oid AND a.num OPERATOR(pg_catalog.=) t.num
UNION ALL
SELECT pg_catalog.max(c.oid)::pg_catalog.text, '', '', '1', '', '1', 'n' FROM pg_catalog.pg_class c`;
