import { describe, expect, test } from "vitest";
import {
  type Credential,
  CredentialFault,
  type CredentialSource,
  type IssuedCredential,
} from "#contract/credential.ts";
import type { Target } from "#contract/target.ts";
import { Secret } from "#core/secret.ts";
import { FakeTime } from "../../../test/conformance/ports.ts";
import { createCredentials } from "./credentials.ts";

const BILLING: Target = { name: "billing", hosts: ["billing.test"], ports: [443], credential: "billing" };

type Found = Credential | CredentialFault | null;

class World {
  readonly time = new FakeTime();
  readonly asked: { resolve(issued: IssuedCredential): void; reject(fault: unknown): void; signal: AbortSignal }[] = [];
  readonly faults: string[] = [];
  readonly issued: Secret[] = [];
  changed: (name: string, target: string | null) => void = () => {};
  readonly room;

  constructor() {
    const source: CredentialSource = {
      fetch: (_name, signal) =>
        new Promise((resolve, reject) => {
          this.asked.push({ resolve, reject, signal });
        }),
      onChanged: (then) => {
        this.changed = then;
      },
      close() {},
    };
    this.room = createCredentials({
      source,
      clock: this.time,
      after: (ms, fire) => this.time.after(ms, fire),
      onFault: (name, fault) => this.faults.push(`${name} ${fault.why}`),
    });
  }

  /** The last question is answered. */
  async give(value: string, over: Partial<IssuedCredential> = {}): Promise<void> {
    await settle();
    const secret = new Secret(value);
    this.issued.push(secret);
    this.asked.at(-1)?.resolve({
      kind: "bearer",
      user: null,
      field: null,
      prefix: null,
      database: null,
      certificate: null,
      secret,
      expiresInMs: null,
      refreshInMs: 60_000,
      ...over,
    });
    await settle();
  }

  async fail(fault: unknown = new CredentialFault("unavailable", "no")): Promise<void> {
    await settle();
    this.asked.at(-1)?.reject(fault);
    await settle();
  }

  wait(): { readonly heard: Found[]; readonly cancel: () => void } {
    const heard: Found[] = [];
    const waiting = this.room.wait("billing", BILLING, (found) => heard.push(found));
    return { heard, cancel: () => waiting.cancel() };
  }

