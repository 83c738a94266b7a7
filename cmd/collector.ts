/**
 * The collector process: reads its configuration, listens, and on SIGTERM answers what is under way and ends. Started by
 * `sidegate run` (a Unix socket; it ends with its parent) or in a cluster (TLS).
 */
import { startCollector } from "../src/collector/collector.ts";
import type { Listen } from "../src/collector/server.ts";
import { systemClock } from "../src/core/clock.ts";

function say(event: string, members: Readonly<Record<string, unknown>>): void {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), event, ...members })}\n`);
}

const database = process.env["SIDEGATE_AUDIT_DB"] ?? "";
const socket = process.env["SIDEGATE_COLLECTOR_SOCKET"] ?? "";
if (database === "" || socket === "") {
  process.stderr.write("SIDEGATE_AUDIT_DB and SIDEGATE_COLLECTOR_SOCKET must name the store and the socket.\n");
  process.exit(2);
}
const listen: Listen = { kind: "unix", path: socket };

const collector = await startCollector({
  database,
  listen,
  authenticate: null,
  clock: systemClock,
  onFinding: (finding, boot, seq) => say("finding", { finding, boot, seq }),
  onError: (fault) => say("error", { message: fault.message }),
});
process.send?.({ kind: "ready" });

let ending = false;
async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  await collector.close();
  process.exit(0);
}
process.on("SIGTERM", () => void end());
process.on("SIGINT", () => void end());
// The parent that started us is gone: nobody will send any more.
process.on("disconnect", () => void end());
