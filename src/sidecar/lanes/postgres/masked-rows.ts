/**
 * Rows that were masked here, gathered into blocks: one write for what one read brought, not one for each row. Whoever writes anything
 * else to the agent flushes first, so that the order stays.
 */
import type { Permit } from "#sidecar/seam/verdict.ts";
import type { Talk } from "./talk.ts";

const BLOCK_BYTES = 65_536;
/** Byte1 type, Int32 length. */
const HEADER = 5;

export class MaskedRows {
  readonly #talk: Talk;
  #block: Buffer | null = null;
  /** What of the block is the leg's already, and what waits. */
  #from = 0;
  #to = 0;

  constructor(talk: Talk) {
    this.#talk = talk;
  }

  /** `body` is copied. */
  add(permit: Permit, type: number, body: Uint8Array): void {
    const length = body.length + HEADER;
    permit.bytesDown += length;
    if (this.#block === null || this.#to + length > this.#block.length) {
      this.flush();
      this.#block = Buffer.allocUnsafe(Math.max(BLOCK_BYTES, length));
      this.#from = 0;
      this.#to = 0;
    }
    const block = this.#block;
    block[this.#to] = type;
    block.writeUInt32BE(body.length + 4, this.#to + 1);
    block.set(body, this.#to + HEADER);
    this.#to += length;
  }

  flush(): void {
    if (this.#block === null || this.#from === this.#to) return;
    const bytes = this.#block.subarray(this.#from, this.#to);
    this.#from = this.#to;
    // A last row that was a large one: the next ones get a block of their own.
    if (this.#block.length > BLOCK_BYTES) this.#block = null;
    if (!this.#talk.ports.agent.write(bytes)) this.#talk.agentFull();
  }
}
