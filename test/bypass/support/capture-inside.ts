/**
 * Runs inside a network namespace of its own: redirects everything to a real capture, dials what it is told, and prints for each
 * what the capture took for the original destination. `capture-inside.ts ADDRESS:PORT…` (v6 in brackets).
 */
import { execFileSync } from "node:child_process";
import net from "node:net";
import { CAPTURE_PORT } from "#contract/names.ts";
import { createWheel } from "#core/wheel.ts";
import { startCapture } from "#sidecar/listen/capture.ts";
import { originalDestination } from "#sidecar/listen/original-destination.ts";
import { createTransport } from "#sidecar/transport/transport.ts";

const RULES = `table inet capture {
 chain out {
  type nat hook output priority -150; policy accept;
  ip daddr 127.0.0.0/8 accept
  ip6 daddr ::1 accept
  meta l4proto tcp redirect to :${CAPTURE_PORT}
 }
}`;

function setUp(): void {
  const ip = (text: string): Buffer => execFileSync("ip", text.split(" "));
  ip("link set lo up");
  ip("addr add 192.0.2.1/32 dev lo");
  ip("-6 addr add fd5a:6467::1/128 dev lo");
  ip("route add default dev lo src 192.0.2.1");
  ip("-6 route add default dev lo src fd5a:6467::1");
  execFileSync("nft", ["-f", "-"], { input: RULES });
}

async function dial(text: string): Promise<void> {
  const at = text.lastIndexOf(":");
  const host = text.slice(0, at).replace(/[[\]]/g, "");
  const socket = net.connect({ host, port: Number(text.slice(at + 1)) });
  await new Promise((resolve) => socket.on("close", resolve).on("error", resolve));
}

setUp();
const taken: unknown[] = [];
const transport = createTransport({
  wheel: createWheel(),
  roots: [],
  bug: (error) => {
    throw error;
  },
});
const lookUp = originalDestination();
/** A dual-stack listener shows v4 connections with mapped addresses. */
const mixed = net.createServer();
await new Promise<void>((resolve) => mixed.listen({ host: "::", port: CAPTURE_PORT + 1 }, resolve));
const capture = await startCapture({
  listeners: [
    { kind: "port", port: CAPTURE_PORT },
    { kind: "server", server: mixed },
  ],
  originalDestination: lookUp,
  transport,
  onAccepted: ({ leg, client, original }) => {
    taken.push({ from: client.address, original });
    leg.reset();
  },
});
for (const address of process.argv.slice(2)) await dial(address);
execFileSync("nft", ["-f", "-"], {
  input: RULES.replaceAll("table inet", "delete table inet capture\ntable inet").replace(
    `:${CAPTURE_PORT}`,
    `:${CAPTURE_PORT + 1}`,
  ),
});
await dial("203.0.113.9:443");
await capture.close();
process.stdout.write(JSON.stringify(taken));
