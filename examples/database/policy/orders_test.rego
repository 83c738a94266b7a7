package sidegate.policy.orders_test

import data.sidegate.policy.orders

ask(action) := {"action": action, "target": {"name": "orders"}}

test_reading_is_allowed_with_the_credential_and_a_mask if {
	orders.allow with input as ask("read")
	orders.credential == "orders" with input as ask("read")
	some mask in orders.mask with input as ask("read")
	mask.selector == "public.customers.email"
}

test_writing_is_not_allowed if not orders.allow with input as ask("write")

test_dropping_is_denied if {
	some reason in orders.deny with input as ask("admin")
	reason.code == "no_ddl"
}

test_no_other_target_gets_the_credential if not orders.credential with input as {"action": "read", "target": {"name": "other"}}
