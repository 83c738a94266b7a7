package sidegate.policy.api_test

import data.sidegate.policy.api

test_reading_an_item_is_allowed if api.allow with input as {"action": "read", "target": {"name": "api"}, "http": {"method": "GET", "segments": ["v1", "items"]}}

test_deleting_is_denied if count(api.deny) == 1 with input as {"action": "write", "target": {"name": "api"}, "http": {"method": "DELETE", "segments": ["v1"]}}
