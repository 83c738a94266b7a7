/** Whose right a record needs, where that is not its pod's namespace. */
import { expect, test } from "vitest";
import { type Collected, collecting, temporaryStore } from "../../test/support/collected.ts";
import { CONTROL_BOOT, recordAct } from "./act.ts";
import { createReadApi, type ReadAnswer } from "./read-api.ts";
import { ReadLog } from "./read-log.ts";
import type { ReadThread } from "./read-worker.ts";
import type { Readers } from "./readers.ts";

function asking(
  c: Collected,
  may: (namespace: string) => boolean,
): (path: string, body: object) => Promise<ReadAnswer> {
  const readers: Readers = {
    reader: () => Promise.resolve({ user: "ada", groups: [] }),
    may: (_reader, _verb, namespace) => Promise.resolve(may(namespace)),
  };
  const thread = { ask: ({ filter }: never) => c.store.find(filter) } as unknown as ReadThread;
  const read = createReadApi({ ...c, readers, thread, log: new ReadLog(c, () => undefined) });
  return (path, body) => read(path, "token", JSON.stringify(body));
}

test("who reads the namespace that the control plane lives in does not see acts, which are about all of them", async () => {
  const { store, remove } = temporaryStore();
  try {
    const c = await collecting(store);
    await recordAct(c, "freeze", { namespace: "bank", by: "grace" });
    const one = { boot: CONTROL_BOOT, seq: 1 };
    const every = { kinds: ["act"], limit: 10 };
    const theirs = asking(c, (namespace) => namespace === "sidegate");
    expect((await theirs("/v1/find", { ...every, namespaces: ["sidegate"] })).body).toEqual({ found: [] });
    expect((await theirs("/v1/find", every)).status).toBe(403);
    expect((await theirs("/v1/get", one)).status).toBe(404);
    const all = asking(c, () => true);
    expect((await all("/v1/get", one)).status).toBe(200);
    expect(JSON.stringify((await all("/v1/find", every)).body)).toContain(CONTROL_BOOT);
  } finally {
    await remove();
  }
});

test("an answer ends after some megabytes and says that there is more, which the next one has", async () => {
  const { store, remove } = temporaryStore();
  try {
    const c = await collecting(store);
    for (let n = 0; n < 20; n++) await recordAct(c, "big", { n, padding: "x".repeat(1024 * 1024) });
    const all = asking(c, () => true);
    const every = { kinds: ["act"], text: '"big"', limit: 100 };
    type Body = { readonly found: readonly { readonly index: number }[]; readonly more?: boolean };
    const first = (await all("/v1/find", every)).body as Body;
    expect([first.found.length, first.more]).toEqual([16, true]);
    const rest = (await all("/v1/find", { ...every, before: first.found.at(-1)?.index })).body as Body;
    expect([rest.found.length, rest.more]).toEqual([4, undefined]);
  } finally {
    await remove();
  }
});
