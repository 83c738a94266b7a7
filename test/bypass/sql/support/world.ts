/** The database that the corpus talks about: tables, and somebody's functions, operators and types with teeth. */

export const AGENT = "agent";
/** Made up; trusted by nobody but the server of one test. */
export const AGENT_PASSWORD = "as-the-secret-says";

/**
 * `agent` may do anything, so that nothing is refused by the server for want of rights: what a reading lets pass is really run.
 * Every function with teeth writes a row to `marks`.
 */
export const WORLD = `
CREATE ROLE ${AGENT} LOGIN SUPERUSER PASSWORD '${AGENT_PASSWORD}';
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE TABLE marks (id serial, who text);
CREATE TABLE customers (id serial PRIMARY KEY, email text UNIQUE, data jsonb, m mood, created_at timestamptz DEFAULT now());
CREATE TABLE orders (id bigserial PRIMARY KEY, customer_id int REFERENCES customers (id), total numeric(10, 2), tags text[], note text);
CREATE TABLE secrets (id int PRIMARY KEY, word text);
CREATE TABLE parts (id int, d date) PARTITION BY RANGE (d);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE INDEX ON orders USING gin (tags);
CREATE VIEW big AS SELECT * FROM orders WHERE total > 100;
CREATE STATISTICS st ON customer_id, total FROM orders;
INSERT INTO customers (email, data) VALUES ('a@example.test', '{"a": 1, "name": "x"}'), ('b@example.test', '{"a": {"b": 2}}');
INSERT INTO orders (customer_id, total, tags, note) SELECT 1 + i % 2, i, ARRAY['x', 'y'], 'note ' || i FROM generate_series(1, 50) i;
INSERT INTO secrets SELECT i, 'word-' || i FROM generate_series(1, 20) i;
INSERT INTO parts VALUES (1, '2020-05-05');
CREATE MATERIALIZED VIEW summary AS SELECT customer_id, sum(total) FROM orders GROUP BY 1;
CREATE FUNCTION trg() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE FUNCTION do_it() RETURNS int LANGUAGE sql AS $$ INSERT INTO marks (who) VALUES ('do_it') RETURNING id $$;
CREATE FUNCTION do_it(orders) RETURNS int LANGUAGE sql AS $$ INSERT INTO marks (who) VALUES ('do_it(orders)') RETURNING id $$;
CREATE FUNCTION mark(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO marks (who) VALUES ($1); RETURN true; END $$;
CREATE FUNCTION immutable_but_not() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN INSERT INTO marks (who) VALUES ('immutable'); RETURN 1; END $$;
CREATE DOMAIN checked AS text CHECK (mark(VALUE));
CREATE TYPE checked_row AS (a checked);
CREATE FUNCTION lower(varchar, int) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;
CREATE FUNCTION change_password() RETURNS void LANGUAGE sql AS $$ ALTER ROLE ${AGENT} PASSWORD 'owned' $$;
CREATE FUNCTION change_password_by_field(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE ${AGENT} PASSWORD 'owned'; RETURN 1; END $$;
CREATE FUNCTION change_password_by_operator(int, int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE ${AGENT} PASSWORD 'owned'; RETURN 1; END $$;
CREATE OPERATOR public.<!> (LEFTARG = int, RIGHTARG = int, FUNCTION = change_password_by_operator);
CREATE FUNCTION change_password_by_check(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE ${AGENT} PASSWORD 'owned'; RETURN true; END $$;
CREATE DOMAIN owning_domain AS text CHECK (change_password_by_check(VALUE));
CREATE PROCEDURE change_password_procedure() LANGUAGE sql AS $$ ALTER ROLE ${AGENT} PASSWORD 'owned' $$;
CREATE FUNCTION change_password_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE ${AGENT} PASSWORD 'owned'; RETURN new; END $$;
CREATE FUNCTION change_password_event() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE ${AGENT} PASSWORD 'owned'; END $$;
CREATE FUNCTION add_marked(int, int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO marks (who) VALUES ('operator'); RETURN 0; END $$;
CREATE OPERATOR public.<=> (LEFTARG = int, RIGHTARG = int, FUNCTION = add_marked);
CREATE OPERATOR public.+ (LEFTARG = int, RIGHTARG = int, FUNCTION = add_marked);
ANALYZE;
`;

/**
 * Objects with harmless names and teeth. Only where they are the subject: with them in the search path, an ordinary query of Rails
 * (`typinput::varchar = 'array_in'`) writes a mark.
 */
export const TREACHERY = `
CREATE VIEW treacherous_view AS SELECT do_it();
CREATE TABLE treacherous_names (v varchar);
INSERT INTO treacherous_names VALUES ('a');
CREATE FUNCTION upper(varchar) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM mark('upper'); RETURN 'x'; END $$;
CREATE FUNCTION same(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN mark('='); END $$;
CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = same);
CREATE TABLE treacherous_rows (id int);
INSERT INTO treacherous_rows VALUES (1);
ALTER TABLE treacherous_rows ENABLE ROW LEVEL SECURITY;
CREATE POLICY treacherous ON treacherous_rows USING (mark('policy'));
CREATE ROLE ordinary LOGIN;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO ordinary;
GRANT INSERT ON marks TO ordinary;
GRANT USAGE ON SEQUENCE marks_id_seq TO ordinary;
`;
