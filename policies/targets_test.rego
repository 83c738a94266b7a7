package sidegate.policy.targets_test

import data.sidegate.policy.targets

connect(protocol, tls) := {
	"protocol": protocol, "action": "connect", "complete": true,
	"target": {"name": "billing"}, "tls": {"intercepted": tls},
}

codes contains reason.code if some reason in targets.deny

test_a_connection_to_a_known_target_is_allowed if {
	targets.allow with input as connect("http", true)
	targets.allow with input as connect("tls", true)
}

test_a_connection_to_an_unknown_place_is_not_allowed if {
	not targets.allow with input as object.union(connect("http", true), {"target": {"name": null}})
}

test_an_opaque_connection_is_denied_unless_it_is_named if {
	not targets.allow with input as connect("tcp", false)
	codes == {"opaque_target"} with input as connect("tcp", false)
	codes == {"opaque_target"} with input as connect("tls", false)
	targets.allow with input as connect("tcp", false) with data.sidegate.data.targets.opaque as ["billing"]
	codes == set() with input as connect("tcp", false) with data.sidegate.data.targets.opaque as ["billing"]
}

test_a_connection_alone_allows_no_request if {
	not targets.allow with input as object.union(connect("http", true), {"action": "read"})
}
