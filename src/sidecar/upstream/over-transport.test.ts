/** The room with the real transport under it, over loopback: what a fake connection could get wrong. */
import net, { type Socket } from "node:net";
import tls from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import type { Target } from "#contract/target.ts";
import { systemClock } from "#core/clock.ts";
import { makeAuthority } from "#sidecar/tls/authority.ts";
import { createLeafSource } from "#sidecar/tls/leaf-source.ts";
import {
  closeDoors,
  Gate,
  makeTransport,
  permit,
  Recording,
  received,
  serve,
  wheel,
} from "../../../test/support/loopback.ts";
import type { Upstream } from "../seam/leg.ts";
import type { Dial } from "../seam/stages.ts";
import { createUpstreams, type UpstreamRoom } from "./upstreams.ts";

const rooms: UpstreamRoom[] = [];
afterEach(async () => {
  for (const room of rooms.splice(0)) room.close();
  await closeDoors();
});

const gate = new Gate();
function upstreams(): UpstreamRoom {
  const room = createUpstreams({
    connector: makeTransport(),
    gate,
    clock: systemClock,
    after: (ms, fire) => wheel.after(ms, fire),
    connectMs: 5_000,
    rules: { own: [], internal: [], allowLoopbackEndpoints: true },
    onFinding: (finding) => expect.fail(JSON.stringify(finding)),
    resolver: { resolve: (_name, then) => then({ kind: "none", why: "nxdomain" }) },
  });
  rooms.push(room);
  return room;
}
const dialOf = (ports: readonly number[], more: Partial<Dial> = {}, spec: Partial<Target> = {}): Dial => ({
  host: "api.example",
  port: 443,
  target: {
    name: "api",
    hosts: ["api.example"],
    ports: [443],
    endpoints: ports.map((port) => `127.0.0.1:${port}`),
    ...spec,
  },
  secure: false,
  alpn: [],
  pool: "",
  fresh: false,
  identity: null,
  ...more,
});
/** Writes `text` and waits for an answer of one line. */
async function ask(room: UpstreamRoom, dial: Dial, text: string): Promise<{ leg: Upstream; ear: Recording }> {
  const ear = new Recording();
  const leg = room.dial(dial, permit, ear);
  leg.write(permit, text);
  await ear.until(() => ear.text.endsWith("\n") || ear.events.some((event) => event.startsWith("failed")));
  return { leg, ear };
}
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise(setImmediate);
};
/** Answers each chunk with the number of its connection and what it said. */
function echo(sockets: Socket[]): (socket: Socket) => void {
  return (socket) => {
    const n = sockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes: Buffer) => socket.write(`${n} ${bytes.toString()}\n`));
  };
}

describe("keep-alive over real sockets", () => {
  test("the second request goes over the first one's connection, and each is answered to who asked", async () => {
    const sockets: Socket[] = [];
    const dial = dialOf([await serve(net.createServer(echo(sockets)))]);
    const room = upstreams();
    const first = await ask(room, dial, "one");
    first.leg.release(true);
    expect(room.idle).toBe(1);
    const second = await ask(room, dial, "two");
    expect([first.ear.text, second.ear.text]).toEqual(["1 one\n", "1 two\n"]);
    expect(second.leg.reused).toBe(true);
    expect(second.ear.events).toEqual(["data"]);
    second.leg.release(true);
    const other = await ask(room, { ...dial, pool: "other run" }, "three");
    expect(other.ear.text).toBe("2 three\n");
    other.leg.reset();
  });

  test.each([
    ["a late byte", (socket: Socket) => socket.write("HTTP/1.1 200 OK\r\n")],
    ["an end", (socket: Socket) => socket.end()],
    ["a reset", (socket: Socket) => socket.resetAndDestroy()],
  ])("THREATS H6: %s on an idle connection closes it, and the next request has a new one", async (_what, late) => {
    const sockets: Socket[] = [];
    const dial = dialOf([await serve(net.createServer(echo(sockets)))]);
    const room = upstreams();
    (await ask(room, dial, "one")).leg.release(true);
    late(sockets[0]!);
    await until(() => room.idle === 0);
    const { leg, ear } = await ask(room, dial, "two");
    expect([leg.reused, ear.text]).toEqual([false, "2 two\n"]);
    leg.reset();
  });

  test("over TLS the server is verified as the target says, and the connection is used again", async () => {
    const authority = makeAuthority(systemClock);
    const leaves = createLeafSource(authority, systemClock);
    const sockets: Socket[] = [];
    const server = tls.createServer({
      SNICallback: (name, then) => then(null, leaves.contextFor(name)),
      ALPNProtocols: ["http/1.1"],
    });
    server.on("secureConnection", echo(sockets));
    const port = await serve(server);
    const room = upstreams();
    const trusting = dialOf([port], { secure: true, alpn: ["http/1.1"] }, { upstream: { ca: authority.caPem } });
    const first = await ask(room, trusting, "one");
    expect(first.leg.tls).toMatchObject({ alpn: "http/1.1" });
    first.leg.release(true);
    const second = await ask(room, trusting, "two");
    expect([second.leg.reused, second.ear.text]).toEqual([true, "1 two\n"]);
    second.leg.reset();
    const stranger = await ask(room, dialOf([port], { secure: true }), "three");
    expect(stranger.ear.events).toEqual(["failed tls-bad-upstream"]);
    expect(sockets).toHaveLength(1);
  });
});

test("an address where nobody listens gives way to the next, with all that was queued", async () => {
  const sockets: Socket[] = [];
  const port = await serve(net.createServer(echo(sockets)));
  const room = upstreams();
  const { leg, ear } = await ask(room, dialOf([1, port]), "hello");
  expect(ear.text).toBe("1 hello\n");
  expect(ear.events).toEqual(["opened", "data"]);
  leg.reset();
  const nobody = await ask(room, dialOf([1]), "hello");
  expect(nobody.ear.events).toEqual(["failed refused"]);
});

test("THREATS N7: two megabytes written, ended and released at once all arrive", async () => {
  let got: Promise<Buffer> | undefined;
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    got = received(socket);
    socket.end();
  });
  const dial = dialOf([await serve(server)]);
  const room = upstreams();
  const ear = new Recording();
  const leg = room.dial(dial, permit, ear);
  leg.write(permit, "start ");
  await ear.seen("ended");
  leg.write(permit, new Uint8Array(2_000_000).fill(0x78));
  leg.end();
  leg.release(false);
  expect((await got)?.length).toBe(2_000_006);
});
