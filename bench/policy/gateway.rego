# What `npm run bench` judges with: a policy of the size that a platform team ends up with. Roles come from the pod, grants and
# limits from data; a good dozen rules over one HTTP request, no regular expression.
package sidegate.policy.gateway

import data.sidegate.data.gateway as config
import data.sidegate.pod

# ---------------------------------------------------------------- who asks

team := config.namespaces[pod.namespace].team

roles contains role if some role in config.service_accounts[pod.serviceAccount]

roles contains role if some role in config.teams[team].roles

roles contains "unattended" if not input.run

grants contains grant if {
	some role in roles
	some grant in config.roles[role].grants
	destination_matches(grant.destinations)
}

destination_matches(patterns) if input.target.host in patterns

destination_matches(patterns) if {
	some pattern in patterns
	startswith(pattern, "*.")
	endswith(input.target.host, substring(pattern, 1, -1))
}

# ---------------------------------------------------------------- allowed

allow if {
	input.action == "connect"
	count(grants) > 0
}

allow if {
	some grant in grants
	input.http.method in grant.methods
	some prefix in grant.paths
	startswith(input.http.path, prefix)
}

# ---------------------------------------------------------------- denied

deny contains {"code": "plaintext", "message": $"plaintext to {input.target.host} is not permitted"} if {
	input.http.scheme == "http"
	not config.plaintext_ok[input.target.host]
}

deny contains {"code": "freeze", "message": $"change freeze for team {team}"} if {
	config.freeze[team]
	input.action in {"write", "admin"}
}

deny contains {"code": "unattended_write", "message": "a run must say who it works for before it writes"} if {
	"unattended" in roles
	input.action != "read"
	config.require_run
}

deny contains {"code": "upload", "message": $"a body of {input.http.contentLength} bytes is over the limit"} if {
	input.http.contentLength > object.get(config.limits, "body_bytes", 1048576)
}

deny contains {"code": "content_type", "message": $"{input.http.contentType} may not be sent"} if {
	input.action == "write"
	not input.http.contentType in config.content_types
}

deny contains {"code": "secret_path", "message": "this part of the API holds secrets"} if {
	some segment in input.http.segments
	segment in config.secret_segments
}

deny contains {"code": "query_token", "message": $"query parameter {name} carries a token"} if {
	some name, _ in input.http.query
	lower(name) in config.token_parameters
}

deny contains {"code": "header", "message": $"header {name} may not leave"} if {
	some name in config.denied_headers
	input.http.headers[name]
}

deny contains {"code": "page_size", "message": "too many rows at once"} if {
	some value in input.http.query.limit
	to_number(value) > config.limits.rows
}

deny contains {"code": "admin_host", "message": "administrative hosts are for operators"} if {
	startswith(input.target.host, "admin.")
	not "operator" in roles
}

deny contains {"code": "port", "message": $"port {input.target.port} is not one of ours"} if {
	not input.target.port in config.ports
}

deny contains {"code": "long_segment", "message": "a path segment is too long to be a name"} if {
	some segment in input.http.segments
	count(segment) > config.limits.segment
}

deny contains {"code": "client", "message": "this client library is not supported any more"} if {
	some client in config.retired_clients
	startswith(input.http.headers["user-agent"], client)
}

deny contains {"code": "tenant", "message": "another team's customers may not be read"} if {
	input.target.name == "billing"
	some name in input.http.query.tenant
	not name in config.teams[team].tenants
}

deny contains {"code": "unverified_run", "message": "the run's token is not verified"} if {
	not input.run.verified
	input.action != "read"
}
