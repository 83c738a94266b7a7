/** `sidegate doctor`: looks at a cluster before, and while, agents are trusted to it; each failure with its way out. */
import type { Command } from "commander";
import { VERSION } from "../../src/contract/version.ts";
import { jsonForTerminal } from "../../src/core/escape.ts";
import type { Cluster } from "../../src/oncall/cluster.ts";
import { doctorChecks, examine } from "../../src/oncall/doctor.ts";
import { createFacts } from "../../src/oncall/facts.ts";
import { type Finding, renderFinding, renderTotal } from "../../src/oncall/finding.ts";
import { proveNodes } from "../../src/oncall/node-proof.ts";
import { addClusterOptions, type ClusterOptions } from "./cluster-options.ts";
import { untilInterrupted, withCluster } from "./oncall-cluster.ts";

interface DoctorFlags extends ClusterOptions {
  readonly nodes?: boolean;
  readonly json?: boolean;
}

export function registerDoctor(program: Command): void {
  addClusterOptions(program.command("doctor"))
    .description("Look at a cluster: what would refuse or let out an agent, each with its fix")
    .option("--nodes", "prove the redirect on each kind of node, by a pod that ends within a minute and is removed")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nNothing is changed, but for the pods of --nodes. A check that your rights do not allow is a failure that names the right.\nExit codes: 0 no failure (warnings are none), 1 a failure, or no cluster, 2 wrong usage.",
    )
    .action((flags: DoctorFlags) => withCluster("doctor", flags, (cluster) => doctor(cluster, flags)));
}

async function doctor(cluster: Cluster, flags: DoctorFlags): Promise<number> {
  const facts = createFacts(cluster, flags.gatewayNamespace, () => Date.now());
  const findings: Finding[] = [];
  const tell = (finding: Finding): void => {
    findings.push(finding);
    if (flags.json !== true) process.stdout.write(renderFinding(finding));
  };
  for await (const finding of examine(doctorChecks(VERSION), facts)) tell(finding);
  if (flags.nodes === true) for await (const finding of proveNodes(facts, untilInterrupted())) tell(finding);
  const failed = findings.some(({ state }) => state === "fail");
  process.stdout.write(flags.json === true ? `${jsonForTerminal({ ok: !failed, findings })}\n` : renderTotal(findings));
  return failed ? 1 : 0;
}
