package sidegate.policy.shop_test

import data.sidegate.policy.shop

ask(action) := {"action": action, "target": {"name": "shop"}}

test_reading_is_allowed_with_the_credential_and_a_mask if {
	shop.allow with input as ask("read")
	shop.credential == "shop" with input as ask("read")
	some mask in shop.mask with input as ask("read")
	mask.with == "token"
}

test_dropping_is_denied if {
	some reason in shop.deny with input as ask("admin")
	reason.code == "no_ddl"
}
