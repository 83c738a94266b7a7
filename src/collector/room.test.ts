import { expect, test } from "vitest";
import { testClock } from "../../test/support/record.ts";
import { Room } from "./room.ts";
import type { RecordStore } from "./store/port.ts";

const MIB = 1024 * 1024;

function room(maxBytes: number) {
  const clock = testClock();
  const disk = { bytes: 0, fileBytes: 0, available: 100 * MIB };
  const store = { usage: () => Promise.resolve(disk) } as unknown as RecordStore;
  return {
    clock,
    disk,
    room: new Room({ store, database: "/d/audit.db", maxBytes, clock, available: () => disk.available }),
  };
}

test("is full before the volume is: acts and what retention writes still find room", async () => {
  const { room: it, disk } = room(0);
  disk.bytes = disk.fileBytes = 90 * MIB;
  disk.available = 10 * MIB;
  expect(await it.measure()).toMatchObject({ full: false, limitBytes: 100 * MIB });
  disk.bytes = disk.fileBytes = 98.5 * MIB;
  disk.available = 1.5 * MIB;
  expect(await it.measure()).toMatchObject({ full: true, secondsLeft: 0 });
  // Free pages of the file are room: what retention removed counts at once.
  disk.bytes = 50 * MIB;
  expect(await it.measure()).toMatchObject({ full: false });
});

test("a configured bound counts where the volume is larger", async () => {
  const { room: it, disk } = room(10 * MIB);
  disk.bytes = disk.fileBytes = 9 * MIB;
  expect(await it.measure()).toMatchObject({ full: true, limitBytes: 10 * MIB });
});

test("tells how long the room lasts at the rate of the last hour", async () => {
  const { room: it, disk, clock } = room(102 * MIB);
  disk.available = 1_000 * MIB;
  expect((await it.measure()).secondsLeft).toBe(Number.POSITIVE_INFINITY);
  for (let minute = 0; minute < 90; minute++) {
    clock.now += 60_000;
    disk.bytes = disk.fileBytes = minute < 30 ? 0 : (minute - 29) * MIB;
    await it.measure();
  }
  // The quiet first half hour is forgotten: 60 MiB in an hour, some 40 MiB left.
  expect(it.state.secondsLeft / 60).toBeGreaterThan(35);
  expect(it.state.secondsLeft / 60).toBeLessThan(45);
});
