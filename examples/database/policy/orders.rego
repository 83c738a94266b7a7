# An agent with a database and no password: it reads, some of it masked, as a user whose password it never had.
package sidegate.policy.orders

allow if {
	input.target.name == "orders"
	input.action in {"connect", "read"}
}

credential := "orders" if input.target.name == "orders"

mask contains {"selector": "public.customers.email", "with": "token"} if {
	input.target.name == "orders"
	input.action == "read"
}

deny contains {"code": "no_ddl", "message": "Tables are made and dropped by people.", "advice": "Ask the orders team for a migration."} if {
	input.target.name == "orders"
	input.action == "admin"
}
