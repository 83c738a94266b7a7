/**
 * `npm run bench -- PART [--json] [--rounds N] [--seconds S]`: our figures beside those of others who do less, measured in one run on
 * one machine. See docs/performance.md for the method.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { admission } from "./parts/admission.ts";
import { bulk } from "./parts/bulk.ts";
import { footprint } from "./parts/footprint.ts";
import { http } from "./parts/http.ts";
import { policy } from "./parts/policy.ts";
import { postgres } from "./parts/postgres.ts";
import { postgresBulk } from "./parts/postgres-bulk.ts";
import { profile } from "./parts/profile.ts";
import { killAll } from "./process.ts";
import { print, type Report } from "./report.ts";
import type { RoundsPlan } from "./rounds.ts";

const PARTS: Readonly<Record<string, (folder: string, plan: RoundsPlan, words: readonly string[]) => Promise<Report>>> =
  { http, bulk, policy, postgres, "postgres-bulk": postgresBulk, footprint, admission, profile };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "3" },
    warm: { type: "string", default: "100000" },
    keep: { type: "boolean", default: false },
  },
});
const [name = "", ...words] = positionals;
const part = PARTS[name];
const plan = { rounds: Number(values.rounds), seconds: Number(values.seconds), warmOperations: Number(values.warm) };
if (part === undefined || !(plan.rounds >= 1) || !(plan.seconds >= 1)) {
  console.error(`usage: npm run bench -- ${Object.keys(PARTS).join("|")} [--json] [--rounds N] [--seconds S]`);
  process.exit(2);
}

const folder = mkdtempSync(path.join(tmpdir(), "sidegate-bench-"));
const clean = (): void => {
  killAll();
  if (values.keep) console.error(`kept: ${folder}`);
  else rmSync(folder, { recursive: true, force: true });
};
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => {
    clean();
    process.exit(1);
  });
try {
  print(await part(folder, plan, words), values.json);
} finally {
  clean();
}
process.exit(0);
