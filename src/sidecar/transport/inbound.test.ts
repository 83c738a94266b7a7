import net from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  bugs,
  closeDoors,
  closed,
  type Door,
  makeTransport,
  openDoor,
  pair,
  permit,
  Recording,
  received,
} from "../../../test/support/loopback.ts";
import type { Inbound } from "../seam/stages.ts";

let door: Door;
beforeEach(async () => {
  door = await openDoor(makeTransport({ lingerMs: 40 }));
});
afterEach(closeDoors);

const LIMITS = { maxBytes: 100, timeoutMs: 5_000 } as const;

/** The peek's head as text, and why it ended. */
function peek(
  leg: Inbound,
  enough: (head: Uint8Array) => boolean,
  limits: { readonly maxBytes: number; readonly timeoutMs: number } = LIMITS,
): Promise<[string, string]> {
  return new Promise((resolve) => {
    leg.peek(limits, enough, (head, why) => resolve([Buffer.from(head).toString(), why]));
  });
}

describe("an accepted connection", () => {
  test("hands the lane what the client sent, and the client what the lane wrote", async () => {
    const { client, leg } = await pair(door);
    const lane = new Recording();
    leg.listen(lane);
    client.end("hello");
    await lane.seen("ended");
    expect(lane.text).toBe("hello");
    const answer = received(client);
    leg.write("wor");
    leg.write(Buffer.from("ld"));
    leg.end();
    expect((await answer).toString()).toBe("world");
    expect(lane.events).toEqual(["opened", "data", "ended"]);
    expect([leg.bytesIn, leg.bytesOut]).toEqual([5, 5]);
  });

  test("passes every byte value as it is, also where it goes as a string", async () => {
    const { client, leg } = await pair(door);
    const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const lane = new Recording();
    leg.listen({ ...handlers(lane), data: (chunk) => void leg.forward(permit, chunk, 0, chunk.length) });
    client.write(all);
    const answer = received(client);
    client.end();
    await lane.seen("ended");
    leg.end();
    expect(await answer).toEqual(all);
  });

  test("goes on in one direction when the other has ended", async () => {
    const { client, leg } = await pair(door);
    const lane = new Recording();
    leg.listen(lane);
    const answer = received(client);
    leg.write("bye");
    leg.end();
    expect((await answer).toString()).toBe("bye");
    client.write("still ");
    client.end("here");
    await lane.seen("ended");
    expect(lane.text).toBe("still here");
  });

  test("is told to wait when the client does not read, and to go on when it does", async () => {
    const { client, leg } = await pair(door);
    client.pause();
    const lane = new Recording();
    leg.listen(lane);
    let written = 0;
    while (leg.write(Buffer.alloc(50_000, 7))) written += 50_000;
    written += 50_000;
    expect(lane.events).toEqual(["opened"]);
    const answer = received(client);
    client.resume();
    await lane.seen("drained");
    leg.end();
    expect((await answer).length).toBe(written);
    expect(leg.bytesOut).toBe(written);
  });

  test("is not read while its lane has paused it", async () => {
    const { client, leg } = await pair(door);
    const lane = new Recording();
    leg.listen(lane);
    client.write("one");
    await lane.seen("data");
    leg.pause();
    client.write("two");
    client.end();
    // The same loop serves another connection meanwhile: whatever was to come has come by then.
    await roundTrip();
    expect(lane.events).toEqual(["opened", "data"]);
    leg.resume();
    await lane.seen("ended");
    expect(lane.text).toBe("onetwo");
  });

  test("delivers all of 2 MB that were queued when it was ended (N7)", async () => {
    const { client, leg } = await pair(door);
    client.pause();
    leg.listen(new Recording());
    const sent = Buffer.alloc(2_000_000);
    for (let i = 0; i < sent.length; i++) sent[i] = i % 251;
    leg.write(sent);
    leg.end();
    client.end();
    const answer = received(client);
    client.resume();
    expect((await answer).equals(sent)).toBe(true);
    await closed(client);
  });

  test("hears of a reset once, and then nothing", async () => {
    const { client, leg } = await pair(door);
    const lane = new Recording();
    leg.listen(lane);
    const gone = new Promise<void>((resolve) => leg.onGone(resolve));
    client.resetAndDestroy();
    await gone;
    expect(lane.events).toEqual(["opened", "failed reset"]);
    expect(leg.write("too late")).toBe(true);
    leg.end();
    leg.reset();
    leg.pause();
    leg.resume();
    await roundTrip();
    expect(lane.events).toEqual(["opened", "failed reset"]);
    expect(leg.bytesOut).toBe(0);
  });

  test("that was reset by us says nothing more, and the client sees a reset", async () => {
    const { client, leg } = await pair(door);
    const lane = new Recording();
    leg.listen(lane);
    let code = "";
    client.on("error", (error: NodeJS.ErrnoException) => {
      code = error.code ?? "";
    });
    const left = closed(client);
    leg.write(Buffer.alloc(1_000_000));
    leg.reset();
    client.resume();
    await left;
    expect(code).toBe("ECONNRESET");
    expect(lane.events).toEqual(["opened"]);
  });

  test("tells once when everything of it is gone, also whom it tells late", async () => {
    const { client, leg } = await pair(door);
    const gone = new Promise<void>((resolve) => leg.onGone(resolve));
    const left = closed(client);
    leg.reset();
    await gone;
    await left;
    await new Promise<void>((resolve) => leg.onGone(resolve));
    expect(door.capture.connections).toBe(0);
  });

  test("is ended when its lane throws; the process and other connections go on", async () => {
    const { client, leg } = await pair(door);
    const lane = new Recording();
    leg.listen({
      ...handlers(lane),
      data: () => {
        throw new Error("a bug in the lane");
      },
    });
    client.write("x");
    await lane.seen("failed reset");
    expect(bugs.splice(0)).toHaveLength(1);
    await roundTrip();
  });

  test("loses a writer that never waits, instead of growing", async () => {
    const { client, leg } = await pair(door);
    client.pause();
    const lane = new Recording();
    leg.listen(lane);
    for (let i = 0; i < 40; i++) leg.write(Buffer.alloc(1_000_000));
    await lane.seen("failed reset");
  });

  test("is let go when it was ended and nothing moves any more", async () => {
    const { client, leg } = await pair(door);
    const lane = new Recording();
    leg.listen(lane);
    client.resume();
    leg.end();
    await lane.seen("failed timeout");
    expect(lane.events).toEqual(["opened", "failed timeout"]);
  });
});