  async have(value: string, over: Partial<IssuedCredential> = {}): Promise<void> {
    this.room.find("billing", BILLING);
    await this.give(value, over);
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const told = (found: Found): string =>
  found === null ? "waits" : found instanceof CredentialFault ? found.why : found.reveal();

describe("a credential", () => {
  test("is fetched once for everybody who waits, and is at hand from then on", async () => {
    const w = new World();
    expect(told(w.room.find("billing", BILLING))).toBe("waits");
    const [one, other] = [w.wait(), w.wait()];
    await w.give("value-1");
    expect([one, other].map(({ heard }) => heard.map(told))).toEqual([["value-1"], ["value-1"]]);
    expect(told(w.room.find("billing", BILLING))).toBe("value-1");
    expect(w.asked).toHaveLength(1);
  });

  test("is asked for again in good time, and serves meanwhile", async () => {
    const w = new World();
    await w.have("value-1");
    w.time.pass(60_001);
    expect(told(w.room.find("billing", BILLING))).toBe("value-1");
    await w.give("value-2");
    expect(told(w.room.find("billing", BILLING))).toBe("value-2");
    expect(w.asked).toHaveLength(2);
  });

  test("is not used any more when it expires, and what needs it waits", async () => {
    const w = new World();
    await w.have("value-1", { expiresInMs: 100_000, refreshInMs: 1_000_000 });
    w.time.pass(99_000);
    expect(told(w.room.find("billing", BILLING))).toBe("waits");
    await w.give("expired", { expiresInMs: 1_000 });
    expect(told(w.room.find("billing", BILLING))).toBe("unavailable");
  });

  test("that changed where it comes from is waited for before its next use", async () => {
    const w = new World();
    await w.have("value-1");
    w.changed("billing", null);
    expect(told(w.room.find("billing", BILLING))).toBe("waits");
    await w.give("value-2");
    expect(told(w.room.find("billing", BILLING))).toBe("value-2");
    w.changed("somebody-else", null);
    expect(told(w.room.find("billing", BILLING))).toBe("value-2");
  });

  test("keeps its version while its value is the same, and gets another with another", async () => {
    const w = new World();
    const version = (): number => (w.room.find("billing", BILLING) as Credential).version;
    await w.have("value-1");
    const first = version();
    w.time.pass(60_001);
    w.room.find("billing", BILLING);
    await w.give("value-1");
    expect(version()).toBe(first);
    w.time.pass(60_001);
    w.room.find("billing", BILLING);
    await w.give("value-2");
    expect(version()).not.toBe(first);
  });

  test("is wiped when another took its place, a minute later, and all are at the end", async () => {
    const w = new World();
    await w.have("value-1");
    w.time.pass(60_001);
    w.room.find("billing", BILLING);
    await w.give("value-2");
    expect(w.issued.map((secret) => secret.wiped)).toEqual([false, false]);
    w.time.pass(60_001);
    expect(w.issued.map((secret) => secret.wiped)).toEqual([true, false]);
    w.room.close();
    expect(w.issued.map((secret) => secret.wiped)).toEqual([true, true]);
  });

  test("that comes after it was given up is wiped, too", async () => {
    const w = new World();
    w.room.find("billing", BILLING);
    await settle();
    w.time.pass(10_001);
    await w.give("late");
    expect(w.issued[0]?.wiped).toBe(true);
    expect(told(w.room.find("billing", BILLING))).toBe("unavailable");
    w.time.pass(501);
    expect(told(w.room.find("billing", BILLING))).toBe("waits");
  });
});

describe("one that cannot be had", () => {
  test("is a fault within the limit, also where the source says nothing", async () => {
    const w = new World();
    w.room.find("billing", BILLING);
    const { heard } = w.wait();
    await settle();
    w.time.pass(10_001);
    expect(heard.map(told)).toEqual(["unavailable"]);
    expect(w.asked[0]?.signal.aborted).toBe(true);
    expect(w.time.pending).toBe(0);
  });

  test("is asked for again after a pause that grows", async () => {
    const w = new World();
    const asks: number[] = [];
    for (let i = 0; i < 2_000; i++) {
      const before = w.asked.length;
      w.room.find("billing", BILLING);
      await settle();
      if (w.asked.length > before) {
        asks.push(w.time.now);
        await w.fail();
      }
      w.time.pass(100);
    }
    // 200 s: 0.5, 1, 2, 4, 8, 16, then 30 s apart
    expect(asks.length).toBeLessThan(14);
    expect(w.faults).toHaveLength(asks.length);
  });

  test("leaves the one before in use, unless the source says that there is none", async () => {
    const w = new World();
    await w.have("value-1");
    w.changed("billing", null);
    w.room.find("billing", BILLING);
    await w.fail(new Error("unreachable"));
    expect(told(w.room.find("billing", BILLING))).toBe("value-1");
    w.changed("billing", null);
    w.room.find("billing", BILLING);
    await w.fail(new CredentialFault("unknown", "revoked"));
    expect(told(w.room.find("billing", BILLING))).toBe("unknown");
    w.time.pass(60_001);
    expect(w.issued[0]?.wiped).toBe(true);
  });

  test("is waited for no longer when whoever waits is gone", async () => {
    const w = new World();
    w.room.find("billing", BILLING);
    const { heard, cancel } = w.wait();
    cancel();
    await w.give("value-1");
    expect(heard).toEqual([]);
  });

  test("makes room for the next when very many are named, and keeps what somebody waits for", async () => {
    const w = new World();
    w.wait();
    await settle();
    for (let i = 0; i < 2_000; i++) w.room.find(`name-${i}`, { ...BILLING, name: `t-${i}` });
    await settle();
    const given = w.asked.filter(({ signal }) => signal.aborted).length;
    expect([w.asked.length, given]).toEqual([2_001, 2_001 - 256]);
    expect(w.asked[0]?.signal.aborted).toBe(false);
  });

  test("that is used all the time does not make room, and whose does is wiped a minute later", async () => {
    const w = new World();
    await w.have("value-1");
    const rare = { ...BILLING, name: "rare" };
    w.room.find("billing", rare);
    await w.give("value-2");
    for (let i = 0; i < 255; i++) {
      expect(told(w.room.find("billing", BILLING))).toBe("value-1");
      w.room.find(`name-${i}`, { ...BILLING, name: `t-${i}` });
    }
    expect(told(w.room.find("billing", BILLING))).toBe("value-1");
    expect(told(w.room.find("billing", rare))).toBe("waits");
    // A login that began before may still need it.
    expect(w.issued.map((secret) => secret.wiped)).toEqual([false, false]);
    w.time.pass(60_001);
    expect(w.issued.map((secret) => secret.wiped)).toEqual([false, true]);
  });
});

describe("one that an upstream refused", () => {
  test("is asked for anew, and is null where the value is still the same", async () => {
    const w = new World();
    await w.have("value-1");
    const bad = w.room.find("billing", BILLING) as Credential;
    const heard: Found[] = [];
    w.time.pass(11_000);
    w.room.renew(bad, (found) => heard.push(found));
    await w.give("value-2");
    w.time.pass(11_000);
    w.room.renew(w.room.find("billing", BILLING) as Credential, (found) => heard.push(found));
    await w.give("value-2");
    expect(heard.map(told)).toEqual(["value-2", "waits"]);
  });

  test("is not asked for each time: an upstream that refuses everything must not make us hammer the source", async () => {
    const w = new World();
    await w.have("value-1");
    const heard: Found[] = [];
    w.room.renew(w.room.find("billing", BILLING) as Credential, (found) => heard.push(found));
    expect(heard).toEqual([]);
    await settle();
    expect(heard).toEqual([null]);
    expect(w.asked).toHaveLength(1);
  });

  test("is the new one at once where somebody else has found out already", async () => {
    const w = new World();
    await w.have("value-1");
    const bad = w.room.find("billing", BILLING) as Credential;
    w.changed("billing", null);
    w.room.find("billing", BILLING);
    await w.give("value-2");
    const heard: Found[] = [];
    w.room.renew(bad, (found) => heard.push(found));
    await settle();
    expect(heard.map(told)).toEqual(["value-2"]);
  });
});

describe("a credential is one target's", () => {
  test("another target that names the same one is asked for by itself, and never gets what the first was given", async () => {
    const w = new World();
    await w.have("for-billing");
    const other: Target = { ...BILLING, name: "elsewhere", hosts: ["attacker.test"] };
    expect(w.room.find("billing", other)).toBeNull();
    await w.fail(new CredentialFault("unknown", "not for this target"));
    expect(told(w.room.find("billing", other))).toBe("unknown");
    expect(told(w.room.find("billing", BILLING))).toContain("for-billing");
  });

  test("the same target pointed elsewhere is another one: what was at hand is not put in", async () => {
    const w = new World();
    const before: Target = { ...BILLING, binding: "b1" };
    w.room.find("billing", before);
    await w.give("for-billing");
    expect(told(w.room.find("billing", before))).toContain("for-billing");
    expect(w.room.find("billing", { ...BILLING, hosts: ["attacker.test"], binding: "b2" })).toBeNull();
    // The same in a new bundle is the same.
    expect(told(w.room.find("billing", { ...before }))).toContain("for-billing");
  });

  test("its value is wiped when its time is over, also when nobody asks again", async () => {
    const w = new World();
    await w.have("short", { expiresInMs: 10_000 });
    w.time.pass(10_000);
    w.time.pass(60_000);
    expect(w.issued[0]?.wiped).toBe(true);
  });

  test("what has changed for one target is asked for again for that one only", async () => {
    const w = new World();
    const other: Target = { ...BILLING, name: "other" };
    await w.have("one");
    w.room.find("billing", other);
    await w.give("two");
    w.changed("billing", "other");
    expect(told(w.room.find("billing", BILLING))).toContain("one");
    expect(w.room.find("billing", other)).toBeNull();
  });
});
