/**
 * The listeners that the kernel redirects an agent's connections to. Each accepted connection becomes a leg, together with where
 * it wanted to go.
 *
 * Fails closed: without SO_ORIGINAL_DST, or when the destination is one of our own listeners (somebody connected to us directly),
 * `original` is null and the pipeline refuses. Over the connection limit: reset at once, and counted.
 */
import { createServer, isIPv6, type Server } from "node:net";
import type { Accepted, SocketAddress, Taken, Transport } from "../seam/stages.ts";
import { type OriginalDestination, unmapped } from "./original-destination.ts";
import { handleUnder, take } from "./take.ts";

/** `server`: listening already, handed over by another process (its address is one of the agent's namespace). */
export type Listener =
  | { readonly kind: "port"; readonly port: number; readonly host?: "127.0.0.1" | "::1" }
  | { readonly kind: "server"; readonly server: Server }
  | { readonly kind: "fd"; readonly fd: number };

export interface CaptureOptions {
  readonly listeners: readonly Listener[];
  readonly originalDestination: OriginalDestination | null;
  readonly transport: Pick<Transport, "inbound">;
  readonly onAccepted: (accepted: Accepted) => void;
  /** Connections at a time; more are reset. */
  readonly maxConnections?: number;
  /** Other addresses of ours (resolver, admin): as a destination they count as unreadable too. */
  readonly ours?: readonly SocketAddress[];
  /** False: without Node's internals (the fallback of take.ts). */
  readonly internals?: boolean;
}

export interface Capture {
  readonly addresses: readonly SocketAddress[];
  /** Open now. */
  readonly connections: number;
  /** Since start: accepted, reset over the limit, and failed `accept` calls. */
  readonly accepted: number;
  readonly overLimit: number;
  readonly acceptFailures: number;
  /** Closes the listeners; open connections go on. Resolves when the ports are free. */
  stopAccepting(): Promise<void>;
  /** Closes the listeners and resets what is open. */
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 4_096;
/** New connections the kernel keeps for us while we are busy (bounded by net.core.somaxconn). */
const BACKLOG = 4_096;

/** A port opens on 127.0.0.1 and on ::1, where the system has IPv6. Rejects when a listener cannot be opened. */
export async function startCapture(options: CaptureOptions): Promise<Capture> {
  const servers: Server[] = [];
  try {
    for (const listener of options.listeners) servers.push(...(await open(listener)));
  } catch (error) {
    await Promise.all(servers.map(closed));
    throw error;
  }
  return new Capturing(servers, options);
}

class Capturing implements Capture {
  readonly addresses: readonly SocketAddress[];
  accepted = 0;
  overLimit = 0;
  acceptFailures = 0;
  readonly #servers: readonly Server[];
  readonly #options: CaptureOptions;
  readonly #max: number;
  readonly #open = new Set<Accepted["leg"]>();
  readonly #ours: readonly SocketAddress[];
  #stopped: Promise<void> | null = null;

  constructor(servers: readonly Server[], options: CaptureOptions) {
    this.#servers = servers;
    this.#options = options;
    this.#max = options.maxConnections ?? MAX_CONNECTIONS;
    this.addresses = servers.map(addressOf);
    this.#ours = [...this.addresses, ...(options.ours ?? [])];
    const by = { taken: (taken: Taken) => this.#taken(taken), failed: () => void this.acceptFailures++ };
    for (const server of servers) take(server, by, options.internals ?? true);
  }

  get connections(): number {
    return this.#open.size;
  }

  stopAccepting(): Promise<void> {
    this.#stopped ??= Promise.all(this.#servers.map(closed)).then(() => undefined);
    return this.#stopped;
  }

  async close(): Promise<void> {
    const stopped = this.stopAccepting();
    for (const leg of this.#open) leg.reset();
    await stopped;
  }

  #taken(taken: Taken): void {
    if (this.#open.size >= this.#max) {
      this.overLimit++;
      turnAway(taken);
      return;
    }
    this.accepted++;
    const handle = handleUnder(taken);
    const peer: { address?: string; port?: number } = {};
    handle?.getpeername(peer);
    const client = { address: unmapped(peer.address ?? ""), port: peer.port ?? 0 };
    const original = handle === null ? null : (this.#options.originalDestination?.(handle.fd, client.address) ?? null);
    const leg = this.#options.transport.inbound(taken);
    this.#open.add(leg);
    leg.onGone(() => this.#open.delete(leg));
    this.#options.onAccepted({ leg, client, original: original === null || this.#isOurs(original) ? null : original });
  }

  #isOurs({ address, port }: SocketAddress): boolean {
    return this.#ours.some(
      (our) => our.port === port && (our.address === address || our.address === "0.0.0.0" || our.address === "::"),
    );
  }
}

function turnAway(taken: Taken): void {
  if (taken.kind === "socket") {
    taken.socket.on("error", () => {});
    taken.socket.resetAndDestroy();
  } else if (taken.handle.reset === undefined || taken.handle.reset() !== 0) {
    taken.handle.close();
  }
}

async function open(listener: Listener): Promise<Server[]> {
  switch (listener.kind) {
    case "server":
      return [listener.server];
    case "fd":
      return [await listening({ fd: listener.fd })];
    case "port":
      break;
  }
  const { host, port } = listener;
  if (host !== undefined) return [await listening({ host, port, ipv6Only: isIPv6(host), backlog: BACKLOG })];
  const v4 = await listening({ host: "127.0.0.1", port, backlog: BACKLOG });
  try {
    // Port 0 (tests): both families on the same one.
    const v6 = await listening({ host: "::1", port: addressOf(v4).port, ipv6Only: true, backlog: BACKLOG });
    return [v4, v6];
  } catch (error) {
    // A system without IPv6: nothing can come from there either, the kernel has no rule and no route for it.
    if (withoutV6(error)) return [v4];
    await closed(v4);
    throw error;
  }
}

function listening(
  where: { fd: number } | { host: string; port: number; ipv6Only?: boolean; backlog: number },
): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    server.once("error", reject);
    server.listen(where, () => {
      server.removeListener("error", reject);
      resolve(server);
    });
  });
}

/** The descriptor is closed at once; Node's own callback would wait for connections, too, where it counts them. */
function closed(server: Server): Promise<void> {
  server.close();
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function withoutV6(error: unknown): boolean {
  if (typeof error !== "object" || error === null || !("code" in error)) return false;
  return error.code === "EADDRNOTAVAIL" || error.code === "EAFNOSUPPORT";
}

function addressOf(server: Server): SocketAddress {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a capture listener must be a TCP socket");
  return { address: address.address, port: address.port };
}
