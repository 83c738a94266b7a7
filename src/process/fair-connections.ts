/**
 * So many connections and no more, and not all of them for one caller: where there is one too many, the address with the most loses its
 * newest. A server's own `maxConnections` turns away whoever comes next, so that one machine could keep everybody else out.
 */
import type { Server, Socket } from "node:net";

/** For the life of the server. TLS or not: counted from the first packet on, before any handshake. */
export function shareConnections(server: Server, max: number): void {
  const callers = new Map<string, Set<Socket>>();
  let total = 0;
  server.on("connection", (socket: Socket) => {
    const address = socket.remoteAddress ?? "";
    const its = callers.get(address) ?? new Set<Socket>();
    callers.set(address, its.add(socket));
    total++;
    socket.once("close", () => {
      its.delete(socket);
      if (its.size === 0 && callers.get(address) === its) callers.delete(address);
      total--;
    });
    if (total <= max) return;
    let most = its;
    for (const other of callers.values()) if (other.size > most.size) most = other;
    [...most].at(-1)?.destroy();
  });
}
