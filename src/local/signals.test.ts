import { expect, test } from "vitest";
import { goesToGroup } from "./signals.ts";

test("what a key makes goes to the whole group, what only a kill makes to the command", () => {
  expect((["SIGINT", "SIGQUIT", "SIGHUP", "SIGTSTP", "SIGWINCH"] as const).map(goesToGroup)).toEqual(
    Array(5).fill(true),
  );
  expect((["SIGTERM", "SIGUSR2"] as const).map(goesToGroup)).toEqual([false, false]);
});
