# METADATA
# title: Connections to known targets
# description: >-
#   A connection to a target may be opened; what is asked on it is then judged act by act. Where nothing can be read on it
#   (`protocol: tcp`, `tls: passthrough`) the connection is the whole decision, so such a target must be named in the data:
#   `targets.data.yaml` with `opaque: [NAME, …]`.
package sidegate.policy.targets

import data.sidegate.data.targets as config

allow if {
	input.action == "connect"
	input.target.name != null
	not opaque
}

allow if {
	input.action == "connect"
	opaque
	input.target.name in config.opaque
}

deny contains {
	"code": "opaque_target",
	"message": $"Nothing can be read on a connection to {input.target.name}, and no policy lists it.",
	"advice": "Add the target to `opaque` in targets.data.yaml, or let its TLS be inspected.",
} if {
	input.action == "connect"
	opaque
	not input.target.name in config.opaque
}

opaque if input.protocol == "tcp"

opaque if {
	input.protocol == "tls"
	not input.tls.intercepted
}
