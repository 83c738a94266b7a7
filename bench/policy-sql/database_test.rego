package sidegate.policy.database_test

import data.sidegate.policy.database

pod := {"namespace": "agents", "serviceAccount": "invoice-agent"}

statement := {
	"kind": "select", "action": "read", "functions": [], "columns": ["abalance", "aid"], "where": true, "limit": null,
	"tables": [{"schema": "", "name": "pgbench_accounts", "access": "read"}],
}

asked(change) := {
	"protocol": "postgres", "action": "read", "complete": true,
	"target": {"name": "ledger-db", "host": "db.ledger.example.com", "port": 5432},
	"sql": {"user": "bench", "database": "bench", "doubts": [], "statements": [object.union(statement, change)]},
}

codes contains reason.code if some reason in database.deny

test_a_granted_table_may_be_read if {
	database.allow with input as asked({}) with data.sidegate.pod as pod
	codes == set() with input as asked({}) with data.sidegate.pod as pod
}

test_another_table_may_not if {
	payroll := asked({"tables": [{"schema": "payroll", "name": "salaries", "access": "read"}]})
	not database.allow with input as payroll with data.sidegate.pod as pod
	"schema" in codes with input as payroll with data.sidegate.pod as pod
}

test_a_write_is_not_granted if {
	delete := asked({"kind": "delete", "action": "write", "where": false})
	not database.allow with input as delete with data.sidegate.pod as pod
	"unconditional" in codes with input as delete with data.sidegate.pod as pod
}

test_a_secret_column_is_denied if {
	"secret_column" in codes with input as asked({"columns": ["password_hash"]}) with data.sidegate.pod as pod
}
