import { expect, test } from "vitest";
import { Rounds } from "./rounds.ts";

test("rounds that must be alone wait for each other, a fault of one ends none, and what waits at the end is left out", async () => {
  const faults: string[] = [];
  const done: string[] = [];
  const rounds = new Rounds((where) => void faults.push(where));
  const verified = Promise.withResolvers<void>();
  const began = Promise.withResolvers<void>();
  rounds.everyAlone(0, "verify", async () => {
    done.push("verify begins");
    began.resolve();
    await verified.promise;
    done.push("verify ends");
    throw new Error("it found no thread");
  });
  const retained = Promise.withResolvers<void>();
  rounds.everyAlone(0, "retention", async () => {
    done.push("retention");
    await Promise.resolve();
    retained.resolve();
  });
  rounds.soon("verify");
  rounds.soon("retention");
  await began.promise;
  rounds.soon("retention");
  expect(done).toEqual(["verify begins"]);
  verified.resolve();
  await retained.promise;
  expect(done).toEqual(["verify begins", "verify ends", "retention"]);
  expect(faults).toEqual(["verify"]);
  await rounds.close();
  rounds.soon("retention");
  await rounds.close();
  expect(done).toHaveLength(3);
});
