package sidegate.policy.telemetry_test

import data.sidegate.policy.telemetry

reasons(host) := found if {
	found := telemetry.deny with input as {"target": {"name": null, "host": host}}
		with data.sidegate.data.telemetry.hosts as ["telemetry.crewai.com"]
}

test_telemetry_is_denied_quietly if {
	some reason in reasons("telemetry.crewai.com")
	reason.code == "telemetry"
	reason.quiet
}

test_everything_else_is_not_its_affair if count(reasons("api.openai.com")) == 0
