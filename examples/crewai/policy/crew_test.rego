package sidegate.policy.crew_test

import data.sidegate.policy.crew

ask(path) := {"action": "write", "target": {"name": "model"}, "http": {"method": "POST", "path": path}}

test_the_model_is_asked_with_a_key if {
	crew.allow with input as ask("/v1/chat/completions")
	crew.credential == "model" with input as ask("/v1/chat/completions")
}

test_nothing_else_at_the_model if not crew.allow with input as ask("/v1/files")

test_an_invoice_is_not_deleted if {
	some reason in crew.deny with input as {"action": "write", "target": {"name": "billing"}, "http": {"method": "DELETE", "path": "/v1/invoices/7"}}
	reason.code == "no_deletes"
}
