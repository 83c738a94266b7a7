/** `sidegate status`: which pods are outside the gate and why, what is stale, and what to type. */
import type { Command } from "commander";
import { jsonForTerminal } from "../../src/core/escape.ts";
import type { Cluster } from "../../src/oncall/cluster.ts";
import { createFacts } from "../../src/oncall/facts.ts";
import { NoSuchNamespace, readStatus } from "../../src/oncall/status.ts";
import { renderStatus } from "../../src/oncall/status-text.ts";
import { addClusterFlags, type ClusterFlags } from "./cluster-options.ts";
import { withCluster } from "./oncall-cluster.ts";

interface StatusFlags extends ClusterFlags {
  readonly namespace?: string;
  readonly gatewayNamespace: string;
  readonly json?: boolean;
}

export function registerStatus(program: Command): void {
  addClusterFlags(program.command("status"))
    .description("Show which pods are outside the gate and why, what is stale or open on purpose, and what to type")
    .option("-n, --namespace <name>", "this namespace only; default: every one that opted in, and every pod that did")
    .option("--gateway-namespace <name>", "the gateway's own namespace", "sidegate")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nExit codes: 0 every pod that should be is inside, with the policies in force, and every policy and target is Ready; 1 not so, or something could not be looked at, or no cluster; 2 wrong usage. Older releases, observe mode and exemptions are shown, and are no failure until their date has passed.",
    )
    .action((flags: StatusFlags) => withCluster("status", flags, (cluster) => status(cluster, flags)));
}

async function status(cluster: Cluster, flags: StatusFlags): Promise<number> {
  const facts = createFacts(cluster, flags.gatewayNamespace, () => Date.now());
  try {
    const report = await readStatus(facts, flags.namespace ?? "");
    process.stdout.write(flags.json === true ? `${jsonForTerminal(report)}\n` : renderStatus(report));
    return report.ok ? 0 : 1;
  } catch (fault) {
    if (!(fault instanceof NoSuchNamespace)) throw fault;
    process.stderr.write(`sidegate status: --namespace: ${fault.message}\n`);
    return 2;
  }
}
