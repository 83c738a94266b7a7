/**
 * Erasing details (GDPR, article 17): the erasable part of operations goes for good; core, chain and tree stay whole; who did
 * it, when, why and to which records stands in the record itself.
 */
import { type ActOptions, recordAct } from "./act.ts";

export interface EraseRequest {
  readonly records: readonly { readonly boot: string; readonly seq: number }[];
  readonly by: string;
  readonly reason: string;
}

export interface EraseResult {
  readonly erased: number;
  /** Had no detail: no operation, or erased before, or not there at all. */
  readonly without: number;
}

/** Records an act names at most. */
const PER_ACT = 500;

export async function eraseDetails(options: ActOptions, request: EraseRequest): Promise<EraseResult> {
  const wanted: { boot: string; seq: number }[] = [];
  for (const { boot, seq } of request.records) {
    const found = await options.store.get(boot, seq);
    if (found !== null && found.detail !== null) wanted.push({ boot, seq });
  }
  for (let at = 0; at < wanted.length; at += PER_ACT) {
    const part = wanted.slice(at, at + PER_ACT);
    const records = part.map(({ boot, seq }) => `${boot}-${seq}`);
    await recordAct(options, "erase", { by: request.by, reason: request.reason, records }, { erase: part });
  }
  return { erased: wanted.length, without: request.records.length - wanted.length };
}
