import net from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { closeDoors, Gate, makeTransport, permit, Recording, received, serve } from "../../../test/support/loopback.ts";

afterEach(closeDoors);

const transport = makeTransport();

describe("a connection to an upstream", () => {
  test("sends what was written before it was there, in order, and half-closes after it", async () => {
    let got: Promise<Buffer> | undefined;
    const port = await serve(
      net.createServer({ allowHalfOpen: true }, (socket) => {
        got = received(socket);
        void got.then(() => socket.end("bye"));
      }),
    );
    const events = new Recording();
    const leg = transport.connect({ address: "127.0.0.1", port, timeoutMs: 5_000, tls: null }, new Gate(), events);
    leg.write(permit, "one ");
    leg.write(permit, Buffer.from("two "));
    leg.write(permit, "three");
    leg.end();
    await events.seen("ended");
    expect((await got)?.toString()).toBe("one two three");
    expect(events.text).toBe("bye");
    expect(events.events).toEqual(["opened", "data", "ended"]);
    expect([leg.bytesIn, leg.bytesOut]).toEqual([3, 13]);
  });

  test("sends nothing before the records of the turn are written", async () => {
    const seen: string[] = [];
    const port = await serve(
      net.createServer((socket) => socket.on("data", (bytes) => seen.push(String(bytes))).on("error", () => {})),
    );
    const gate = new Gate();
    const events = new Recording();
    const leg = transport.connect({ address: "127.0.0.1", port, timeoutMs: 5_000, tls: null }, gate, events);
    await events.seen("opened");
    gate.clean = false;
    leg.write(permit, "early");
    await new Promise(setImmediate);
    expect(leg.bytesOut).toBe(0);
    gate.answer(true);
    expect(leg.bytesOut).toBe(5);
    leg.reset();
  });

  test("fails with `audit`, and sends nothing, when the records could not be written", async () => {
    const gate = new Gate();
    const got: Buffer[] = [];
    const port = await serve(
      net.createServer((socket) => socket.on("data", (bytes: Buffer) => got.push(bytes)).on("error", () => {})),
    );
    const events = new Recording();
    const leg = transport.connect({ address: "127.0.0.1", port, timeoutMs: 5_000, tls: null }, gate, events);
    await events.seen("opened");
    gate.clean = false;
    leg.write(permit, "unrecorded");
    gate.answer(false);
    await events.seen("failed audit");
    leg.write(permit, "after");
    await new Promise(setImmediate);
    expect(events.events).toEqual(["opened", "failed audit"]);
    expect(got).toEqual([]);
    expect(leg.bytesOut).toBe(0);
  });

  test.each([
    ["refused", "127.0.0.1", 1],
    ["unresolved", "billing.test", 80],
  ])("says %s", async (fault, address, port) => {
    const events = new Recording();
    transport.connect({ address, port, timeoutMs: 5_000, tls: null }, new Gate(), events);
    await events.seen(`failed ${fault}`);
    expect(events.events).toEqual([`failed ${fault}`]);
  });
});
