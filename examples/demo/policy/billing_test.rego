package sidegate.policy.billing_test

import data.sidegate.policy.billing

get := {"action": "read", "target": {"name": "billing"}, "http": {"method": "GET", "segments": ["v1", "invoices", "7"]}}

test_reading_an_invoice_is_allowed if billing.allow with input as get

test_deleting_is_denied if {
	some reason in billing.deny with input as {"action": "write", "target": {"name": "billing"}, "http": {"method": "DELETE", "segments": ["v1", "invoices", "7"]}}
	reason.code == "no_deletes"
}
