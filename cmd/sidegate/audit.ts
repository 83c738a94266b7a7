/** `sidegate audit`: reads the record, straight from the collector's store, also while it writes. */
import type { Command } from "commander";
import { registerAuditAccept } from "./audit-accept.ts";
import { registerAuditCoverage } from "./audit-coverage.ts";
import { registerAuditErase } from "./audit-erase.ts";
import { registerAuditEstimate } from "./audit-estimate.ts";
import { registerAuditExport } from "./audit-export.ts";
import { registerAuditQuery } from "./audit-query.ts";
import { registerAuditSummary } from "./audit-summary.ts";
import { registerAuditTail } from "./audit-tail.ts";
import { registerAuditVerify } from "./audit-verify.ts";

export function registerAudit(program: Command): void {
  const audit = program
    .command("audit")
    .description("Read, prove and erase the record")
    .addHelpText(
      "after",
      "\nThe record of sidegate run on this machine, or with -n NAMESPACE or -A a cluster's. Times are UTC. Exit codes: 0 done (also where nothing matches), 1 a finding, 2 wrong usage.",
    );
  registerAuditTail(audit);
  registerAuditQuery(audit);
  registerAuditSummary(audit);
  registerAuditVerify(audit);
  registerAuditErase(audit);
  registerAuditExport(audit);
  registerAuditCoverage(audit);
  registerAuditAccept(audit);
  registerAuditEstimate(audit);
}
