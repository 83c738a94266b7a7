/**
 * What the collector itself does (an erasure, …) stands in the same log, in a chain of its own: one boot that never ends, one
 * line a commit. Nobody may send to it.
 */
import { genesis, linkParts } from "#audit/chain.ts";
import type { Clock } from "#core/clock.ts";
import type { Signer } from "./checkpoint.ts";
import { Peaks } from "./merkle.ts";
import { rowOf } from "./rows.ts";
import type { BootRow, RecordStore, Removal } from "./store/port.ts";

export const CONTROL_BOOT = "controlplane";
export const CONTROL_POD = "sidegate/control-plane";
const SUBJECT = "collector";
const TRIES = 8;

export interface ActOptions {
  readonly store: RecordStore;
  readonly signer: Signer;
  readonly clock: Clock;
}

export interface ActChange {
  /** Details to erase, and lines to remove, in the same step. */
  readonly erase?: readonly { readonly boot: string; readonly seq: number }[];
  readonly remove?: readonly Removal[];
  /** An act with this key that is on record already is not recorded again. */
  readonly key?: string;
}

/** Records one act. Returns the act's seq; throws where the store stays busy. */
export async function recordAct(
  options: ActOptions,
  act: string,
  members: Readonly<Record<string, unknown>>,
  change: ActChange = {},
): Promise<number> {
  const { store, signer, clock } = options;
  const { erase = [], remove = [], key } = change;
  for (let tries = 0; tries < TRIES; tries++) {
    const before = key === undefined ? null : await store.act(key);
    if (before !== null) return before;
    const now = clock.wallMs();
    const known = (await store.boot(CONTROL_BOOT)) ?? fresh(now);
    const seq = known.lastSeq + 1;
    const bytes = Buffer.from(JSON.stringify({ seq, t: now, k: "act", act, ...others(members) }));
    const hash = linkParts(known.chain, Buffer.concat([bytes, Buffer.from("\n")]));
    const { row } = rowOf(CONTROL_BOOT, { seq, bytes });
    const log = await store.log();
    const tree = new Peaks(log.size, log.peaks);
    tree.append(row.leaf);
    const stored = await store.append({
      from: { logSize: log.size, bootSeq: known.lastSeq },
      boot: { ...known, seenAt: now, lastSeq: seq, chain: hash },
      records: [row],
      details: [],
      commits: [{ boot: CONTROL_BOOT, lastSeq: seq, hash }],
      erase,
      remove,
      ...(key === undefined ? {} : { key }),
      log: { size: tree.size, peaks: tree.toBlob() },
      checkpoint: signer.sign(tree.size, tree.root(), now),
    });
    if (stored) return seq;
  }
  throw new Error("the store is too busy to record this");
}

/** Nobody who gives members gives the line another number, time or kind. */
function others(members: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { seq: _seq, t: _t, k: _k, act: _act, dh: _dh, ...rest } = members;
  return rest;
}

function fresh(now: number): BootRow {
  return {
    boot: CONTROL_BOOT,
    subject: SUBJECT,
    pod: CONTROL_POD,
    firstAt: now,
    seenAt: now,
    lastSeq: 0,
    chain: genesis(CONTROL_BOOT),
    stopped: false,
    cluster: "",
    baseSeq: 0,
    baseChain: "",
  };
}
