package sidegate.policy.metadata_test

import data.sidegate.policy.metadata

codes(host) := {reason.code | some reason in reasons} if {
	reasons := metadata.deny with input as {"target": {"name": "x", "host": host}}
}

test_metadata_services_are_denied if {
	every host in ["169.254.169.254", "fd00:ec2::254", "metadata.google.internal", "100.100.100.200"] {
		codes(host) == {"metadata_address"}
	}
}

test_other_hosts_are_not if codes("api.example.com") == set()

test_it_holds_in_observe_mode_too if {
	some reason in metadata.deny with input as {"target": {"host": "169.254.169.254"}}
	reason.always
}
