/**
 * TCP sockets that read into lent buffers: `onread`, with the buffer asked for anew before each read. On a handle of Node's own
 * (an accepted connection) by an option of net.Socket that is not documented; without it (the fallback) an accepted socket reads
 * into Node's buffers, and what it gives is owned by whoever gets it.
 */
import type { Buffer } from "node:buffer";
import { Socket, type SocketConstructorOpts } from "node:net";
import type { Taken } from "../seam/stages.ts";
import type { Lent } from "./lent.ts";

/** Bytes that lie in a lent buffer, or bytes of Node's own. */
export interface Reader {
  readonly lent: Lent;
  readonly read: (length: number, buffer: Buffer) => true;
}

/** Paused. `lends`: whether it reads by the reader; else by `data` events. */
export function acceptedSocket(taken: Taken, reader: Reader): { readonly socket: Socket; readonly lends: boolean } {
  if (taken.kind === "socket") {
    taken.socket.setNoDelay(true);
    return { socket: taken.socket, lends: false };
  }
  const socket = new Socket(lending(reader, { handle: taken.handle }));
  socket.setNoDelay(true);
  return { socket, lends: true };
}

/** Not connected. `reader` null: for TLS, which reads by itself. */
export function dialingSocket(reader: Reader | null): Socket {
  const bare = { allowHalfOpen: true, noDelay: true };
  return new Socket(reader === null ? bare : lending(reader, bare));
}

/** Bytes that libuv still has to write; 0 where Node does not say. */
export function kernelQueue(socket: Socket): number {
  const { _handle: handle } = socket as { readonly _handle?: { readonly writeQueueSize?: number } | null };
  return handle?.writeQueueSize ?? 0;
}

/** `manualStart`: no reading before we ask for it. */
function lending({ lent, read }: Reader, more: object): SocketConstructorOpts {
  const options: SocketConstructorOpts & { readonly manualStart: true } = {
    allowHalfOpen: true,
    manualStart: true,
    onread: { buffer: () => lent.into(), callback: read },
    ...more,
  };
  return options;
}
