/** An upstream's events, to whoever the session listens with at the time: first the start-up, then the conversation. */
import type { Chunk, LegEvents, LegFault, Tls } from "#sidecar/seam/leg.ts";

export interface LinkListener {
  opened?(): void;
  data(chunk: Chunk): void;
  drained(): void;
  secured?(tls: Tls): void;
  ended(): void;
  failed(fault: LegFault): void;
}

export class Link implements LegEvents {
  to: LinkListener;

  constructor(to: LinkListener) {
    this.to = to;
  }
  opened(): void {
    this.to.opened?.();
  }
  data(chunk: Chunk): void {
    this.to.data(chunk);
  }
  drained(): void {
    this.to.drained();
  }
  secured(tls: Tls): void {
    this.to.secured?.(tls);
  }
  ended(): void {
    this.to.ended();
  }
  failed(fault: LegFault): void {
    this.to.failed(fault);
  }
}
