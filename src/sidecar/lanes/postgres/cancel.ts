/** A CancelRequest on its way: a connection of its own to the upstream, as libpq makes one, and then both are closed. */
import type { Ports } from "#sidecar/seam/lane.ts";
import type { Chunk, Upstream } from "#sidecar/seam/leg.ts";
import type { CancelTarget } from "./cancel-keys.ts";
import { cancelText, SSL_REQUEST } from "./codec/startup.ts";
import { Link, type LinkListener } from "./link.ts";

export class Cancelling implements LinkListener {
  readonly #ports: Ports;
  readonly #target: CancelTarget;
  readonly #ended: () => void;
  #upstream: Upstream | null = null;
  #over = false;

  /** `ended`: the upstream has got it, or never will. The server's way to say so is to close. */
  constructor(ports: Ports, target: CancelTarget, ended: () => void) {
    this.#ports = ports;
    this.#target = target;
    this.#ended = ended;
    const upstream = ports.dial(ports.connect, "aside", new Link(this), true);
    if (this.#over) upstream.reset();
    else this.#upstream = upstream;
  }

  opened(): void {
    this.#upstream?.write(this.#ports.connect, this.#target.secure ? SSL_REQUEST : this.#request());
  }

  data(chunk: Chunk): void {
    // Nothing but the answer to SSLRequest is ever said here.
    if (!this.#target.secure || this.#upstream?.tls !== null || chunk.length !== 1 || chunk.latin1(0, 1) !== "S")
      this.close();
    else this.#upstream.startTls(["postgresql"]);
  }

  secured(): void {
    this.#upstream?.write(this.#ports.connect, this.#request());
  }

  drained(): void {}

  ended(): void {
    this.close();
  }

  failed(): void {
    this.close();
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#upstream?.reset();
    this.#ended();
  }

  #request(): string {
    return cancelText(this.#target.pid, this.#target.key);
  }
}
