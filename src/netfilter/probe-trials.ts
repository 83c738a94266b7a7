/**
 * The trials of the probe, by stage. Each returns what it saw, or throws with what was expected. Destinations are of ranges that
 * are never routed (TEST-NET-2, the documentation prefix), so what does go out goes nowhere.
 */
import { readFileSync } from "node:fs";
import { CAPTURE_PORT, DNS_PORT } from "#contract/names.ts";
import { readOriginal } from "./original-destination.ts";
import { type Family, LOOPBACK, NO_ROUTE, NoRoute, type ProbeSockets } from "./probe-listeners.ts";
import { FAMILY, PROTOCOL, type Sent, sendOne, TYPE } from "./raw-socket.ts";

export interface Trial {
  readonly name: string;
  readonly families: readonly Family[];
  readonly run: (sockets: ProbeSockets, family: Family) => Promise<string>;
}

const OUTSIDE: Record<Family, string> = { 4: "198.51.100.1", 6: "2001:db8::1" };
/** systemd-resolved's address: the most common resolver that is "local" already. */
const STUB_RESOLVER = "127.0.0.53";
const BOTH = [4, 6] as const;

/** Stage one: the rules take us for the proxy. */
export const EXEMPT: readonly Trial[] = [
  { name: "the proxy's uid goes out", families: BOTH, run: proxyGoesOut },
  { name: "the proxy's uid is not redirected (UDP)", families: BOTH, run: proxyKeepsItsResolver },
  { name: "the proxy's uid is not redirected (TCP)", families: BOTH, run: proxyIsNotCaptured },
];

/** As stage one, for a mesh's proxy. */
export const MESH_EXEMPT: readonly Trial[] = [
  { name: "the mesh's uid goes out", families: BOTH, run: proxyGoesOut },
  { name: "the mesh's uid is not redirected (UDP)", families: BOTH, run: proxyKeepsItsResolver },
  { name: "the mesh's uid is not redirected (TCP)", families: BOTH, run: proxyIsNotCaptured },
];

/** Stage two: we are the agent, and may answer in the proxy's place. */
export const REDIRECTED: readonly Trial[] = [
  { name: "TCP is redirected, and its destination can be read", families: BOTH, run: tcpIsCaptured },
  { name: "UDP 53 is redirected, and answered from the address asked", families: BOTH, run: dnsIsCaptured },
  { name: "UDP 53 to a local resolver is redirected", families: [4], run: localDnsIsCaptured },
  { name: "TCP 53 is redirected", families: BOTH, run: dnsOverTcpIsCaptured },
  { name: "TCP 53 to a local resolver is redirected", families: [4], run: localDnsOverTcpIsCaptured },
  { name: "UDP is refused at once", families: BOTH, run: udpIsRefused },
  { name: "ICMP is refused", families: BOTH, run: icmpIsRefused },
  { name: "raw IP is refused", families: BOTH, run: rawIsRefused },
  { name: "nothing leaves by another interface for a loopback address", families: BOTH, run: gateHolds },
];

/** Stage three: the real rules. */
export const FINAL: readonly Trial[] = [
  { name: "nobody else answers on the capture port", families: BOTH, run: capturePortIsGuarded },
  { name: "nobody else answers on the resolver's port", families: BOTH, run: resolverPortIsGuarded },
  { name: "nobody else sends from the proxy's ports", families: BOTH, run: sourcePortsAreGuarded },
  { name: "UDP is refused under the final rules", families: BOTH, run: udpIsRefused },
];

/** Stage three, with a mesh's ports. */
export const MESH_FINAL = (ports: readonly number[]): readonly Trial[] => [
  { name: "nobody else talks to the mesh (UDP)", families: BOTH, run: (s, family) => meshIsClosed(s, family, ports) },
  {
    name: "nobody else talks to the mesh (TCP)",
    families: BOTH,
    run: (s, family) => portIsGuarded(s, family, ports[0] ?? 0),
  },
  {
    name: "nobody else sends from the mesh's ports",
    families: BOTH,
    run: (s, family) => sourcePortsAreGuarded(s, family, ports),
  },
];

