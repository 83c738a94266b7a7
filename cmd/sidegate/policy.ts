/** `sidegate policy …`: make, check, test, explain and suggest policies. One file a sub-command. */
import type { Command } from "commander";
import { registerPolicyBuild } from "./policy-build.ts";
import { registerPolicyExplain } from "./policy-explain.ts";
import { registerPolicyInit } from "./policy-init.ts";
import { registerPolicySuggest } from "./policy-suggest.ts";
import { registerPolicyTest } from "./policy-test.ts";

export function registerPolicy(program: Command): void {
  const policy = program
    .command("policy")
    .description("Make, check, test, explain and suggest policies")
    .addHelpText("after", "\nExit codes: 0 done, 1 something is wrong with the policy, 2 wrong usage.");
  registerPolicyInit(policy);
  registerPolicyBuild(policy);
  registerPolicyTest(policy);
  registerPolicyExplain(policy);
  registerPolicySuggest(policy);
}
