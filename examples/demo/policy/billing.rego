# The demo's policy: reading invoices is fine, everything else at billing is not.
package sidegate.policy.billing

allow if {
	input.target.name in {"billing", "billing-plain"}
	input.action == "read"
	input.http.segments[0] == "v1"
}

deny contains {"code": "no_deletes", "message": "Invoices are never deleted by an agent.", "advice": "Open a ticket with the billing team."} if {
	input.target.name in {"billing", "billing-plain"}
	input.http.method == "DELETE"
}
