import { expect, test } from "vitest";
import { Turns } from "./turns.ts";

function setUp() {
  const room = { pressing: false };
  let interrupted = 0;
  const turns = new Turns({ pressing: () => room.pressing, interrupt: () => void interrupted++ });
  return { room, turns, interrupted: () => interrupted };
}

test("a verification goes on while there is room for it, and gives way as soon as there is not and retention waits", () => {
  const { room, turns, interrupted } = setUp();
  turns.verifies(true);
  turns.asked();
  turns.look();
  expect(interrupted()).toBe(0);
  room.pressing = true;
  turns.look();
  expect(interrupted()).toBe(1);
});

test("it does not give way to a retention that is not due, nor again to one that could remove nothing", () => {
  const { room, turns, interrupted } = setUp();
  room.pressing = true;
  turns.verifies(true);
  expect(interrupted()).toBe(0);
  turns.asked();
  expect(interrupted()).toBe(1);
  turns.verifies(false);
  turns.retained(0);
  turns.verifies(true);
  turns.asked();
  turns.look();
  expect(interrupted()).toBe(1);
  // There was room in between: what is needed now is another matter.
  room.pressing = false;
  turns.look();
  room.pressing = true;
  turns.look();
  expect(interrupted()).toBe(2);
});
