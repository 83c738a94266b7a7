/**
 * The inside of a test's network namespace (sidecar.ts starts it under `unshare`): loads the rules of `sidegate run`, gives its
 * listening sockets away, and then opens connections on demand. Each opened connection is handed out as the kernel's own socket,
 * so that a test holds the very socket whose packets were redirected: resets and half-closes arrive as they are.
 */
import type { SendHandle } from "node:child_process";
import { Resolver } from "node:dns/promises";
import net from "node:net";
import { makeListeners } from "#local/listeners.ts";
import { makeNetwork } from "#local/network.ts";
import type { SocketName } from "#local/protocol.ts";

export interface ToInside {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly family: 4 | 6;
}

export type FromInside =
  | { readonly kind: "socket"; readonly name: SocketName }
  | { readonly kind: "opened" }
  | { readonly kind: "connected"; readonly id: number }
  | { readonly kind: "failed"; readonly id: number; readonly message: string };

/** Any server would do: port 53 is redirected wherever it goes. */
const resolver = new Resolver({ timeout: 1_000, tries: 10 });
resolver.setServers(["192.0.2.53"]);
const names = new Map<string, Promise<string>>();

function say(message: FromInside, handle?: unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send?.(message, handle as SendHandle | undefined, {}, (fault) =>
      fault === null ? resolve() : reject(fault),
    );
  });
}

async function addressOf(host: string, family: 4 | 6): Promise<string> {
  if (net.isIP(host) !== 0) return host;
  const key = `${family} ${host}`;
  let found = names.get(key);
  if (found === undefined) {
    found = (family === 4 ? resolver.resolve4(host) : resolver.resolve6(host)).then(([first]) => first ?? "");
    names.set(key, found);
    found.catch(() => names.delete(key));
  }
  return found;
}

async function open({ id, host, port, family }: ToInside): Promise<void> {
  try {
    const socket = new net.Socket({ allowHalfOpen: true });
    // Nothing may be read here: it is the receiver's.
    socket.pause();
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      addressOf(host, family).then((address) => socket.connect({ port, host: address }, resolve), reject);
    });
    await say({ kind: "connected", id }, Reflect.get(socket, "_handle"));
    socket.destroy();
  } catch (fault) {
    await say({ kind: "failed", id, message: fault instanceof Error ? fault.message : String(fault) });
  }
}

async function main(): Promise<void> {
  const { ipv6 } = makeNetwork();
  await makeListeners(ipv6, (name, handle) => say({ kind: "socket", name }, handle));
  process.on("message", (message) => void open(message as ToInside));
  await say({ kind: "opened" });
}

process.on("disconnect", () => process.exit());
await main();
