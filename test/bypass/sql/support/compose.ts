/**
 * Random statements, most of them valid: expressions, joins, subqueries, WITH, set operations, and among them the ways of the corpus to
 * write something while reading. The same statements in every run with one seed.
 */

export type Random = (below: number) => number;

/** xorshift32. */
export function randomness(seed: number): Random {
  let x = seed | 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[random(from.length)] as T;
}

const TABLES = ["orders", "customers", "secrets", "big", "parts", "public.orders"] as const;
const COLUMNS = ["1", "'x'", "NULL", "now()", "o.id", "o.id", "o", "current_date", "true", "2.5"] as const;
/** Each writes, or may write, when it is evaluated. */
const TEETH = [
  "nextval('orders_id_seq')",
  "('orders_id_seq'::regclass).nextval",
  "do_it()",
  "mark('x')",
  "'x'::checked",
  "(1 <=> 2)",
  "(1 OPERATOR(public.+) 2)",
  "setval('orders_id_seq', 5)",
  "txid_current()",
  "pg_notify('a', 'b')",
  "lo_create(0)",
  "pg_advisory_lock(7)",
  "set_config('work_mem', '1MB', false)",
  "query_to_xml('SELECT do_it()', true, true, '')",
  "CAST('{\"a\":1}' AS checked)",
  "(SELECT do_it())",
  "ARRAY[mark('x')]",
  "(do_it()).*",
] as const;
const OPERATORS = ["=", "<", "+", "||", "<>", "~", "IS DISTINCT FROM", "LIKE", "AND", "OR"] as const;
const FUNCTIONS = [
  "lower",
  "count",
  "coalesce",
  "to_json",
  "length",
  "max",
  "concat",
  "pg_typeof",
  "array_agg",
  "md5",
  "quote_literal",
] as const;
const TYPES = ["int", "text", "numeric(5, 1)", "boolean", "jsonb", "timestamptz", "regclass", "text[]"] as const;

function expression(random: Random, depth: number): string {
  if (random(60) === 0) return pick(random, TEETH);
  if (depth === 0) return pick(random, COLUMNS);
  const e = (): string => expression(random, depth - 1);
  switch (random(12)) {
    case 0:
      return `${e()} ${pick(random, OPERATORS)} ${e()}`;
    case 1:
      return `${pick(random, FUNCTIONS)}(${e()})`;
    case 2:
      return `(${e()})::${pick(random, TYPES)}`;
    case 3:
      return `CASE WHEN ${e()} IS NULL THEN ${e()} ELSE ${e()} END`;
    case 4:
      return `(${query(random, depth - 1)} LIMIT 1)`;
    case 5:
      return `EXISTS (${query(random, depth - 1)})`;
    case 6:
      return `${e()} IN (${e()}, ${e()})`;
    case 7:
      return `ARRAY[${e()}]`;
    case 8:
      return `count(*) FILTER (WHERE ${e()} IS NULL) OVER (ORDER BY ${e()})`;
    case 9:
      return `ROW(${e()}, 1)::text`;
    default:
      return pick(random, COLUMNS);
  }
}

function from(random: Random, depth: number): string {
  const table = pick(random, TABLES);
  if (depth === 0) return `${table} o`;
  switch (random(6)) {
    case 0:
      return `(${query(random, depth - 1)}) o`;
    case 1:
      return `${table} o JOIN ${pick(random, TABLES)} p ON ${expression(random, depth - 1)} IS NOT NULL`;
    case 2:
      return `generate_series(1, 3) AS o(id)`;
    case 3:
      return random(6) === 0 ? "do_it() o" : `${table} o, LATERAL (${query(random, depth - 1)}) l`;
    default:
      return `${table} o`;
  }
}

const TAILS = [
  "",
  "",
  "",
  "",
  " FOR UPDATE",
  " FOR SHARE OF o",
  " LIMIT 3",
  " ORDER BY 1",
  " OFFSET 1",
  " LIMIT nextval('orders_id_seq')",
] as const;
const HEADS = [
  "WITH w AS (SELECT 1 AS id) ",
  "WITH w AS (DELETE FROM secrets WHERE false RETURNING 1) ",
  "WITH w AS (INSERT INTO marks (who) VALUES ('w') RETURNING 1) ",
  "EXPLAIN ",
  "EXPLAIN ANALYZE ",
  "EXPLAIN (ANALYZE off) ",
] as const;

export function query(random: Random, depth: number): string {
  const targets = Array.from({ length: 1 + random(2) }, () => expression(random, depth)).join(", ");
  let sql = `SELECT ${random(12) === 0 ? "DISTINCT " : ""}${targets} FROM ${from(random, depth)}`;
  if (random(3) === 0) sql += ` WHERE ${expression(random, depth)} IS NOT NULL`;
  if (random(12) === 0) sql += ` GROUP BY ${expression(random, 0)}`;
  if (random(10) === 0) sql = `${sql} UNION ALL SELECT ${targets} FROM ${from(random, 0)}`;
  sql += pick(random, TAILS);
  if (depth === 3 && random(10) === 0) sql = pick(random, HEADS) + sql;
  if (depth === 3 && random(40) === 0) sql = `SELECT * INTO made_${random(9)} FROM (${sql}) m`;
  return sql;
}
