package sidegate.policy.items

allow if {
	input.target.name in {"api", "api-plain"}
	input.action == "read"
	input.http.segments[0] == "v1"
}

deny contains {"code": "no_deletes", "message": "Items are never deleted by an agent.", "advice": "Ask the API's owner."} if {
	input.http.method == "DELETE"
}
