package sidegate.policy.read_only_test

import data.sidegate.policy.read_only

ask(target, action) := {"protocol": "http", "action": action, "complete": true, "target": {"name": target}}

lists := {"read": ["docs"], "write": ["tickets"]}

codes contains reason.code if some reason in read_only.deny

test_a_read_only_target_is_read if read_only.allow with input as ask("docs", "read") with data.sidegate.data.read_only as lists

test_a_read_only_target_refuses_every_other_verb if {
	every action in ["write", "admin", "execute", "credential", "unknown"] {
		not read_only.allow with input as ask("docs", action) with data.sidegate.data.read_only as lists
		codes == {"read_only"} with input as ask("docs", action) with data.sidegate.data.read_only as lists
	}
}

test_a_writable_target_is_read_and_written_but_not_administered if {
	read_only.allow with input as ask("tickets", "read") with data.sidegate.data.read_only as lists
	read_only.allow with input as ask("tickets", "write") with data.sidegate.data.read_only as lists
	not read_only.allow with input as ask("tickets", "admin") with data.sidegate.data.read_only as lists
}

test_a_target_in_neither_list_is_another_policys_affair if {
	not read_only.allow with input as ask("billing", "read") with data.sidegate.data.read_only as lists
	codes == set() with input as ask("billing", "write") with data.sidegate.data.read_only as lists
}

test_opening_a_connection_is_no_write if {
	codes == set() with input as ask("docs", "connect") with data.sidegate.data.read_only as lists
}