test("a client that ended, and does not read what it asked for, is let go", async () => {
  const { client, leg } = await pair(door);
  client.pause();
  const lane = new Recording();
  leg.listen(lane);
  client.end("give me all");
  await lane.seen("ended");
  leg.write(Buffer.alloc(8_000_000));
  leg.end();
  await lane.seen("failed timeout");
});

describe("first bytes", () => {
  test("come before anything else, and once", async () => {
    const { client, leg } = await pair(door);
    client.write("GET ");
    const peeked = await peek(leg, (head) => {
      if (head.length === 4) client.write("/ HTTP/1.1");
      return head.length >= 14;
    });
    expect(peeked).toEqual(["GET / HTTP/1.1", "enough"]);
    const lane = new Recording();
    leg.listen(lane);
    expect(lane.text).toBe("GET / HTTP/1.1");
    client.end("\r\n");
    await lane.seen("ended");
    expect(lane.text).toBe("GET / HTTP/1.1\r\n");
  });

  test("may be looked at twice", async () => {
    const { client, leg } = await pair(door);
    client.write("hello");
    expect(await peek(leg, (head) => head.length > 0)).toEqual(["hello", "enough"]);
    expect(await peek(leg, (head) => head.length > 4)).toEqual(["hello", "enough"]);
  });

  test("may never be enough: the client ends, is silent, sends too much, or breaks", async () => {
    const ended = await pair(door);
    ended.client.end("he");
    expect(await peek(ended.leg, () => false)).toEqual(["he", "ended"]);
    const silent = await pair(door);
    expect(await peek(silent.leg, () => false, { maxBytes: 100, timeoutMs: 20 })).toEqual(["", "timeout"]);
    const endless = await pair(door);
    endless.client.write("x".repeat(200));
    expect((await peek(endless.leg, () => false))[1]).toBe("full");
    const broken = await pair(door);
    const failed = peek(broken.leg, () => false);
    broken.client.resetAndDestroy();
    expect(await failed).toEqual(["", "failed"]);
  });

  test("of a client that left before the lane came are followed by its end, or its failure", async () => {
    const ended = await pair(door);
    ended.client.end("bye");
    await peek(ended.leg, () => false);
    const first = new Recording();
    ended.leg.listen(first);
    expect(first.events).toEqual(["opened", "data", "ended"]);
    const broken = await pair(door);
    const failed = peek(broken.leg, () => false);
    broken.client.resetAndDestroy();
    await failed;
    const second = new Recording();
    broken.leg.listen(second);
    expect(second.events).toEqual([]);
    await second.seen("failed reset");
  });

  test("wait for a lane that is paused", async () => {
    const { client, leg } = await pair(door);
    client.end("held");
    await peek(leg, () => false);
    const lane = new Recording();
    leg.listen({ ...handlers(lane), opened: () => leg.pause() });
    expect(lane.events).toEqual([]);
    leg.resume();
    await lane.seen("ended");
    expect(lane.events).toEqual(["data", "ended"]);
  });

  test("are bounded while the pipeline thinks", async () => {
    const { client, leg } = await pair(door);
    client.on("error", () => {});
    client.write(Buffer.alloc(8_000_000));
    await peek(leg, (head) => head.length > 0);
    await roundTrip();
    expect(leg.bytesIn).toBeLessThan(400_000);
    leg.reset();
  });

  test("that the pipeline trips over cost their connection only", async () => {
    const { client, leg } = await pair(door);
    const left = closed(client);
    leg.peek(
      LIMITS,
      () => {
        throw new Error("a bug in a detector");
      },
      () => {},
    );
    client.write("x");
    await left;
    expect(bugs.splice(0)).toHaveLength(1);
    await roundTrip();
  });
});

