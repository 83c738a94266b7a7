# What the sample agent may do: read items of the API, over TLS or not.
package sidegate.policy.api

allow if {
	input.target.name in {"api", "api-plain"}
	input.action == "read"
	input.http.segments[0] == "v1"
}

deny contains {"code": "no_deletes", "message": "Items are never deleted by an agent.", "advice": "Ask the API's owner."} if {
	input.target.name in {"api", "api-plain"}
	input.http.method == "DELETE"
}
