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
