/**
 * Takes accepted connections as Node's own handles, before Node makes a socket of each: only so can it be made with `onread`
 * and read into our buffers. `_handle.onconnection` is Node's internal, so it is looked for, never assumed; without it the
 * server's own sockets are taken, which costs speed and nothing else.
 */
import type { Server } from "node:net";
import type { Taken, TcpHandle } from "../seam/stages.ts";

interface ServerHandle {
  onconnection: (this: unknown, status: number, handle: TcpHandle | undefined) => void;
}

export interface TakenBy {
  readonly taken: (taken: Taken) => void;
  /** `accept` failed (out of descriptors): the kernel keeps the connection waiting, Node tries again. */
  readonly failed: () => void;
}

/** `server` is listening. Returns how connections come. */
export function take(server: Server, by: TakenBy, internals = true): "handle" | "socket" {
  const handle = internals ? handleOf(server) : null;
  if (handle !== null) {
    handle.onconnection = (status, accepted) => {
      if (status < 0 || accepted === undefined) by.failed();
      else by.taken({ kind: "handle", handle: accepted });
    };
    return "handle";
  }
  // A server that another process handed over was made with Node's defaults.
  Object.assign(server, { allowHalfOpen: true, pauseOnConnect: true });
  server.on("error", () => by.failed());
  server.on("connection", (socket) => by.taken({ kind: "socket", socket }));
  return "socket";
}

/** What the kernel knows of a taken connection: its descriptor and its peer. */
export function handleUnder(taken: Taken): TcpHandle | null {
  if (taken.kind === "handle") return taken.handle;
  const { _handle: handle } = taken.socket as { readonly _handle?: unknown };
  return isTcpHandle(handle) ? handle : null;
}

function handleOf(server: Server): ServerHandle | null {
  const { _handle: handle } = server as { readonly _handle?: unknown };
  if (typeof handle !== "object" || handle === null || !("onconnection" in handle)) return null;
  return typeof handle.onconnection === "function" ? (handle as ServerHandle) : null;
}

function isTcpHandle(value: unknown): value is TcpHandle {
  return (
    typeof value === "object" &&
    value !== null &&
    "fd" in value &&
    typeof value.fd === "number" &&
    "getpeername" in value &&
    typeof value.getpeername === "function"
  );
}
