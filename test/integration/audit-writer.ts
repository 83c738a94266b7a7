/**
 * The writer of audit-crash.test.ts: a process that records operations as a sidecar does, and "forwards" each by a line in a file
 * once the gate has said yes. Arguments: spool folder, collector's socket, file of what was forwarded, how many operations, and
 * "paced" to wait for a word from the parent after each hundred.
 */
import { randomBytes } from "node:crypto";
import { openSync, writeSync } from "node:fs";
import { openAudit } from "#audit/open.ts";
import { systemClock } from "#core/clock.ts";
import { op, WORKLOAD } from "../support/record.ts";

const [directory = "", socket = "", forwardedPath = "", count = "0", paced = ""] = process.argv.slice(2);
const forwarded = openSync(forwardedPath, "a");
const audit = openAudit({
  directory,
  collector: { kind: "unix", path: socket },
  token: null,
  workload: WORKLOAD,
  version: "0.0.0",
  clock: systemClock,
  random: randomBytes,
});
const { recorder } = audit;
const session = recorder.session({ client: "a:1", destination: "b:2", target: "t", host: "t.example", port: 2 });

/** What the parent hears. */
export type FromWriter = { readonly forwarded: number } | { readonly drained: boolean };
const say = (message: FromWriter): void => void process.send?.(message);

let asked = 0;
let done = 0;
async function finish(): Promise<void> {
  recorder.closed(session, 0, 0, "done");
  say({ drained: await audit.close("done", 30_000) });
  process.disconnect?.();
}

function turn(): void {
  // Several in one turn, as a busy loop has them.
  for (let i = 0; i < 4 && asked < Number(count); i++) one();
  if (asked >= Number(count)) return;
  if (paced !== "" && asked % 100 === 0) process.once("message", () => setImmediate(turn));
  else setImmediate(turn);
}

function one(): void {
  asked++;
  const seq = recorder.op(op({ session, facts: `"http":{"method":"GET","path":"/${asked}"}` }));
  recorder.gate.committed((ok) => {
    if (ok) writeSync(forwarded, `${recorder.boot}-${seq}\n`);
    recorder.end({ op: seq, status: "200", ms: 1, bytesUp: 1, bytesDown: 1, masked: 0, attempts: 1 });
    done++;
    if (done % 25 === 0) say({ forwarded: done });
    if (done === Number(count)) void finish();
  });
}

if (Number(count) > 0) turn();
else void finish();
