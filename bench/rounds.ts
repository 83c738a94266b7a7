/**
 * Interleaved rounds: each candidate once a round, every other round in reverse, so that what else the machine does falls on all of
 * them alike. A figure is the median of its rounds.
 */
import { cpuNs } from "./process.ts";

export interface Candidate {
  readonly name: string;
  readonly pid: number;
  /** Runs for the given time; `operations` is what CPU time is divided by. */
  run(seconds: number): Promise<Round>;
  /** Called after each of its rounds, outside of the measurement. */
  rest?(): Promise<void>;
}

export interface Round {
  readonly operations: number;
  readonly seconds: number;
  readonly p50Us: number | null;
  readonly p99Us: number | null;
}

export interface Figures {
  readonly name: string;
  /** CPU of the whole process in microseconds an operation. */
  readonly cpu_us: number;
  readonly cpu_us_rounds: readonly number[];
  readonly ops_per_s: number;
  readonly p50_us: number | null;
  readonly p99_us: number | null;
  /** CPU time ÷ elapsed time: 1 is one core, fully used. */
  readonly busy: number;
}

export interface RoundsPlan {
  readonly rounds: number;
  readonly seconds: number;
  /** Before the first round: a compiler that works while the program runs is not measured cold. */
  readonly warmOperations: number;
}

const WARM_SECONDS = 2;
const MAX_WARM_ROUNDS = 20;

export async function interleaved(candidates: readonly Candidate[], plan: RoundsPlan): Promise<Map<string, Figures>> {
  const taken = new Map<string, (Round & { readonly cpuUs: number; readonly busy: number })[]>();
  for (const candidate of candidates) {
    taken.set(candidate.name, []);
    for (let done = 0, n = 0; done < plan.warmOperations && n < MAX_WARM_ROUNDS; n++) {
      done += (await candidate.run(WARM_SECONDS)).operations;
      await candidate.rest?.();
    }
  }
  for (let n = 0; n < plan.rounds; n++) {
    for (const candidate of n % 2 === 0 ? candidates : candidates.toReversed()) {
      const before = cpuNs(candidate.pid);
      const round = await candidate.run(plan.seconds);
      const ns = cpuNs(candidate.pid) - before;
      await candidate.rest?.();
      taken.get(candidate.name)?.push({ ...round, cpuUs: ns / 1e3 / round.operations, busy: ns / 1e9 / round.seconds });
    }
  }
  const figures = new Map<string, Figures>();
  for (const [name, rounds] of taken)
    figures.set(name, {
      name,
      cpu_us: median(rounds.map((r) => r.cpuUs)),
      cpu_us_rounds: rounds.map((r) => Number(r.cpuUs.toFixed(2))),
      ops_per_s: median(rounds.map((r) => r.operations / r.seconds)),
      p50_us: medianOrNull(rounds.map((r) => r.p50Us)),
      p99_us: medianOrNull(rounds.map((r) => r.p99Us)),
      busy: median(rounds.map((r) => r.busy)),
    });
  return figures;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

function medianOrNull(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : median(known);
}

/** The peer's CPU an operation ÷ ours: above 1, ours costs less. The median of the rounds' own ratios would hide a slow machine. */
export function ratio(figures: ReadonlyMap<string, Figures>, peer: string, ours: string): number | null {
  const theirs = figures.get(peer);
  const own = figures.get(ours);
  return theirs === undefined || own === undefined ? null : Number((theirs.cpu_us / own.cpu_us).toFixed(3));
}
