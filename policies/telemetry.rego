# METADATA
# title: Quiet refusal of framework telemetry
# description: >-
#   Agent frameworks report home, retry when refused, and would fill the record. `quiet` denials are counted and folded, not written
#   one by one. `telemetry.data.yaml` replaces the list; an empty one lets other policies decide.
package sidegate.policy.telemetry

import data.sidegate.data.telemetry as config

deny contains {
	"code": "telemetry",
	"message": "Framework telemetry does not leave here.",
	"advice": "Switch it off in the framework (for CrewAI: CREWAI_DISABLE_TELEMETRY=true); it then starts and ends faster.",
	"quiet": true,
} if {
	input.target.host in config.hosts
}
