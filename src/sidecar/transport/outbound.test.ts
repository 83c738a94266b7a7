import net from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { CommitGate } from "#contract/record.ts";
import {
  closeDoors,
  closed,
  Gate,
  makeTransport,
  openDoor,
  permit,
  Recording,
  received,
  serve,
} from "../../../test/support/loopback.ts";
import type { LegEvents } from "../seam/leg.ts";
import type { Outbound } from "../seam/stages.ts";

afterEach(closeDoors);

const transport = makeTransport();

function connect(port: number, events: LegEvents, gate: CommitGate = new Gate()): Outbound {
  return transport.connect({ address: "127.0.0.1", port, timeoutMs: 5_000, tls: null }, gate, events);
}

/** A server that hands over its first connection. */
async function server(): Promise<{ readonly port: number; readonly socket: Promise<net.Socket> }> {
  let take: (socket: net.Socket) => void = () => {};
  const socket = new Promise<net.Socket>((resolve) => {
    take = resolve;
  });
  const port = await serve(
    net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      socket.on("error", () => {});
      take(socket);
    }),
  );
  return { port, socket };
}

describe("a connection to an upstream", () => {
  test("sends what was written before it was there, in order, and half-closes after it", async () => {
    const { port, socket } = await server();
    const events = new Recording();
    const leg = connect(port, events);
    leg.write(permit, "one ");
    leg.write(permit, Buffer.from("two "));
    leg.write(permit, "three");
    leg.end();
    const there = await socket;
    expect((await received(there)).toString()).toBe("one two three");
    there.end("bye");
    await events.seen("ended");
    expect(events.text).toBe("bye");
    expect(events.events).toEqual(["opened", "data", "ended"]);
    expect([leg.bytesIn, leg.bytesOut]).toEqual([3, 13]);
  });

  test("is told to wait while it is not there yet, and to go on when it took what waited", async () => {
    const { port, socket } = await server();
    const events = new Recording();
    const leg = connect(port, events);
    expect(leg.write(permit, Buffer.alloc(60_000))).toBe(true);
    expect(leg.write(permit, Buffer.alloc(60_000))).toBe(false);
    const got = received((await socket).resume());
    await events.seen("drained");
    expect(events.events).toEqual(["opened", "drained"]);
    leg.end();
    expect((await got).length).toBe(120_000);
  });

  test("loses a writer that does not wait for it", async () => {
    const { port } = await server();
    const events = new Recording();
    const leg = connect(port, events);
    for (let i = 0; i < 5; i++) leg.write(permit, Buffer.alloc(1_000_000));
    await events.seen("failed reset");
    expect(events.events).toEqual(["failed reset"]);
  });

  test.each([
    ["refused", "127.0.0.1", 1],
    ["unresolved", "billing.test", 80],
    ["unresolved", "127.0.0.1", 0],
  ])("says %s", async (fault, address, port) => {
    const events = new Recording();
    const leg = transport.connect({ address, port, timeoutMs: 5_000, tls: null }, new Gate(), events);
    leg.write(permit, "never");
    expect(events.events).toEqual([]);
    await events.seen(`failed ${fault}`);
    expect(events.events).toEqual([`failed ${fault}`]);
    expect(leg.bytesOut).toBe(0);
  });

  test("given up while it is made says nothing", async () => {
    const { port } = await server();
    const events = new Recording();
    const leg = connect(port, events);
    leg.write(permit, "never");
    leg.reset();
    const other = new Recording();
    const second = connect(port, other);
    await other.seen("opened");
    second.reset();
    expect(events.events).toEqual([]);
  });

  test("says once that it broke, and takes no more", async () => {
    const { port, socket } = await server();
    const events = new Recording();
    const leg = connect(port, events);
    await events.seen("opened");
    (await socket).resetAndDestroy();
    await events.seen("failed reset");
    expect(leg.write(permit, "late")).toBe(true);
    leg.end();
    leg.reset();
    expect(events.events).toEqual(["opened", "failed reset"]);
    expect(leg.bytesOut).toBe(0);
  });

  test("may be given to another listener, and is idle only when nothing is under way", async () => {
    const { port, socket } = await server();
    const first = new Recording();
    const gate = new Gate();
    const leg = connect(port, first, gate);
    expect(leg.idleSafe).toBe(false);
    await first.seen("opened");
    expect(leg.idleSafe).toBe(true);
    gate.clean = false;
    leg.write(permit, "waits");
    expect(leg.idleSafe).toBe(false);
    gate.answer(true);
    expect(leg.idleSafe).toBe(true);
    const second = new Recording();
    leg.relisten(second);
    (await socket).end("unasked");
    await second.seen("ended");
    expect(second.text).toBe("unasked");
    expect(leg.idleSafe).toBe(false);
    expect(first.events).toEqual(["opened"]);
  });

  test("gives itself away as a stream that still waits for the records", async () => {
    const { port, socket } = await server();
    const gate = new Gate();
    const events = new Recording();
    const leg = connect(port, events, gate);
    await events.seen("opened");
    const stream = leg.stream();
    gate.clean = false;
    stream.write("recorded first");
    await new Promise(setImmediate);
    expect(leg.bytesOut).toBe(0);
    gate.answer(true);
    stream.end();
    const there = await socket;
    expect((await received(there)).toString()).toBe("recorded first");
    there.end("answer");
    let text = "";
    stream.on("data", (bytes: Buffer) => {
      text += bytes.toString();
    });
    await closed(stream as unknown as net.Socket);
    expect(text).toBe("answer");
  });
});

