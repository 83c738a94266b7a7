package sidegate.policy.gateway_test

import data.sidegate.policy.gateway

pod := {"namespace": "agents", "serviceAccount": "invoice-agent"}

run := {"id": "r1", "user": "ada", "intent": "", "verified": true}

get := {
	"protocol": "http", "action": "read", "complete": true, "run": run,
	"target": {"name": "billing", "host": "billing.example.com", "port": 443},
	"http": {
		"method": "GET", "scheme": "https", "path": "/v1/invoices/7", "segments": ["v1", "invoices", "7"],
		"query": {}, "headers": {}, "contentType": null, "contentLength": null, "truncated": false,
	},
}

codes contains reason.code if some reason in gateway.deny

test_a_granted_read_is_allowed if {
	gateway.allow with input as get with data.sidegate.pod as pod
	codes == set() with input as get with data.sidegate.pod as pod
}

test_a_write_without_a_run_is_denied if {
	bare := object.union(object.remove(get, ["run"]), {"action": "write"})
	"unattended_write" in codes with input as bare with data.sidegate.pod as pod
}
