/** One suite for every store of the collector: SQLite now, PostgreSQL later. A store passes it or is not one. */
import { randomBytes } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { Peaks } from "../../src/collector/merkle.ts";
import type { Append, BootRow, RecordRow, RecordStore } from "../../src/collector/store/port.ts";
import { newSigner } from "../support/collected.ts";

export interface StoreMaker {
  readonly name: string;
  /** An empty store; `again` opens the same one once more, as another process would. */
  readonly make: () => Promise<{
    readonly store: RecordStore;
    readonly again: () => Promise<RecordStore>;
    readonly remove: () => void;
  }>;
}

const signer = newSigner();

function record(boot: string, seq: number, over: Partial<RecordRow> = {}): RecordRow {
  const core = Buffer.from(JSON.stringify({ seq, t: 1_000 + seq, k: "op" }));
  return {
    boot,
    seq,
    t: 1_000 + seq,
    kind: "op",
    session: null,
    op: null,
    verdict: "allow",
    protocol: "http",
    target: "billing",
    host: "billing.example",
    code: "",
    run: null,
    core,
    leaf: randomBytes(32),
    ...over,
  };
}

function bootRow(boot: string, lastSeq: number, over: Partial<BootRow> = {}): BootRow {
  return {
    boot,
    subject: "s",
    pod: "team/agent-1",
    firstAt: 1,
    seenAt: 1,
    lastSeq,
    chain: `c${lastSeq}`,
    stopped: false,
    cluster: "",
    baseSeq: 0,
    baseChain: "",
    ...over,
  };
}

async function change(store: RecordStore, records: readonly RecordRow[], over: Partial<Append> = {}): Promise<Append> {
  const log = await store.log();
  const tree = new Peaks(log.size, log.peaks);
  for (const r of records) tree.append(r.leaf);
  const boot = records[0]?.boot ?? "aaaaaaaaaaaa";
  const last = records.at(-1)?.seq ?? 0;
  return {
    from: { logSize: log.size, bootSeq: (await store.boot(boot))?.lastSeq ?? 0 },
    boot: bootRow(boot, last),
    records,
    details: [],
    commits: [{ boot, lastSeq: last, hash: `h${last}` }],
    erase: [],
    log: { size: tree.size, peaks: tree.toBlob() },
    checkpoint: signer.sign(tree.size, tree.root(), 5_000 + tree.size),
    ...over,
  };
}

