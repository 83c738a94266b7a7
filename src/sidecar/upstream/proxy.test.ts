import http from "node:http";
import net, { type Socket } from "node:net";
import tls from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import type { Target } from "#contract/target.ts";
import { systemClock } from "#core/clock.ts";
import { makeAuthority } from "#sidecar/tls/authority.ts";
import { createLeafSource } from "#sidecar/tls/leaf-source.ts";
import { closeDoors, Gate, makeTransport, permit, Recording, serve, wheel } from "../../../test/support/loopback.ts";
import type { Dial } from "../seam/stages.ts";
import { parseProxy } from "./proxy.ts";
import { createUpstreams, type UpstreamRoom } from "./upstreams.ts";

afterEach(closeDoors);

const TARGET: Target = { name: "api", hosts: ["api.example"], ports: [443] };
const request = (more: Partial<Dial> = {}): Dial => ({
  host: "api.example",
  port: 443,
  target: TARGET,
  secure: false,
  alpn: [],
  pool: "",
  fresh: false,
  identity: null,
  ...more,
});

interface Rig {
  readonly room: UpstreamRoom;
  readonly findings: string[];
  readonly resolved: string[];
}
function rig(port: number, noProxy: readonly string[] = [], authorization: (() => string) | null = null): Rig {
  const findings: string[] = [];
  const resolved: string[] = [];
  const proxy = parseProxy(`http://127.0.0.1:${port}`, noProxy, authorization);
  if (proxy === null) throw new Error("malformed");
  const room = createUpstreams({
    connector: makeTransport(),
    gate: new Gate(),
    clock: systemClock,
    after: (ms, fire) => wheel.after(ms, fire),
    connectMs: 5_000,
    rules: { own: [], internal: [], allowLoopbackEndpoints: true },
    onFinding: (finding) => findings.push(`${finding.host} ${finding.address} ${finding.what}`),
    proxy,
    resolver: {
      resolve: (name, then) => {
        resolved.push(name);
        then({ kind: "none", why: "nxdomain" });
      },
    },
  });
  return { room, findings, resolved };
}
async function dial(room: UpstreamRoom, what: Dial, text: string): Promise<{ ear: Recording; release(): void }> {
  const ear = new Recording();
  const leg = room.dial(what, permit, ear);
  leg.write(permit, text);
  await ear.until(() => ear.text.endsWith("\n") || ear.events.some((event) => event.startsWith("failed")));
  return { ear, release: () => leg.release(true) };
}

/** A proxy that leads every tunnel to one port, and says what it was asked. */
async function proxyTo(port: number, asked: string[]): Promise<number> {
  const server = http.createServer((_req, res) => res.writeHead(403).end());
  server.on("connect", (req, client: Socket, head: Buffer) => {
    asked.push(`${req.url} ${req.headers["proxy-authorization"] ?? "-"}`);
    const upstream = net.connect(port, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n");
      upstream.write(head);
      client.pipe(upstream).pipe(client);
    });
    for (const socket of [client, upstream]) socket.on("error", () => {});
  });
  return serve(server);
}
const echo = (socket: Socket): void => {
  socket.on("error", () => {});
  socket.on("data", (bytes: Buffer) => socket.write(`said ${bytes.toString()}\n`));
};

