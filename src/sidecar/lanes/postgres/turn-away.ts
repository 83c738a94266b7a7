/**
 * How a client is told that it may not connect: `connect` was refused, so there is no session and nothing is asked of any upstream.
 * It reads a FATAL ErrorResponse with the policy's advice, where it would read a server's own: in answer to its StartupMessage, inside
 * TLS where it asks for that (libpq shows nothing that was said before).
 *
 * Nothing that it says is understood beyond its first packets' lengths and codes. What is not one of them is answered with a reset.
 */
import type { Agent, Chunk, LegEvents } from "#sidecar/seam/leg.ts";
import type { Refusal } from "#sidecar/seam/verdict.ts";
import { CANCEL_REQUEST_CODE, GSSENC_REQUEST_CODE, MAX_STARTUP_BYTES, SSL_REQUEST_CODE } from "./codec/startup.ts";
import { readInt32 } from "./codec/text.ts";
import { refusalText } from "./refuse.ts";

/** What is read and thrown away behind the answer, so that closing is no reset. */
const DISCARD_BYTES = 65_536;
/** Int32 length, Int32 code. */
const HEADER = 8;

export class TurnedAway implements LegEvents {
  readonly #agent: Agent;
  readonly #refusal: Refusal;
  #head = "";
  #askedTls = false;
  #askedGss = false;
  #securing = false;
  #told = false;
  #discarded = 0;

  constructor(agent: Agent, refusal: Refusal) {
    this.#agent = agent;
    this.#refusal = refusal;
  }

  opened(): void {}
  drained(): void {}
  ended(): void {
    if (!this.#told) this.#agent.reset();
  }
  failed(): void {}

  secured(): void {
    this.#securing = false;
  }

  data(chunk: Chunk): void {
    if (this.#told) return this.#discard(chunk.length);
    // Plaintext behind an SSLRequest.
    if (this.#securing) return this.#agent.reset();
    const taken = Math.min(chunk.length, HEADER - this.#head.length);
    this.#head += chunk.latin1(0, taken);
    if (this.#head.length < HEADER) return;
    const head = this.#head;
    this.#head = "";
    this.#packet(readInt32(head, 0), readInt32(head, 4), chunk.length - taken);
  }

  /** `more`: bytes that came with its header. */
  #packet(length: number, code: number, more: number): void {
    const agent = this.#agent;
    switch (code) {
      case SSL_REQUEST_CODE:
        if (length !== HEADER || more > 0 || this.#askedTls || agent.tls !== null) return agent.reset();
        this.#askedTls = true;
        this.#securing = true;
        agent.write("S");
        agent.startTls(["postgresql"]);
        return;
      case GSSENC_REQUEST_CODE:
        if (length !== HEADER || more > 0 || this.#askedGss || agent.tls !== null) return agent.reset();
        this.#askedGss = true;
        agent.write("N");
        return;
      case CANCEL_REQUEST_CODE:
        // A server says nothing to one.
        return this.#end("", more);
      default:
        if (code >>> 16 !== 3 || length < HEADER || length > MAX_STARTUP_BYTES) return agent.reset();
        return this.#end(refusalText(this.#refusal, "FATAL"), more);
    }
  }

  #end(text: string, more: number): void {
    this.#told = true;
    if (text !== "") this.#agent.write(text);
    this.#agent.end();
    this.#discard(more);
  }

  #discard(length: number): void {
    this.#discarded += length;
    if (this.#discarded > DISCARD_BYTES) this.#agent.reset();
  }
}
