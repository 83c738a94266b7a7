/**
 * A bound on how long a request may take to connect, handshake included. A request's own deadline is as long as its answer may be held;
 * without this one, a SYN to an address that nobody answers (a Service's endpoint that has just gone) waits for the kernel to give up,
 * more than a minute later.
 */
import type { ClientRequest } from "node:http";
import type { Socket } from "node:net";

export const CONNECT_MS = 5_000;

/** Destroys the request with an error where its socket is not there in time. For requests without an agent: each has a socket of its own. */
export function limitConnect(request: ClientRequest, limitMs: number = CONNECT_MS): void {
  request.once("socket", (socket: Socket) => {
    const encrypted = "encrypted" in socket;
    if (!socket.connecting && !encrypted) return;
    const limit = setTimeout(() => {
      request.destroy(Object.assign(new Error(`no connection within ${limitMs} ms`), { code: "ETIMEDOUT" }));
    }, limitMs);
    const over = (): void => clearTimeout(limit);
    socket.once(encrypted ? "secureConnect" : "connect", over);
    socket.once("close", over);
  });
}
