/** `sidegate purge`: removes what `helm uninstall` keeps, after showing it and asking. */
import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import { escapeForTerminal } from "../../src/core/escape.ts";
import type { Cluster } from "../../src/oncall/cluster.ts";
import { type PurgePlan, planAgain, planPurge } from "../../src/oncall/purge.ts";
import { leftoverName, purge } from "../../src/oncall/purge-act.ts";
import { addClusterOptions, type ClusterOptions } from "./cluster-options.ts";
import { withCluster } from "./oncall-cluster.ts";

interface PurgeFlags extends ClusterOptions {
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly keepRecord?: boolean;
}

export function registerPurge(program: Command): void {
  addClusterOptions(program.command("purge"))
    .description("Remove what an uninstall keeps: custom resources, keys, the record's volume, labels of namespaces")
    .option("--dry-run", "only list")
    .option("--keep-record", "the record's volume claim stays")
    .option("--yes", "do not ask")
    .addHelpText(
      "after",
      "\nRefuses while pods have a gateway, and while the release is installed.\nExit codes: 0 removed, or nothing there, or --dry-run; 1 refused, or not everything could be removed; 2 wrong usage, or nobody to ask.",
    )
    .action((flags: PurgeFlags) => withCluster("purge", flags, (cluster) => run(cluster, flags)));
}

async function run(cluster: Cluster, flags: PurgeFlags): Promise<number> {
  const wish = { namespace: flags.gatewayNamespace, keepRecord: flags.keepRecord === true };
  let plan = await planPurge(cluster, wish);
  if (plan.kind === "refused") return sayRefused(plan);
  if (plan.leftovers.length === 0) {
    process.stdout.write("Nothing of Sidegate is left.\n");
    return 0;
  }
  for (const leftover of plan.leftovers)
    process.stdout.write(`  ${escapeForTerminal(`${leftoverName(leftover)}: ${leftover.what}`)}\n`);
  if (flags.dryRun === true) return 0;
  if (flags.yes !== true) {
    if (!process.stdin.isTTY) {
      process.stderr.write("sidegate purge: there is nobody to ask; --yes removes all of this, --dry-run only lists\n");
      return 2;
    }
    if (!(await isSure(plan.leftovers.length))) {
      process.stdout.write("Nothing was removed.\n");
      return 1;
    }
    plan = await planAgain(cluster, wish, plan.leftovers);
    if (plan.kind === "refused") return sayRefused(plan);
  }
  let done = 0;
  try {
    await purge(cluster, plan.leftovers, () => {
      done++;
    });
  } catch (fault) {
    const why = fault instanceof Error ? fault.message : String(fault);
    process.stderr.write(`sidegate purge: ${escapeForTerminal(why)}\n${done} of ${plan.leftovers.length} removed\n`);
    return 1;
  }
  process.stdout.write(`${done} removed. The namespace ${flags.gatewayNamespace} itself stays.\n`);
  return 0;
}

function sayRefused({ why, names, fix }: PurgePlan & { readonly kind: "refused" }): number {
  const list = names.map((name) => `  ${escapeForTerminal(name)}\n`).join("");
  process.stderr.write(`sidegate purge: ${why}:\n${list}${fix}\n`);
  return 1;
}

async function isSure(count: number): Promise<boolean> {
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await asking.question(`Remove these ${count}? There is no way back. Type yes: `);
    return answer.trim() === "yes";
  } finally {
    asking.close();
  }
}
