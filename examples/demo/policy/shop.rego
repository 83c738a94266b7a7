# The demo's database: rows may be read, e-mail addresses stand there as tokens, and tables are people's business.
package sidegate.policy.shop

allow if {
	input.target.name == "shop"
	input.action in {"connect", "read"}
}

credential := "shop" if input.target.name == "shop"

mask contains {"selector": "public.users.email", "with": "token"} if {
	input.target.name == "shop"
	input.action == "read"
}

deny contains {"code": "no_ddl", "message": "Tables are made and dropped by people.", "advice": "Ask the shop team for a migration."} if {
	input.target.name == "shop"
	input.action == "admin"
}
