/** Real loopback sockets around the transport under test: a gate, a recording listener, and a client with its accepted leg. */
import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import type { CommitGate } from "#contract/record.ts";
import { createWheel } from "#core/wheel.ts";
import { type Capture, startCapture } from "#sidecar/listen/capture.ts";
import type { LegEvents, LegFault, Tls } from "#sidecar/seam/leg.ts";
import type { Accepted, Inbound, Transport } from "#sidecar/seam/stages.ts";
import type { Permit } from "#sidecar/seam/verdict.ts";
import { createTransport, type TransportOptions } from "#sidecar/transport/transport.ts";

export const wheel = createWheel(10);
export const bugs: unknown[] = [];

export function makeTransport(options: Partial<TransportOptions> = {}): Transport {
  return createTransport({ wheel, roots: [], bug: (error) => bugs.push(error), ...options });
}

/** Only judge/permit.ts makes real ones; the transport does not look into it. */
export const permit = { kind: "permit", scope: "connect", seq: 1 } as unknown as Permit<"connect">;

export class Gate implements CommitGate {
  clean = true;
  readonly waiting: ((ok: boolean) => void)[] = [];
  committed(then: (ok: boolean) => void): void {
    this.waiting.push(then);
  }
  /** The turn's records are written (or not). */
  answer(ok: boolean): void {
    this.clean = true;
    for (const then of this.waiting.splice(0)) then(ok);
  }
}

/** Writes down every event, and lets a test wait for one. */
export class Recording implements LegEvents {
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];
  tls: Tls | null = null;
  onData: ((bytes: Buffer) => void) | null = null;
  #waiting: { readonly until: () => boolean; readonly go: () => void }[] = [];

  get text(): string {
    return Buffer.concat(this.chunks).toString("latin1");
  }
  get bytes(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }
  opened(): void {
    this.#note("opened");
  }
  data(chunk: Parameters<LegEvents["data"]>[0]): void {
    const bytes = Buffer.from(chunk.slice(0, chunk.length));
    this.chunks.push(bytes);
    this.onData?.(bytes);
    this.#note("data");
  }
  drained(): void {
    this.#note("drained");
  }
  secured(tls: Tls): void {
    this.tls = tls;
    this.#note("secured");
  }
  ended(): void {
    this.#note("ended");
  }
  failed(fault: LegFault): void {
    this.#note(`failed ${fault}`);
  }
  /** Resolves as soon as `condition` holds after an event. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((go) => this.#waiting.push({ until: condition, go }));
  }
  seen(event: string): Promise<void> {
    return this.until(() => this.events.includes(event));
  }
  #note(event: string): void {
    if (!(event === "data" && this.events.at(-1) === "data")) this.events.push(event);
    this.#waiting = this.#waiting.filter((waiter) => {
      if (!waiter.until()) return true;
      waiter.go();
      return false;
    });
  }
}

export interface Door {
  readonly capture: Capture;
  readonly port: number;
  /** The next accepted connection. */
  next(): Promise<Accepted>;
}

const openDoors: Capture[] = [];
const openServers: net.Server[] = [];

/** A capture listener on a free port. */
export async function openDoor(
  transport: Transport,
  options: Partial<Parameters<typeof startCapture>[0]> = {},
): Promise<Door> {
  const ready: Accepted[] = [];
  const asked: ((accepted: Accepted) => void)[] = [];
  const capture = await startCapture({
    listeners: [{ kind: "port", port: 0, host: "127.0.0.1" }],
    originalDestination: null,
    transport,
    onAccepted: (accepted) => {
      const ask = asked.shift();
      if (ask === undefined) ready.push(accepted);
      else ask(accepted);
    },
    ...options,
  });
  openDoors.push(capture);
  const next = (): Promise<Accepted> => {
    const accepted = ready.shift();
    return accepted === undefined ? new Promise((resolve) => asked.push(resolve)) : Promise.resolve(accepted);
  };
  return { capture, port: capture.addresses[0]?.port ?? 0, next };
}

/** A client socket and the leg that was accepted for it. */
export async function pair(door: Door): Promise<{ readonly client: net.Socket; readonly leg: Inbound }> {
  const client = net.connect({ port: door.port, host: "127.0.0.1", allowHalfOpen: true });
  client.on("error", () => {});
  const [{ leg }] = await Promise.all([door.next(), once(client, "connect")]);
  return { client, leg };
}

/** An upstream server on a free port. */
export async function serve(server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  openServers.push(server);
  return (server.address() as AddressInfo).port;
}

export async function closeDoors(): Promise<void> {
  await Promise.all(openDoors.splice(0).map((door) => door.close()));
  for (const server of openServers.splice(0)) server.close();
  if (bugs.length > 0) throw bugs[0];
}

/** All that comes until the other side ends; starts a socket that was paused. */
export function received(socket: net.Socket): Promise<Buffer> {
  socket.resume();
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    socket.on("data", (bytes: Buffer) => chunks.push(bytes));
    socket.on("end", () => resolve(Buffer.concat(chunks)));
  });
}

export function closed(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => socket.on("close", () => resolve()));
}
