/**
 * Keys with which an agent may cancel its own statements: ours, random, known to one session of this process, and never the
 * upstream's. What they stand for there is told to nobody.
 */
import { randomInt } from "node:crypto";

export interface CancelTarget {
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
  readonly pid: number;
  readonly key: string;
  /** A CancelRequest for it goes on its way: the server may act on it much later. */
  readonly sent?: () => void;
}

interface Kept {
  readonly key: string;
  readonly target: CancelTarget;
}

export class CancelKeys {
  readonly #random: (bytes: number) => Uint8Array;
  readonly #kept = new Map<number, Kept>();

  constructor(random: (bytes: number) => Uint8Array) {
    this.#random = random;
  }

  /** `bytes`: 4 in protocol 3.0, 32 in 3.2. */
  make(target: CancelTarget, bytes: number): { readonly pid: number; readonly key: string } {
    let pid = 0;
    do pid = randomInt(1, 0x7fff_ffff);
    while (this.#kept.has(pid));
    const key = Buffer.from(this.#random(bytes)).toString("latin1");
    this.#kept.set(pid, { key, target });
    return { pid, key };
  }

  forget(pid: number): void {
    this.#kept.delete(pid);
  }

  find(pid: number, key: string): CancelTarget | null {
    const kept = this.#kept.get(pid);
    return kept !== undefined && sameText(kept.key, key) ? kept.target : null;
  }
}

/** In a time that depends on their lengths only. */
function sameText(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i % Math.max(b.length, 1));
  return difference === 0;
}
