/**
 * The Merkle tree of RFC 6962, section 2.1: a signed root fixes every record before it, and a short path proves that one record
 * is under that root. Pure. A tree that only grows is kept as its *peaks*: the roots of its full subtrees.
 */
import { hash } from "node:crypto";

export type Digest = Buffer;
const DIGEST_BYTES = 32;
const LEAF = 0x00;
const NODE = 0x01;
/** Reused for each hash: the log has one for every record, and another one or two to put them together. */
const scratch = Buffer.alloc(8 * 1024);

/** MTH({d}) = SHA-256(0x00 || d) */
export function leafHash(data: Uint8Array): Digest {
  const input = data.length < scratch.length ? scratch : Buffer.alloc(data.length + 1);
  input[0] = LEAF;
  input.set(data, 1);
  return hash("sha256", input.subarray(0, data.length + 1), "buffer");
}

/** SHA-256(0x01 || left || right) */
export function nodeHash(left: Digest, right: Digest): Digest {
  scratch[0] = NODE;
  scratch.set(left, 1);
  scratch.set(right, 1 + DIGEST_BYTES);
  return hash("sha256", scratch.subarray(0, 1 + 2 * DIGEST_BYTES), "buffer");
}

/** A growing tree: peak i is the root of a full subtree of 2^i leaves, there where bit i of `size` is set. */
export class Peaks {
  #size: number;
  readonly #peaks: (Digest | null)[] = [];

  /** `blob`: as `toBlob` made it for this size. */
  constructor(size = 0, blob: Uint8Array = new Uint8Array(0)) {
    this.#size = size;
    let at = 0;
    for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) {
      if (rest % 2 === 0) this.#peaks.push(null);
      else {
        this.#peaks.push(Buffer.from(blob.subarray(at, at + DIGEST_BYTES)));
        at += DIGEST_BYTES;
      }
    }
    if (at !== blob.length) throw new Error("the tree's peaks do not fit its size");
  }

  get size(): number {
    return this.#size;
  }

  append(leaf: Digest): void {
    this.appendTree(leaf, 0);
  }

  /** A full subtree of 2^level leaves at once. Throws where such a one does not begin here. */
  appendTree(treeRoot: Digest, treeLevel: number): void {
    if (this.#size % 2 ** treeLevel !== 0) throw new Error("no subtree of this size begins here");
    let carry = treeRoot;
    let level = treeLevel;
    for (;;) {
      const peak = this.#peaks[level];
      if (peak === null || peak === undefined) break;
      carry = nodeHash(peak, carry);
      this.#peaks[level] = null;
      level++;
    }
    while (this.#peaks.length < level) this.#peaks.push(null);
    this.#peaks[level] = carry;
    this.#size += 2 ** treeLevel;
  }

  root(): Digest {
    let root: Digest | null = null;
    for (const peak of this.#peaks) if (peak !== null) root = root === null ? peak : nodeHash(peak, root);
    return root ?? hash("sha256", "", "buffer");
  }

  toBlob(): Buffer {
    return Buffer.concat(this.#peaks.filter((p): p is Digest => p !== null));
  }
}

/** A piece of the tree: a leaf (level 0), or a full subtree of which only the root is known. */
export interface Piece {
  readonly index: number;
  readonly level: number;
  readonly hash: Digest;
}

/** As `inclusionPath`, in a tree of which some parts are roots only. `pieces`: in order, without a hole, from place 0. */
export function inclusionPathIn(pieces: readonly Piece[], index: number): Digest[] {
  const at = pieces.findIndex((piece) => piece.index === index && piece.level === 0);
  if (at < 0) throw new Error("this leaf is not known");
  return pathIn(pieces, index);
}

function pathIn(pieces: readonly Piece[], index: number): Digest[] {
  const [first] = pieces;
  const last = pieces.at(-1);
  if (first === undefined || last === undefined || pieces.length === 1) return [];
  const size = last.index + 2 ** last.level - first.index;
  const middle = first.index + largestPowerBelow(size);
  const split = pieces.findIndex((piece) => piece.index >= middle);
  const [left, right] = [pieces.slice(0, split), pieces.slice(split)];
  return index < middle ? [...pathIn(left, index), rootIn(right)] : [...pathIn(right, index), rootIn(left)];
}

function rootIn(pieces: readonly Piece[]): Digest {
  const tree = new Peaks();
  for (const { hash: root, level } of pieces) tree.appendTree(root, level);
  return tree.root();
}

/** PATH(index, leaves) of RFC 6962, section 2.1.1: from the leaf's sibling upwards. */
export function inclusionPath(leaves: readonly Digest[], index: number): Digest[] {
  if (leaves.length <= 1) return [];
  const split = largestPowerBelow(leaves.length);
  const left = leaves.slice(0, split);
  const right = leaves.slice(split);
  return index < split
    ? [...inclusionPath(left, index), rootOf(right)]
    : [...inclusionPath(right, index - split), rootOf(left)];
}

/** Whether `path` leads from this leaf to the root of a tree of `size` leaves (RFC 9162, section 2.1.3.2). */
export function includes(root: Digest, size: number, index: number, leaf: Digest, path: readonly Digest[]): boolean {
  if (index < 0 || index >= size) return false;
  let node = index;
  let last = size - 1;
  let reached = leaf;
  for (const sibling of path) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      reached = nodeHash(sibling, reached);
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2);
        last = Math.floor(last / 2);
      }
    } else reached = nodeHash(reached, sibling);
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && reached.equals(root);
}

export function rootOf(leaves: readonly Digest[]): Digest {
  const tree = new Peaks();
  for (const leaf of leaves) tree.append(leaf);
  return tree.root();
}

function largestPowerBelow(n: number): number {
  let power = 1;
  while (power * 2 < n) power *= 2;
  return power;
}
