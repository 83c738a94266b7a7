/**
 * Ten million rows and a gigabyte through the PostgreSQL lane, as they are and masked: what a row costs the sidecar, and how far it grows
 * over idle. `npm run bench -- postgres-bulk [ROWS]`. No peer: nobody else masks. One operation is a row.
 */
import { postgresBin } from "../../test/integration/postgres-server.ts";
import { TRANSFERS, TransferBench, transfer } from "../../test/integration/postgres-transfers.ts";
import { missing, type Report } from "../report.ts";
import type { Figures, RoundsPlan } from "../rounds.ts";

const ROWS = 10_000_000;
const GOAL = "≤ 64";

export async function postgresBulk(_folder: string, _plan: RoundsPlan, words: readonly string[]): Promise<Report> {
  const rows = Number(words[0] ?? ROWS);
  const bin = postgresBin();
  if (bin === null) return missing("postgres-bulk", [], { postgresql: null });
  if (!Number.isSafeInteger(rows) || rows < 1) throw new Error(`not a number of rows: ${words[0]}`);
  const bench = await TransferBench.start(bin, rows);
  const figures: Figures[] = [];
  const grown: Record<string, number> = {};
  const raw: Record<string, unknown> = { row_count: rows, postgresql: bench.server.version };
  try {
    for (const name of TRANSFERS) {
      const done = await transfer(bench, name);
      if (done.rows !== rows) throw new Error(`${name}: ${done.rows} rows of ${rows}`);
      const { cpuUsPerRow, growthMib, seconds, mib } = done;
      figures.push({
        name,
        cpu_us: cpuUsPerRow,
        cpu_us_rounds: [cpuUsPerRow],
        ops_per_s: rows / seconds,
        p50_us: null,
        p99_us: null,
        busy: (cpuUsPerRow * rows) / 1e6 / seconds,
      });
      grown[`${name.replaceAll(/[ -]/g, "_")}_growth_mib`] = Number(growthMib.toFixed(1));
      raw[name] = { cpuUsPerRow, growthMib, seconds, mib };
    }
  } finally {
    await bench.close();
  }
  return {
    part: "postgres-bulk",
    ratios: {},
    goals: Object.fromEntries(Object.keys(grown).map((name) => [name, GOAL])),
    raw: { ...raw, ...grown },
    rows: figures,
    notes: [
      "one operation is a row of about 100 bytes; one of its three values is masked",
      "growth: resident memory at its peak over idle, the parser loaded",
    ],
  };
}
