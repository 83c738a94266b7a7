/**
 * Writes charts/gateway/files/admission-policies.yaml: the second lock, ValidatingAdmissionPolicies that demand what injection
 * makes, in the API server itself. A test compares, so that a changed injection without a changed lock does not land.
 */
import { copyFileSync, writeFileSync } from "node:fs";
import { stringify } from "yaml";
import { audiencePolicy, forbiddenPolicy, lockedPolicy, meshPolicy } from "./admission/forbidden.ts";
import { freezePolicy } from "./admission/freeze.ts";
import { gatewayPolicy, resolversPolicy, runtimePolicy } from "./admission/gateway.ts";
import { meshEntryPolicy } from "./admission/mesh.ts";
import {
  bindingPolicy,
  entryPolicy,
  lockedEntryPolicy,
  namespacePartsPolicy,
  namespacePolicy,
  tokenPolicy,
  updatePolicy,
} from "./admission/others.ts";
import { manifest, type Policy } from "./admission/policy.ts";
import { labelledWorkloadPolicy, unguardedWorkloadPolicy, workloadPolicy } from "./admission/workloads.ts";

export const ADMISSION_POLICIES_FILE = "charts/gateway/files/admission-policies.yaml";

/** The library's policy that opens connections to named targets: without it nothing goes (docs/adr/0001-connect-is-a-policy.md). */
export const TARGETS_POLICY = { from: "policies/targets.rego", to: "charts/gateway/files/targets.rego" } as const;

export const ADMISSION_POLICIES: readonly Policy[] = [
  gatewayPolicy(),
  runtimePolicy(),
  resolversPolicy(),
  forbiddenPolicy(),
  meshPolicy(),
  lockedPolicy(),
  audiencePolicy(),
  updatePolicy(),
  bindingPolicy(),
  entryPolicy(),
  meshEntryPolicy(),
  lockedEntryPolicy(),
  tokenPolicy(),
  namespacePolicy(),
  namespacePartsPolicy(),
  freezePolicy(),
  workloadPolicy(),
  labelledWorkloadPolicy(),
  unguardedWorkloadPolicy(),
];

export function admissionPoliciesText(): string {
  const head = "# Written by tools/admission-policies.ts from src/injection; do not edit.\n";
  return head + ADMISSION_POLICIES.map((policy) => `---\n${stringify(manifest(policy), { lineWidth: 0 })}`).join("");
}

if (import.meta.main) {
  writeFileSync(ADMISSION_POLICIES_FILE, admissionPoliciesText());
  copyFileSync(TARGETS_POLICY.from, TARGETS_POLICY.to);
}
