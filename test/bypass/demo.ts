/** A hand-run demonstration: `node test/bypass/demo.ts COMMAND…` runs a command in the namespace and answers what it connects to. */
import { createSocket } from "node:dgram";
import { readFileSync, realpathSync } from "node:fs";
import { createServer } from "node:net";
import { commandEnvironment } from "#local/environment.ts";
import { listeningSockets } from "#local/host-sockets.ts";
import { openNamespace } from "#local/namespace.ts";

const namespace = await openNamespace({
  node: process.execPath,
  entry: new URL("../../cmd/run-inner.ts", import.meta.url).pathname,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  ...(process.env["DEMO_MODE"] === "root" ? { mode: "root" as const } : {}),
});
console.error(namespace.sockets);
for (const fd of [namespace.sockets.tcp4, namespace.sockets.tcp6])
  if (fd !== null)
    createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"));
    }).listen({ fd });
for (const fd of [namespace.sockets.dnsUdp4, namespace.sockets.dnsUdp6])
  if (fd !== null) {
    const socket = createSocket(fd === namespace.sockets.dnsUdp4 ? "udp4" : "udp6");
    socket.on("message", (query, from) => socket.send(query, from.port, from.address));
    socket.bind({ fd });
  }
const home = process.env["HOME"] ?? null;
const furnished = await namespace.furnish({
  home: home === null ? null : realpathSync(home),
  cwd: process.cwd(),
  write: [],
  readOnly: [],
  hide: [],
  mask: [],
  sockets: listeningSockets(readFileSync("/proc/net/unix", "utf8")),
  trust: null,
});
console.error(furnished);
const status = await namespace.start({
  argv: process.argv.slice(2),
  env: commandEnvironment(process.env, {}),
  cwd: process.cwd(),
});
console.error(status);
namespace.close();
process.exit(status.code);