describe("behind a proxy", () => {
  test("a dial asks for a tunnel by name, resolves nothing itself, and uses the tunnel again", async () => {
    const asked: string[] = [];
    const port = await proxyTo(await serve(net.createServer(echo)), asked);
    const { room, resolved } = rig(port, [], () => "Basic cGxhY2U6aG9sZGVy");
    const first = await dial(room, request(), "one");
    expect(first.ear.events).toEqual(["opened", "data"]);
    first.release();
    expect((await dial(room, request(), "two")).ear.text).toBe("said two\n");
    expect(asked).toEqual(["api.example:443 Basic cGxhY2U6aG9sZGVy"]);
    expect(resolved).toEqual([]);
    room.close();
  });

  test("TLS goes through the tunnel and verifies the server by its own name", async () => {
    const authority = makeAuthority(systemClock);
    const leaves = createLeafSource(authority, systemClock);
    const server = tls.createServer({ SNICallback: (name, then) => then(null, leaves.contextFor(name)) });
    server.on("secureConnection", echo);
    const port = await proxyTo(await serve(server), []);
    const { room } = rig(port);
    const trusting = request({ secure: true, target: { ...TARGET, upstream: { ca: authority.caPem } } });
    expect((await dial(room, trusting, "one")).ear.text).toBe("said one\n");
    const named = { ...TARGET, upstream: { ca: authority.caPem, serverName: "other.example" } };
    expect((await dial(room, request({ secure: true, target: named }), "x")).ear.text).toBe("said x\n");
    expect((await dial(room, request({ secure: true }), "x")).ear.events).toEqual(["failed tls-bad-upstream"]);
    room.close();
  });

  test.each([
    ["refuses", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"],
    ["says something else", "SSH-2.0-OpenSSH\r\n\r\n"],
    ["speaks an older HTTP", "HTTP/0.9 200 OK\r\n\r\n"],
    ["hangs up", null],
    ["never ends its head", `HTTP/1.1 200 OK\r\nX: ${"x".repeat(70_000)}`],
  ])("that %s, a dial fails and goes no other way", async (_what, answer) => {
    const server = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => (answer === null ? socket.end() : socket.write(answer)));
    });
    const { room, resolved } = rig(await serve(server));
    expect((await dial(room, request(), "x")).ear.events).toEqual(["failed refused"]);
    expect(resolved).toEqual([]);
  });

  test("bytes before TLS are a fault: somebody in between speaks", async () => {
    const server = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\n\r\nhello"));
    });
    const { room } = rig(await serve(server));
    expect((await dial(room, request({ secure: true }), "x")).ear.events).toEqual(["failed plaintext-before-tls"]);
  });

  test("a server that speaks first is heard from its first byte, however the proxy's head is cut", async () => {
    const head = "HTTP/1.1 200 OK\r\n\r\n";
    for (let cut = 1; cut < head.length; cut++) {
      const server = net.createServer((socket) => {
        socket.setNoDelay(true);
        socket.on("error", () => {});
        socket.once("data", () => {
          socket.write(head.slice(0, cut), () => setImmediate(() => socket.write(`${head.slice(cut)}220 ready\r\n`)));
        });
      });
      const { room } = rig(await serve(server));
      const { ear } = await dial(room, request({ pool: null }), "");
      expect(ear.text).toBe("220 ready\r\n");
      expect(ear.events).toEqual(["opened", "data"]);
    }
  });

  test("what the rules refuse is refused here: a proxy leads to no metadata", async () => {
    const asked: string[] = [];
    const { room, findings } = rig(await proxyTo(1, asked));
    for (const host of ["169.254.169.254", "127.0.0.1"])
      expect((await dial(room, request({ host }), "x")).ear.events).toEqual(["failed unresolved"]);
    expect(findings).toEqual(["169.254.169.254 169.254.169.254 metadata", "127.0.0.1 127.0.0.1 loopback"]);
    expect(asked).toEqual([]);
  });

  test("names under noProxy and endpoints go straight, by the rules for straight dials", async () => {
    const asked: string[] = [];
    const port = await serve(net.createServer(echo));
    const { room, resolved } = rig(await proxyTo(1, asked), ["example"]);
    const straight = { ...TARGET, endpoints: [`127.0.0.1:${port}`] };
    expect((await dial(room, request({ host: "x.test", target: straight }), "x")).ear.text).toBe("said x\n");
    expect((await dial(room, request(), "x")).ear.events).toEqual(["failed unresolved"]);
    expect(resolved).toEqual(["api.example"]);
    expect(asked).toEqual([]);
    room.close();
  });

  test("has no addresses to answer an agent with", () => {
    const got: (readonly string[])[] = [];
    rig(1).room.addresses("api.example", TARGET, (addresses) => got.push(addresses));
    expect(got).toEqual([[]]);
  });
});

describe("the proxy's configuration", () => {
  test.each([
    ["http://proxy.corp.example:3128", "proxy.corp.example", 3128],
    ["http://Proxy:8080/", "proxy", 8080],
    ["http://[fd00::1]:8080", "fd00::1", 8080],
    ["http://10.0.0.1:1", "10.0.0.1", 1],
  ])("%s", (url, host, port) => expect(parseProxy(url, [], null)).toMatchObject({ host, port }));

  test.each([
    "https://proxy:3128",
    "http://proxy",
    "http://proxy:0",
    "http://proxy:70000",
    "http://user:pw@proxy:1",
    "http://proxy:1/path",
    "proxy:1",
    "http://[x]:1",
    "http://[::1:1",
  ])("%s is refused", (url) => expect(parseProxy(url, [], null)).toBeNull());

  test("noProxy names a host and all under it, an address or a range, and never everything", () => {
    const proxy = parseProxy("http://proxy:1", ["Corp.example", ".internal", "*.svc", "10.0.0.0/8", "192.0.2.1"], null);
    for (const host of ["corp.example", "a.b.corp.example", "x.internal", "internal", "a.svc", "10.9.9.9", "192.0.2.1"])
      expect(proxy?.bypasses(host), host).toBe(true);
    for (const host of ["notcorp.example", "corp.example.org", "11.0.0.1", "192.0.2.2", "fd00::1", "0.svc.x"])
      expect(proxy?.bypasses(host), host).toBe(false);
    for (const bad of ["*", "", "a b", "10.0.0.1/8"]) expect(parseProxy("http://proxy:1", [bad], null), bad).toBeNull();
  });
});
