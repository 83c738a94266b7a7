/** `sidegate audit`: reads the record, straight from the collector's store, also while it writes. */
import type { Command } from "commander";
import { registerAuditQuery } from "./audit-query.ts";

export function registerAudit(program: Command): void {
  const audit = program.command("audit").description("Read, prove and erase the record");
  registerAuditQuery(audit);
}
