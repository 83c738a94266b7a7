# A crew: its model may be asked, with the key that the gateway puts in; invoices may be read, and never deleted.
package sidegate.policy.crew

allow if {
	input.target.name == "model"
	input.http.method == "POST"
	input.http.path == "/v1/chat/completions"
}

credential := "model" if input.target.name == "model"

allow if {
	input.target.name == "billing"
	input.action == "read"
}

deny contains {"code": "no_deletes", "message": "Invoices are never deleted by an agent", "advice": "Open a ticket with the billing team."} if {
	input.target.name == "billing"
	input.http.method == "DELETE"
}