async function proxyGoesOut(sockets: ProbeSockets, family: Family): Promise<string> {
  const code = await (await sockets.datagrams(null)).send("probe", 9, OUTSIDE[family]);
  if (code !== null) throw new Error(`expected a datagram to leave, got ${code}`);
  return "sent";
}

async function proxyKeepsItsResolver(sockets: ProbeSockets, family: Family): Promise<string> {
  const resolver = await sockets.datagrams(DNS_PORT);
  const client = await sockets.datagrams(null);
  await client.send("outside", 53, OUTSIDE[family]);
  await client.send("marker", DNS_PORT, LOOPBACK[family]);
  const { data } = await resolver.next();
  if (data.toString() !== "marker") throw new Error("its query came back to our own resolver");
  return "not captured";
}

async function proxyIsNotCaptured(sockets: ProbeSockets, family: Family): Promise<string> {
  const capture = await sockets.listen(CAPTURE_PORT);
  const outside = sockets.connect(443, OUTSIDE[family]);
  const marker = sockets.connect(CAPTURE_PORT, LOOPBACK[family]);
  await marker.connected;
  const first = await capture.next();
  if (first.remotePort !== marker.socket.localPort) throw new Error("its connection came back to our own listener");
  outside.socket.destroy();
  return "not captured";
}

async function tcpIsCaptured(sockets: ProbeSockets, family: Family): Promise<string> {
  const capture = await sockets.listen(CAPTURE_PORT);
  const { connected } = sockets.connect(443, OUTSIDE[family]);
  await connected;
  const socket = await capture.next();
  const original = readOriginal(socket, family);
  const expected = `${OUTSIDE[family]} 443`;
  if (original !== expected) throw new Error(`expected ${expected} as the original destination, read ${original}`);
  return "captured";
}

async function dnsIsCaptured(sockets: ProbeSockets, family: Family): Promise<string> {
  return askFor(sockets, OUTSIDE[family]);
}

async function localDnsIsCaptured(sockets: ProbeSockets): Promise<string> {
  return askFor(sockets, STUB_RESOLVER);
}

async function askFor(sockets: ProbeSockets, address: string): Promise<string> {
  const resolver = await sockets.datagrams(DNS_PORT);
  const client = await sockets.datagrams(null);
  const code = await client.send("question", 53, address);
  if (code !== null) throw new Error(`asking ${address}: ${code}`);
  const { from } = await resolver.next();
  const refused = await resolver.send("answer", from.port, from.address);
  if (refused !== null) throw new Error(`answering for ${address}: ${refused}`);
  const answer = await client.next();
  if (answer.from.address !== address || answer.from.port !== 53)
    throw new Error(`${address} was asked, ${answer.from.address}:${answer.from.port} answered`);
  return "captured";
}

async function dnsOverTcpIsCaptured(sockets: ProbeSockets, family: Family): Promise<string> {
  return connectTo(sockets, OUTSIDE[family]);
}

async function localDnsOverTcpIsCaptured(sockets: ProbeSockets): Promise<string> {
  return connectTo(sockets, STUB_RESOLVER);
}

async function connectTo(sockets: ProbeSockets, address: string): Promise<string> {
  const resolver = await sockets.listen(DNS_PORT);
  const { connected } = sockets.connect(53, address);
  await connected;
  await resolver.next();
  return "captured";
}

async function udpIsRefused(sockets: ProbeSockets, family: Family): Promise<string> {
  const client = await sockets.datagrams(null);
  for (const port of [443, 123, 4500]) {
    const code = await client.send("probe", port, OUTSIDE[family]);
    if (code !== "EPERM") throw new Error(`expected EPERM for UDP ${port}, got ${code ?? "a datagram sent"}`);
  }
  return "EPERM";
}

async function icmpIsRefused(_: ProbeSockets, family: Family): Promise<string> {
  const echo = Buffer.from([family === 4 ? 8 : 128, 0, 0, 0, 0, 1, 0, 1]);
  const protocol = family === 4 ? PROTOCOL.icmp : PROTOCOL.icmp6;
  return mustRefuse(sendOne({ ...internet(family), type: TYPE.datagram, protocol, payload: echo }), family);
}

/** Protocol 47 (GRE) and friends: whatever is neither TCP nor UDP. */
async function rawIsRefused(_: ProbeSockets, family: Family): Promise<string> {
  return mustRefuse(sendOne({ ...internet(family), type: TYPE.raw, protocol: 47, payload: Buffer.alloc(8) }), family);
}

