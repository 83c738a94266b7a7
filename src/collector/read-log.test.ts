import { expect, test } from "vitest";
import { FakeTime } from "../../test/conformance/ports.ts";
import { collecting, temporaryStore } from "../../test/support/collected.ts";
import { ReadLog } from "./read-log.ts";

test("how often a question was repeated is on record soon after its minute, not only when somebody asks it again or we end", async () => {
  const { store, remove } = temporaryStore();
  try {
    const clock = new FakeTime();
    const c = { ...(await collecting(store)), clock };
    const acts = async (): Promise<string[]> =>
      (await store.find({ kinds: ["act"], text: '"read"', limit: 10 }))
        .map(({ core }) => Buffer.from(core).toString())
        .sort();
    const log = new ReadLog(c, () => undefined);
    const reading = { by: "ada", namespace: "team", what: "find", members: {} };
    for (let n = 0; n < 3; n++) await log.record(reading);
    await log.tellRepeats();
    expect(await acts()).toHaveLength(1);
    clock.pass(60_000);
    await log.tellRepeats();
    expect((await acts()).join()).toContain('"repeats":2');
    await log.tellRepeats();
    await log.close();
    expect(await acts()).toHaveLength(2);
  } finally {
    await remove();
  }
});

test("THREATS E8: whoever reads one namespace cannot fill the store with questions, nor keep another's readers out", async () => {
  const { store, remove } = temporaryStore();
  try {
    const clock = new FakeTime();
    const log = new ReadLog({ ...(await collecting(store)), clock }, () => undefined);
    const ask = (namespace: string, text: string): Promise<void> =>
      log.record({ by: "ada", namespace, what: "find", members: { filter: { text } } });
    const long = "x".repeat(200_000);
    for (let n = 0; n < 5; n++) await ask("team", `${n}${long}`);
    await expect(ask("team", `5${long}`)).rejects.toMatchObject({ code: "busy" });
    await ask("bank", "x");
    // The same again costs nothing, and room comes back.
    await ask("team", `0${long}`);
    clock.pass(3_600_000);
    await ask("team", `5${long}`);
  } finally {
    await remove();
  }
});
