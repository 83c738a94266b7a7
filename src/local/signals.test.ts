import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Signal } from "./protocol.ts";
import { SignalLedger } from "./signals.ts";

describe("what of a signal is passed on", () => {
  const passed: Signal[] = [];
  let ledger = new SignalLedger(() => undefined);

  beforeEach(() => {
    vi.useFakeTimers();
    passed.length = 0;
    ledger = new SignalLedger((signal) => void passed.push(signal));
  });
  afterEach(() => void vi.useRealTimers());

  test("a kill of the command line is", () => {
    ledger.told("SIGINT", 1);
    vi.runAllTimers();
    expect(passed).toEqual(["SIGINT"]);
  });

  test.each(["before", "after"])("a key on the terminal is not, when the keeper saw it %s it was told", (when) => {
    if (when === "before") ledger.saw("SIGINT");
    ledger.told("SIGINT", 1);
    if (when === "after") ledger.saw("SIGINT");
    vi.runAllTimers();
    expect(passed).toEqual([]);
  });

  test("keys and kills in any order: only the kills", () => {
    ledger.saw("SIGINT");
    ledger.told("SIGINT", 1);
    ledger.told("SIGINT", 2);
    ledger.told("SIGTERM", 1);
    ledger.saw("SIGINT");
    ledger.told("SIGINT", 3);
    vi.runAllTimers();
    expect(passed).toEqual(["SIGTERM", "SIGINT"]);
  });

  test("stop and continue always are: twice does no harm", () => {
    ledger.told("SIGTSTP", 0);
    ledger.told("SIGCONT", 0);
    expect(passed).toEqual(["SIGTSTP", "SIGCONT"]);
  });
});
