/**
 * Proves one record, for somebody who has neither the store nor our trust: its line, the path from its leaf to the root of a
 * signed checkpoint (RFC 6962), and the signature. `checkProof` needs the public key only, which one got beforehand.
 */
import { type Checkpoint, originOf, verifyCheckpoint } from "./checkpoint.ts";
import { includes, inclusionPathIn, leafHash, type Piece } from "./merkle.ts";
import type { RecordStore } from "./store/port.ts";

export interface Proof {
  readonly id: string;
  /** The core line, base64: what was chained, byte for byte. */
  readonly core: string;
  /** The detail, where it was not erased: its SHA-256 with the salt stands in the core as "dh". */
  readonly detail: { readonly salt: string; readonly text: string } | null;
  readonly index: number;
  /** From the leaf's sibling upwards; base64. */
  readonly path: readonly string[];
  readonly checkpoint: {
    readonly origin: string;
    readonly size: number;
    readonly root: string;
    readonly at: number;
    readonly signature: string;
  };
}

const PAGE = 5_000;

/** Null: there is no such record, or nothing signed covers it. Reads every leaf: some 100 bytes of memory for each record. */
export async function makeProof(store: RecordStore, boot: string, seq: number): Promise<Proof | null> {
  return await store.consistent(() => proofOf(store, boot, seq));
}

async function proofOf(store: RecordStore, boot: string, seq: number): Promise<Proof | null> {
  const found = await store.get(boot, seq);
  const publicKey = await store.publicKey();
  const checkpoint = (await store.checkpoints()).at(-1);
  if (found === null || publicKey === null || checkpoint === undefined || found.index >= checkpoint.size) return null;
  const pieces = await piecesOf(store, checkpoint.size);
  if (pieces === null) return null;
  return {
    id: `${boot}-${seq}`,
    core: Buffer.from(found.core).toString("base64"),
    detail: found.detail,
    index: found.index,
    path: inclusionPathIn(pieces, found.index).map((d) => d.toString("base64")),
    checkpoint: {
      origin: originOf(publicKey),
      size: checkpoint.size,
      root: checkpoint.root.toString("base64"),
      at: checkpoint.at,
      signature: checkpoint.signature.toString("base64"),
    },
  };
}

/** The log's first `size` places: leaves, and subtrees of which retention left the root. Null: something is missing. */
async function piecesOf(store: RecordStore, size: number): Promise<readonly Piece[] | null> {
  const pieces: Piece[] = (await store.removed()).filter(({ index }) => index < size).map((tree) => ({ ...tree }));
  for (let from = 0; ; ) {
    const page = await store.scan(from, PAGE);
    for (const { index, row } of page) if (index < size) pieces.push({ index, level: 0, hash: row.leaf });
    const last = page.at(-1);
    if (last === undefined || last.index >= size) break;
    from = last.index + 1;
  }
  pieces.sort((a, b) => a.index - b.index);
  let next = 0;
  for (const { index, level } of pieces) {
    if (index !== next) return null;
    next += 2 ** level;
  }
  return next === size ? pieces : null;
}

/** Null: proven. Else what does not hold. */
export function checkProof(proof: Proof, publicKey: string): string | null {
  const { size, root, at, signature } = proof.checkpoint;
  const checkpoint: Checkpoint = {
    size,
    root: Buffer.from(root, "base64"),
    at,
    signature: Buffer.from(signature, "base64"),
  };
  if (!verifyCheckpoint(publicKey, checkpoint)) return "the checkpoint is not signed by this key";
  const core = Buffer.from(proof.core, "base64");
  const path = proof.path.map((d) => Buffer.from(d, "base64"));
  if (!includes(checkpoint.root, size, proof.index, leafHash(core), path)) return "the record is not in the signed log";
  if (!core.toString("utf8").startsWith(`{"seq":${Number(proof.id.slice(proof.id.lastIndexOf("-") + 1))},`))
    return "the record has another number";
  return null;
}