const internet = (family: Family): { family: number; to: { address: string; port: number } } => ({
  family: family === 4 ? FAMILY.inet : FAMILY.inet6,
  to: { address: OUTSIDE[family], port: 0 },
});

/** Bound to an interface, a packet for 127.0.0.2 would leave by it; a neighbour with route_localnet answers. */
async function gateHolds(_: ProbeSockets, family: Family): Promise<string> {
  const to = { address: family === 4 ? "127.0.0.2" : "::1", port: 9 };
  const inet = family === 4 ? FAMILY.inet : FAMILY.inet6;
  const base = { family: inet, type: TYPE.datagram, protocol: PROTOCOL.default, payload: Buffer.alloc(1) };
  const refused: string[] = [];
  for (const device of otherInterfaces()) {
    const sent = sendOne({ ...base, to, device });
    if (sent === "sent") throw new Error(`expected an error, but the kernel sent it by ${device}`);
    // Any other error: an interface that is down or has no way there.
    if (sent.code === "EPERM") refused.push(device);
  }
  return refused.length === 0 ? "no interface but lo is up" : `EPERM by ${refused.join(", ")}`;
}

/** By /proc/net/dev: a list of interfaces that run leaves out one whose carrier the kernel has not reported yet. */
function otherInterfaces(): readonly string[] {
  const names = [...readFileSync("/proc/net/dev", "utf8").matchAll(/^\s*([^\s:|]+):/gm)].map((m) => m[1] ?? "");
  return names.filter((name) => name !== "lo");
}

/** Before it is sent, any refusal will do (the agent has no more rights than we); of a send, only the rules' own. */
function mustRefuse(sent: Sent, family: Family): string {
  if (sent === "sent") throw new Error("expected an error, but the kernel sent it");
  if (sent.step === "send" && sent.code !== "EPERM") {
    if (NO_ROUTE.has(sent.code)) throw new NoRoute(family);
    throw new Error(`expected EPERM, got ${sent.code}`);
  }
  return `${sent.code} at ${sent.step}`;
}

async function capturePortIsGuarded(sockets: ProbeSockets, family: Family): Promise<string> {
  return portIsGuarded(sockets, family, CAPTURE_PORT);
}

async function portIsGuarded(sockets: ProbeSockets, family: Family, port: number): Promise<string> {
  await sockets.listen(port);
  const control = await sockets.listen(0);
  const squatted = sockets.connect(port, LOOPBACK[family]);
  // Begun later on the same way: once this one is through, the other would have been.
  await sockets.connect(control.port, LOOPBACK[family]).connected;
  if (squatted.socket.readyState === "open") throw new Error("a listener of another uid was reached");
  return "no handshake";
}

async function resolverPortIsGuarded(sockets: ProbeSockets, family: Family): Promise<string> {
  const squatter = await sockets.datagrams(DNS_PORT);
  const code = await squatter.send("answer", 40_000, LOOPBACK[family]);
  if (code !== "EPERM") throw new Error(`expected EPERM for an answer from another uid, got ${code ?? "it sent"}`);
  return "EPERM";
}

async function meshIsClosed(sockets: ProbeSockets, family: Family, ports: readonly number[]): Promise<string> {
  const client = await sockets.datagrams(null);
  for (const port of ports) {
    const code = await client.send("question", port, LOOPBACK[family]);
    if (code !== "EPERM") throw new Error(`expected EPERM for UDP ${port}, got ${code ?? "a datagram sent"}`);
  }
  return "EPERM";
}

async function sourcePortsAreGuarded(
  _: ProbeSockets,
  family: Family,
  ports: readonly number[] = [CAPTURE_PORT, DNS_PORT],
): Promise<string> {
  const inet = family === 4 ? FAMILY.inet : FAMILY.inet6;
  const base = { family: inet, type: TYPE.datagram, protocol: PROTOCOL.default, payload: Buffer.alloc(1) };
  // To ourselves nothing else would stop it.
  for (const fromPort of ports)
    mustRefuse(sendOne({ ...base, to: { address: LOOPBACK[family], port: 40_000 }, fromPort }), family);
  return "refused";
}
