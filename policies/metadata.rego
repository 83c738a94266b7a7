# METADATA
# title: Cloud metadata is never reachable
# description: >-
#   The addresses and names under which clouds hand credentials to whoever asks. Refused in observe mode too (`always`). The gateway
#   refuses link-local addresses by itself; this also covers the names, and a target that somebody makes for them.
package sidegate.policy.metadata

deny contains {
	"code": "metadata_address",
	"message": $"{input.target.host} is a cloud metadata service.",
	"advice": "Ask for a target with a credential instead: the agent needs no cloud token of its own.",
	"always": true,
} if {
	input.target.host in services
}

services := {
	"169.254.169.254",
	"169.254.169.253",
	"169.254.170.2",
	"169.254.170.23",
	"100.100.100.200",
	"192.0.0.192",
	"168.63.129.16",
	"fd00:ec2::254",
	"fd00:ec2::23",
	"fd20:ce::254",
	"metadata",
	"metadata.google.internal",
	"metadata.goog",
	"metadata.azure.com",
	"metadata.azure.internal",
	"metadata.tencentyun.com",
	"instance-data",
	"instance-data.ec2.internal",
}
