/**
 * A stand-in for the command line: opens the namespace, answers what the command connects to, and ends with its exit code. What
 * arrives on the sockets is told on descriptor 3, one JSON line each, so that the test knows it without asking the command.
 */
import { createSocket } from "node:dgram";
import { readFileSync, writeSync } from "node:fs";
import { createServer } from "node:net";
import { commandEnvironment } from "#local/environment.ts";
import { listeningSockets } from "#local/host-sockets.ts";
import { openNamespace } from "#local/namespace.ts";
import type { View } from "#local/view.ts";
import { readOriginal } from "#netfilter/original-destination.ts";

export interface DriverPlan {
  readonly entry: string;
  readonly mode: "user" | "root" | null;
  readonly view: Omit<View, "sockets">;
  readonly argv: readonly string[];
  readonly set: Readonly<Record<string, string>>;
  /** Start to accept only when told so (SIGUSR1): a sidecar that restarts. */
  readonly late: boolean;
}

const plan = JSON.parse(process.argv[2] ?? "") as DriverPlan;
const tell = (event: unknown): void => void writeSync(3, `${JSON.stringify(event)}\n`);

const namespace = await openNamespace({
  node: process.execPath,
  entry: plan.entry,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  ...(plan.mode === null ? {} : { mode: plan.mode }),
});
const { sockets } = namespace;
if (plan.late) process.once("SIGUSR1", serve);
else serve();
const furnished = await namespace.furnish({
  ...plan.view,
  sockets: listeningSockets(readFileSync("/proc/net/unix", "utf8")),
});
tell({ kind: "furnished", ...furnished, mode: namespace.mode, ipv6: sockets.tcp6 !== null });
const status = await namespace.start({
  argv: plan.argv,
  env: commandEnvironment(process.env, plan.set),
  cwd: plan.view.cwd,
});
tell({ kind: "ended", ...status });
namespace.close();
process.exit(status.code);

function serve(): void {
  for (const [fd, family] of [
    [sockets.tcp4, 4],
    [sockets.tcp6, 6],
  ] as const)
    if (fd !== null)
      createServer((socket) => {
        socket.on("error", () => undefined);
        tell({ kind: "tcp", original: readOriginal(socket, family) });
        socket.once("data", () =>
          socket.end("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"),
        );
      }).listen({ fd });
  for (const [fd, type] of [
    [sockets.dnsUdp4, "udp4"],
    [sockets.dnsUdp6, "udp6"],
  ] as const)
    if (fd !== null) {
      const socket = createSocket(type);
      socket.on("message", (query, from) => {
        tell({ kind: "dns", query: query.toString("latin1") });
        socket.send(query, from.port, from.address);
      });
      socket.bind({ fd });
    }
  for (const fd of [sockets.dnsTcp4, sockets.dnsTcp6])
    if (fd !== null)
      createServer((socket) => {
        tell({ kind: "dns-tcp" });
        socket.end();
      }).listen({ fd });
}