describe("a leg given away as a stream", () => {
  test("is a duplex with what was read first, back-pressure and half-close", async () => {
    const { client, leg } = await pair(door);
    client.write("first ");
    await peek(leg, (head) => head.length > 0);
    const stream = leg.stream();
    const big = Buffer.alloc(1_000_000, 9);
    client.end(big);
    let length = 0;
    stream.on("data", (bytes: Buffer) => {
      length += bytes.length;
    });
    await new Promise((resolve) => stream.on("end", resolve));
    expect(length).toBe(6 + big.length);
    const answer = received(client);
    stream.end(big);
    expect((await answer).equals(big)).toBe(true);
  });

  test("breaks when the connection does, and breaks the connection when it is destroyed", async () => {
    const one = await pair(door);
    const stream = one.leg.stream();
    const broken = new Promise<Error>((resolve) => stream.on("error", resolve));
    one.client.resetAndDestroy();
    expect((await broken).message).toBe("connection failed: reset");
    const other = await pair(door);
    const left = closed(other.client);
    other.leg.stream().destroy();
    await left;
  });
});

/** A Recording as plain functions, to replace some of them. */
function handlers(lane: Recording): Pick<Recording, "opened" | "data" | "drained" | "secured" | "ended" | "failed"> {
  return {
    opened: () => lane.opened(),
    data: (chunk) => lane.data(chunk),
    drained: () => lane.drained(),
    secured: (tls) => lane.secured(tls),
    ended: () => lane.ended(),
    failed: (fault) => lane.failed(fault),
  };
}

/** Another connection through the same door, there and back. */
async function roundTrip(): Promise<void> {
  const client = net.connect({ port: door.port, host: "127.0.0.1", allowHalfOpen: true });
  const { leg } = await door.next();
  const lane = new Recording();
  leg.listen(lane);
  const answer = received(client);
  client.end("ping");
  await lane.seen("ended");
  leg.write(lane.text);
  leg.end();
  expect((await answer).toString()).toBe("ping");
}
