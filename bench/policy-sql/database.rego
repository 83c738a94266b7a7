# What `npm run bench -- postgres` judges statements with, beside bench/policy: what a platform team lets an agent do with a database.
# Tables by role from data, writes only with a condition, no secrets, no way out of the database; no regular expression.
package sidegate.policy.database

import data.sidegate.data.database as config
import data.sidegate.pod

# ---------------------------------------------------------------- who asks

roles contains role if some role in config.service_accounts[pod.serviceAccount]

grants contains grant if {
	some role in roles
	some grant in config.roles[role].grants
	grant.target == input.target.name
}

# ---------------------------------------------------------------- allowed

allow if {
	input.protocol == "postgres"
	input.action == "connect"
	count(grants) > 0
}

allow if {
	count(input.sql.statements) > 0
	every statement in input.sql.statements {
		statement_granted(statement)
	}
}

statement_granted(statement) if {
	some grant in grants
	statement.kind in grant.kinds
	every table in statement.tables {
		table_granted(grant, table)
	}
}

table_granted(grant, table) if {
	table.access == "read"
	table.name in grant.read
}

table_granted(grant, table) if table.name in grant.write

# ---------------------------------------------------------------- denied

deny contains {"code": "freeze", "message": $"change freeze for {input.sql.database}"} if {
	config.freeze[input.sql.database]
	input.action in {"write", "admin"}
}

deny contains {"code": "unconditional", "message": "an update or delete needs a condition"} if {
	some statement in input.sql.statements
	statement.kind in {"update", "delete"}
	not statement.where
}

deny contains {"code": "large_table", "message": $"{table.name} is read with a condition or a limit"} if {
	some statement in input.sql.statements
	statement.kind == "select"
	some table in statement.tables
	config.large[table.name]
	not statement.where
	not statement.limit
}

deny contains {"code": "secret_column", "message": $"{column} is nobody's business"} if {
	some statement in input.sql.statements
	some column in statement.columns
	config.secret_columns[column]
}

deny contains {"code": "function", "message": $"{name} is not for agents"} if {
	some statement in input.sql.statements
	some name in statement.functions
	config.denied_functions[name]
}

deny contains {"code": "superuser", "message": "agents do not log in as the owner"} if {
	config.owners[input.sql.user]
}

deny contains {"code": "rows", "message": "too many rows at once"} if {
	some statement in input.sql.statements
	statement.limit > config.limits.rows
}

deny contains {"code": "schema", "message": $"schema {table.schema} is not for agents"} if {
	some statement in input.sql.statements
	some table in statement.tables
	config.denied_schemas[table.schema]
}

deny contains {"code": "tables", "message": "too many tables in one statement"} if {
	some statement in input.sql.statements
	count(statement.tables) > config.limits.tables
}
