import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  closeDoors,
  closed,
  type Door,
  makeTransport,
  openDoor,
  pair,
  Recording,
  received,
} from "../../../test/support/loopback.ts";

let door: Door;
beforeEach(async () => {
  door = await openDoor(makeTransport());
});
afterEach(closeDoors);

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

  test("gives the lane the bytes that were peeked, before anything else and once", async () => {
    const { client, leg } = await pair(door);
    client.write("GET ");
    await new Promise<void>((resolve) => {
      leg.peek(
        { maxBytes: 100, timeoutMs: 5_000 },
        (head) => {
          if (head.length === 4) client.write("/ HTTP/1.1");
          return head.length >= 14;
        },
        (head, why) => {
          expect([Buffer.from(head).toString(), why]).toEqual(["GET / HTTP/1.1", "enough"]);
          resolve();
        },
      );
    });
    const lane = new Recording();
    leg.listen(lane);
    expect(lane.text).toBe("GET / HTTP/1.1");
    client.end("\r\n");
    await lane.seen("ended");
    expect(lane.text).toBe("GET / HTTP/1.1\r\n");
  });

  test("tells once when everything of it is gone", async () => {
    const { client, leg } = await pair(door);
    const gone = new Promise<void>((resolve) => leg.onGone(resolve));
    const left = closed(client);
    leg.reset();
    await gone;
    await left;
    expect(door.capture.connections).toBe(0);
  });
});