export function recordStoreConformance({ name, make }: StoreMaker): void {
  describe(`the ${name} store`, () => {
    const made: (() => void)[] = [];
    const open: RecordStore[] = [];
    afterEach(async () => {
      for (const store of open.splice(0)) await store.close();
      for (const remove of made.splice(0)) remove();
    });
    async function fresh(): Promise<{ store: RecordStore; again: () => Promise<RecordStore> }> {
      const { store, again, remove } = await make();
      open.push(store);
      made.push(remove);
      return {
        store,
        again: async () => {
          const other = await again();
          open.push(other);
          return other;
        },
      };
    }
    const A = "aaaaaaaaaaaa";
    const B = "bbbbbbbbbbbb";

    test("is empty at first", async () => {
      const { store } = await fresh();
      expect(await store.log()).toMatchObject({ size: 0 });
      expect(await store.boot(A)).toBe(null);
      expect(await store.find({ limit: 10 })).toEqual([]);
      expect(await store.publicKey()).toBe(null);
      expect(await store.checkpoints()).toEqual([]);
    });

    test("gives back byte for byte what it took, also to another process", async () => {
      const { store, again } = await fresh();
      const odd = Buffer.from([0xff, 0x00, 0x41, 0xc3, 0x28]);
      const records = [
        record(A, 1),
        record(A, 2, { core: odd, kind: "malformed" }),
        record(A, 3, { core: Buffer.from('{"ä":"\u2028😀"}') }),
      ];
      const detail = { boot: A, seq: 3, salt: "s", text: '{"p":"ü"}' };
      expect(await store.append(await change(store, records, { details: [detail] }))).toBe(true);
      const other = await again();
      const rows = await other.scan(0, 10);
      expect(rows.map((r) => r.index)).toEqual([0, 1, 2]);
      for (const [i, row] of rows.entries()) {
        expect(Buffer.from(row.row.core).equals(Buffer.from(records[i]?.core ?? []))).toBe(true);
        expect(row.row).toEqual({ ...records[i], core: row.row.core });
      }
      expect(rows[2]?.detail).toEqual({ salt: "s", text: '{"p":"ü"}' });
      expect(await other.boot(A)).toEqual(bootRow(A, 3));
      expect(await other.commits(A)).toEqual([{ boot: A, lastSeq: 3, hash: "h3" }]);
      expect((await other.log()).size).toBe(3);
    });

    test("stores nothing where its state is not the one that was computed from", async () => {
      const { store, again } = await fresh();
      const other = await again();
      const mine = await change(store, [record(A, 1)]);
      const theirs = await change(other, [record(B, 1)]);
      expect(await store.append(mine)).toBe(true);
      expect(await other.append(theirs)).toBe(false);
      expect(await store.append(mine)).toBe(false);
      expect(await other.append(await change(other, [record(B, 1)]))).toBe(true);
      expect((await store.boots()).map((b) => b.boot)).toEqual([A, B]);
      expect((await store.log()).size).toBe(2);
    });

    test("an append that fails half-way leaves nothing", async () => {
      const { store } = await fresh();
      await store.append(await change(store, [record(A, 1)]));
      const twice = await change(store, [record(A, 2), record(A, 2)]);
      await expect(store.append(twice)).rejects.toThrow(/UNIQUE|unique/);
      expect((await store.log()).size).toBe(1);
      expect((await store.boot(A))?.lastSeq).toBe(1);
      expect(await store.append(await change(store, [record(A, 2)]))).toBe(true);
    });

    test("finds by each filter, newest first, and never more than asked", async () => {
      const { store } = await fresh();
      await store.append(
        await change(
          store,
          [
            record(A, 1, { kind: "boot", verdict: null }),
            record(A, 2, { verdict: "deny", code: "not_allowed", target: "crm", host: "crm.example" }),
            record(A, 3, { protocol: "dns", run: "run-1" }),
            record(A, 4),
          ],
          { details: [{ boot: A, seq: 4, salt: "s", text: '{"path":"/50%_off\\\\x"}' }] },
        ),
      );
      await store.append(await change(store, [record(B, 1)], { boot: bootRow(B, 1, { pod: "other/agent-2" }) }));
      const ids = async (filter: object): Promise<string[]> =>
        (await store.find({ limit: 100, ...filter })).map((f) => `${f.boot[0]}${f.seq}`);
      expect(await ids({})).toEqual(["b1", "a4", "a3", "a2"]);
      expect(await ids({ limit: 2 })).toEqual(["b1", "a4"]);
      expect(await ids({ kinds: ["boot"] })).toEqual(["a1"]);
      expect(await ids({ verdict: "deny" })).toEqual(["a2"]);
      expect(await ids({ code: "not_allowed" })).toEqual(["a2"]);
      expect(await ids({ target: "crm" })).toEqual(["a2"]);
      expect(await ids({ host: "CRM.example" })).toEqual(["a2"]);
      expect(await ids({ protocol: "dns" })).toEqual(["a3"]);
      expect(await ids({ run: "run-1" })).toEqual(["a3"]);
      expect(await ids({ run: B })).toEqual(["b1"]);
      expect(await ids({ boot: B })).toEqual(["b1"]);
      expect(await ids({ pod: "agent-2" })).toEqual(["b1"]);
      expect(await ids({ pod: "team/agent-1" })).toEqual(["a4", "a3", "a2"]);
      expect(await ids({ pod: "%" })).toEqual([]);
      expect(await ids({ text: "50%_OFF" })).toEqual(["a4"]);
      expect(await ids({ text: "50%xoff" })).toEqual([]);
      expect(await ids({ text: "'; DROP TABLE records; --" })).toEqual([]);
      expect(await ids({ sinceMs: 1_003, untilMs: 1_004 })).toEqual(["a3"]);
      expect(await ids({ after: 1 })).toEqual(["a3", "a4", "b1"]);
    });

    test("puts an operation, its session, its end and its repeats together", async () => {
      const { store } = await fresh();
      const core = (text: string): Buffer => Buffer.from(text);
      await store.append(
        await change(store, [
          record(A, 1, { kind: "session", core: core('{"session":1}') }),
          record(A, 2, { session: 1 }),
          record(A, 3, { kind: "end", op: 2, core: core('{"end":1}') }),
          record(A, 4, { kind: "fold", op: 2, core: core('{"count":3}') }),
          record(A, 5, { kind: "fold", op: 2, core: core('{"count":4}') }),
          record(A, 6, { kind: "fold", op: 2, core: core('{"count":"x') }),
        ]),
      );
      const found = await store.get(A, 2);
      expect(found?.folded).toBe(7);
      expect(Buffer.from(found?.end ?? []).toString()).toBe('{"end":1}');
      expect(Buffer.from(found?.sessionCore ?? []).toString()).toBe('{"session":1}');
      expect(await store.get(A, 7)).toBe(null);
      expect(await store.get(B, 2)).toBe(null);
    });

    test("erases a detail and remembers that it did", async () => {
      const { store } = await fresh();
      const details = [1, 2].map((seq) => ({ boot: A, seq, salt: "salty", text: `{"secret":"planted-${seq}"}` }));
      await store.append(await change(store, [record(A, 1), record(A, 2)], { details }));
      await store.append(await change(store, [record(B, 1)], { erase: [{ boot: A, seq: 2 }] }));
      expect(await store.get(A, 1)).toMatchObject({ erased: false, detail: { salt: "salty" } });
      expect(await store.get(A, 2)).toMatchObject({ erased: true, detail: null });
      expect(await store.find({ text: "planted", limit: 9 })).toHaveLength(1);
    });

    test("keeps one checkpoint a minute, and always the newest", async () => {
      const { store } = await fresh();
      for (let seq = 1; seq <= 6; seq++) {
        const next = await change(store, [record(A, seq)]);
        const tree = new Peaks(next.log.size, next.log.peaks);
        await store.append({ ...next, checkpoint: signer.sign(tree.size, tree.root(), seq * 25_000) });
      }
      expect((await store.checkpoints()).map((c) => c.size)).toEqual([1, 4, 6]);
    });

    test("reads one state, while another process appends", async () => {
      const { store, again } = await fresh();
      await store.append(await change(store, [record(A, 1)]));
      const reader = await again();
      await reader.consistent(async () => {
        expect((await reader.log()).size).toBe(1);
        expect(await store.append(await change(store, [record(A, 2)]))).toBe(true);
        expect((await reader.log()).size).toBe(1);
        expect(await reader.scan(0, 10)).toHaveLength(1);
        expect((await reader.boot(A))?.lastSeq).toBe(1);
      });
      expect((await reader.log()).size).toBe(2);
    });

    test("notes a sign of life, and keeps the first public key", async () => {
      const { store } = await fresh();
      await store.append(await change(store, [record(A, 1)]));
      await store.seen(A, 99);
      expect((await store.boot(A))?.seenAt).toBe(99);
      await store.setPublicKey("one");
      await store.setPublicKey("two");
      expect(await store.publicKey()).toBe("one");
    });
  });
}
