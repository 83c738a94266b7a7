# METADATA
# title: Read-only and writable HTTP targets
# description: >-
#   `read_only.data.yaml` lists targets by name: from those under `read` an agent may read, at those under `write` it may also write.
#   A read-only target refuses everything else, also when another policy would allow it.
package sidegate.policy.read_only

import data.sidegate.data.read_only as config

allow if {
	input.action == "read"
	listed
}

allow if {
	input.action == "write"
	input.target.name in config.write
}

deny contains {
	"code": "read_only",
	"message": $"{input.target.name} may only be read.",
	"advice": "Use GET or HEAD, or ask for the target to be listed under `write`.",
} if {
	input.target.name in config.read
	not input.target.name in config.write
	not input.action in {"read", "connect"}
}

listed if input.target.name in config.read

listed if input.target.name in config.write
