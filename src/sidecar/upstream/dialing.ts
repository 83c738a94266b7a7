/**
 * One connection being made: addresses are tried one after the other until one answers, within one time limit. Connecting is
 * the only thing that is ever repeated; nothing has been sent yet.
 *
 * A certificate that does not verify is final: trying on until some address verifies would hide it.
 */
import type { CommitGate } from "#contract/record.ts";
import { assertNever } from "#core/assert-never.ts";
import type { Endpoint } from "#core/cidr.ts";
import { formatAddress } from "#core/cidr.ts";
import type { Clock } from "#core/clock.ts";
import type { LegEvents, LegFault } from "../seam/leg.ts";
import type { Connector, ConnectTo, Outbound } from "../seam/stages.ts";

export interface DialingOptions {
  readonly connector: Connector;
  readonly gate: CommitGate;
  readonly clock: Clock;
  readonly tls: ConnectTo["tls"];
  readonly inBand: NonNullable<ConnectTo["inBand"]>;
  /** Elapsed milliseconds of the clock. */
  readonly deadlineMs: number;
  /** One of the two is called, once, unless cancelled. */
  readonly won: (outbound: Outbound) => void;
  readonly lost: (fault: LegFault) => void;
}

/** Addresses that are tried at most. */
const MAX_TRIES = 6;
/** The least that one address gets, while the whole has that much left. */
const MIN_TRY_MS = 250;

export class Dialing implements LegEvents {
  readonly #options: DialingOptions;
  #left: readonly Endpoint[] = [];
  #current: Outbound | null = null;
  #opened = false;
  #over = false;

  constructor(options: DialingOptions) {
    this.#options = options;
  }

  /** `endpoints`: at least one, judged already. */
  start(endpoints: readonly Endpoint[]): void {
    this.#left = endpoints.slice(0, MAX_TRIES);
    this.#next("unreachable");
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#current?.reset();
  }

  opened(): void {
    this.#opened = true;
    this.#win();
  }

  failed(fault: LegFault): void {
    if (this.#over) return;
    this.#current = null;
    if (this.#opened || isFinal(fault)) this.#lose(fault);
    else this.#next(fault);
  }

  // Nothing of these before `opened`; a server that speaks first is heard by whoever listens then.
  data(): void {}
  drained(): void {}
  secured(): void {}
  ended(): void {}

  #next(fault: LegFault): void {
    const { connector, gate, clock, deadlineMs, tls, inBand } = this.#options;
    const endpoint = this.#left[0];
    const leftMs = deadlineMs - clock.elapsedMs();
    if (endpoint === undefined) return this.#lose(fault);
    if (leftMs <= 0) return this.#lose("timeout");
    const timeoutMs = Math.min(leftMs, Math.max(MIN_TRY_MS, Math.floor(leftMs / this.#left.length)));
    this.#left = this.#left.slice(1);
    const to = { address: formatAddress(endpoint.address), port: endpoint.port, timeoutMs, tls, inBand };
    const outbound = connector.connect(to, gate, this);
    // A connector that answers before it has returned has moved on by now.
    if (this.#current !== null || this.#over) return outbound.reset();
    this.#current = outbound;
    if (this.#opened) this.#win();
  }

  #win(): void {
    const outbound = this.#current;
    if (this.#over || outbound === null) return;
    this.#over = true;
    this.#options.won(outbound);
  }

  #lose(fault: LegFault): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.lost(fault);
  }
}

function isFinal(fault: LegFault): boolean {
  switch (fault) {
    case "refused":
    case "unreachable":
    case "unresolved":
    case "reset":
    case "timeout":
      return false;
    case "audit":
    case "tls-untrusted-by-agent":
    case "tls-bad-upstream":
    case "tls-name":
    case "plaintext-before-tls":
      return true;
    default:
      return assertNever(fault);
  }
}