describe("the record of an operation", () => {
  test("is written before a byte of it is sent", async () => {
    const { port, socket } = await server();
    const gate = new Gate();
    const events = new Recording();
    const leg = connect(port, events, gate);
    await events.seen("opened");
    gate.clean = false;
    leg.write(permit, "head ");
    leg.write(permit, "body");
    leg.end();
    await new Promise(setImmediate);
    expect(leg.bytesOut).toBe(0);
    gate.answer(true);
    expect(leg.bytesOut).toBe(9);
    expect((await received(await socket)).toString()).toBe("head body");
  });

  test("that could not be written fails the leg, and nothing of the operation is sent", async () => {
    const { port, socket } = await server();
    const gate = new Gate();
    const events = new Recording();
    const leg = connect(port, events, gate);
    await events.seen("opened");
    gate.clean = false;
    leg.write(permit, "unrecorded");
    gate.answer(false);
    expect(events.events).toEqual(["opened"]);
    await events.seen("failed audit");
    leg.write(permit, "after");
    const there = await socket;
    const got: Buffer[] = [];
    there.on("data", (bytes: Buffer) => got.push(bytes));
    await closed(there.resume());
    expect(got).toEqual([]);
    expect(leg.bytesOut).toBe(0);
  });

  test("holds back bytes that the connection waits for, too", async () => {
    const { port, socket } = await server();
    const gate = new Gate();
    gate.clean = false;
    const events = new Recording();
    const leg = connect(port, events, gate);
    leg.write(permit, "early");
    await events.seen("opened");
    expect(leg.bytesOut).toBe(0);
    gate.answer(true);
    leg.end();
    expect((await received(await socket)).toString()).toBe("early");
  });

  test("bounds what waits for it", async () => {
    const { port, socket } = await server();
    const gate = new Gate();
    const events = new Recording();
    const leg = connect(port, events, gate);
    await events.seen("opened");
    gate.clean = false;
    expect(leg.write(permit, Buffer.alloc(65_536))).toBe(false);
    gate.answer(true);
    (await socket).resume();
    await events.seen("drained");
    leg.reset();
  });
});

describe("slow readers (N14)", () => {
  test("hold a bounded amount of memory each, however much is sent to them", async () => {
    const READERS = 40;
    const endless = await serve(
      net.createServer((socket) => {
        const piece = Buffer.alloc(262_144, 1);
        const more = (): void => {
          while (!socket.destroyed && socket.write(piece));
        };
        socket.on("error", () => {});
        socket.on("drain", more);
        more();
      }),
    );
    const door = await openDoor(transport);
    const before = process.memoryUsage().arrayBuffers;
    const stuck: Promise<void>[] = [];
    const clients: net.Socket[] = [];
    for (let i = 0; i < READERS; i++) {
      const client = net.connect(door.port, "127.0.0.1").pause();
      client.on("error", () => {});
      clients.push(client);
      const { leg } = await door.next();
      stuck.push(
        new Promise((resolve) => {
          let full = false;
          const events = new Recording();
          const upstream = connect(endless, {
            opened() {},
            data(chunk) {
              // Once the client's side is full, nothing more may come.
              if (full) throw new Error("read on while the other side was full");
              if (leg.forward(permit, chunk, 0, chunk.length)) return;
              full = true;
              upstream.pause();
              setImmediate(resolve);
            },
            drained() {},
            secured() {},
            ended() {},
            failed() {},
          });
          leg.listen(events);
        }),
      );
    }
    await Promise.all(stuck);
    const held = process.memoryUsage().arrayBuffers - before;
    // One buffer that waits, and one for the next read; the server's own share is in here too.
    expect(held / READERS).toBeLessThan(1_048_576);
    for (const client of clients) client.destroy();
  });
});
