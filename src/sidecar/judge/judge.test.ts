import { expect, test } from "vitest";
import { CredentialFault } from "#contract/credential.ts";
import type { Decision } from "#contract/decision.ts";
import type { LoadedPolicy } from "#contract/policy-port.ts";
import type { EndEntry, OpEntry, Recorder } from "#contract/record.ts";
import type { Target } from "#contract/target.ts";
import type { Credentials } from "#sidecar/seam/credentials.ts";
import type { Operation, Waiter } from "#sidecar/seam/verdict.ts";
import { createJudges } from "./judge.ts";

const target: Target = { name: "billing", hosts: ["billing.example"], ports: [443] };
const ALLOW: Decision = {
  effect: "allow",
  code: "",
  message: "",
  advice: "",
  policies: ["p"],
  rule: null,
  deny: [],
  hold: [],
  mask: [],
  credential: null,
  would: null,
  quiet: false,
  text: '"policies":["p"]',
};
const DENY: Decision = {
  ...ALLOW,
  effect: "deny",
  code: "no_writes",
  message: "Only reads.",
  policies: ["p"],
  text: '"code":"no_writes"',
};
const waiter: Waiter<"ask"> & Waiter<"answer"> & Waiter<"connect"> = { settled() {} };

function operation(over: Partial<Operation> = {}): Operation {
  return {
    protocol: "http",
    action: "read",
    phase: "ask",
    parent: null,
    complete: true,
    run: null,
    traceparent: null,
    facts: '"http":{"method":"GET"}',
    detail: "",
    body: null,
    ...over,
  };
}

const NONE: Credentials = {
  limitMs: 10_000,
  find: () => new CredentialFault("unknown", "there are none"),
  wait: () => {
    throw new Error("nothing to wait for");
  },
  renew: () => {
    throw new Error("nothing to renew");
  },
};

function bench(
  decide: (input: string) => Decision = () => ALLOW,
  over: {
    refuses?: Recorder["refuses"];
    loaded?: null;
    terse?: boolean;
    credentials?: Credentials;
    reads?: LoadedPolicy["profile"]["reads"];
  } = {},
) {
  const ops: OpEntry[] = [];
  const ends: EndEntry[] = [];
  const notes: string[] = [];
  const inputs: string[] = [];
  let seq = 0;
  const recorder: Recorder = {
    boot: "b00t",
    gate: { clean: true, committed: (then) => then(true) },
    refuses: over.refuses ?? (() => null),
    session: () => ++seq,
    op: (entry) => {
      ops.push(entry);
      return ++seq;
    },
    end: (entry) => void ends.push(entry),
    closed() {},
    fold() {},
    stored: (_seq, then) => then(true),
    note: (kind) => {
      notes.push(kind);
      return ++seq;
    },
    stop: async () => {},
  };
  const loaded: LoadedPolicy = {
    revision: "r1",
    sequence: 1,
    profile: { revision: "r1", reads: over.reads ?? (() => false), mayHold: false, mayMask: false },
    targets: [target],
    settings: { mode: "enforce", denialDetail: over.terse === true ? "code" : "full" },
    decide: (input) => {
      inputs.push(input);
      return decide(input);
    },
  };
  let now = 0;
  const holder: { current: LoadedPolicy | null; onChange(): void } = {
    current: over.loaded === null ? null : loaded,
    onChange() {},
  };
  const judges = createJudges({
    holder,
    recorder,
    clock: { wallMs: () => 1_000, elapsedMs: () => now++ },
    run: { id: "run-1", user: "ada", intent: "", verified: true },
    credentials: over.credentials ?? NONE,
  });
  const judge = judges.open(
    { client: "c", destination: "d", target: "billing", host: "billing.example", port: 443 },
    { host: "billing.example", port: 443, target },
  );
  return { judge, ops, ends, notes, inputs, holder, loaded };
}

test("the same request again is not decided again, and is on record each time", () => {
  const { judge, ops, inputs } = bench();
  const same = operation();
  const seqs = [1, 2, 3].map(() => judge.ask(same, waiter)).map((v) => (v.kind === "permit" ? v.seq : 0));
  expect(new Set(seqs).size).toBe(3);
  expect(ops).toHaveLength(3);
  expect(inputs).toHaveLength(1);
  expect(judge.ask(operation({ facts: '"http":{"method":"PUT"}' }), waiter).kind).toBe("permit");
  expect(inputs).toHaveLength(2);
});

test("what differs in its detail only is decided once, and each is on record with its own", () => {
  const { judge, ops, inputs } = bench();
  for (const detail of ['"n":1', '"n":2', '"n":2', '"n":3']) {
    const verdict = judge.ask(operation({ detail }), waiter);
    if (verdict.kind !== "permit") throw new Error(verdict.kind);
    judge.finish(verdict, { status: "200", masked: 0, attempts: 1 });
  }
  expect(inputs).toHaveLength(1);
  expect(ops.map((op) => op.detail)).toEqual(['"n":1', '"n":2', '"n":2', '"n":3']);
  expect(new Set(ops.map((op) => op.like)).size).toBe(2);
  for (const other of [
    { facts: '"http":{"method":"PUT"}' },
    { action: "write" },
    { complete: false },
    { body: "ab" },
    { traceparent: "00-x" },
  ] as const) {
    const before = ops.length;
    judge.ask(operation(other), waiter);
    expect(ops[before]?.like, JSON.stringify(other)).toBe(undefined);
  }
});

test("the same request again is decided again on another bundle", () => {
  const { judge, holder, loaded, inputs } = bench();
  const same = operation();
  expect(judge.ask(same, waiter).kind).toBe("permit");
  holder.current = { ...loaded, revision: "r2", decide: () => DENY };
  expect(judge.ask(same, waiter)).toMatchObject({ kind: "refusal", revision: "r2" });
  holder.current = null;
  expect(judge.ask(same, waiter)).toMatchObject({ code: "no_bundle" });
  expect(inputs).toHaveLength(1);
});

test("E9: where the policy reads the time, the same request is decided each time", () => {
  let allow = true;
  const { judge } = bench(() => (allow ? ALLOW : DENY), { reads: (path) => path === "time" });
  const same = operation();
  expect(judge.ask(same, waiter).kind).toBe("permit");
  allow = false;
  expect(judge.ask(same, waiter).kind).toBe("refusal");
});

test("what was allowed as an ask is no allowed answer", () => {
  const { judge, inputs } = bench();
  const same = operation();
  judge.ask(same, waiter);
  judge.answer(same, waiter);
  expect(inputs).toHaveLength(2);
});

test("a full record refuses the same request that was allowed before", () => {
  let full = false;
  const { judge, inputs } = bench(() => ALLOW, { refuses: () => (full ? "audit_full" : null) });
  const same = operation();
  expect(judge.ask(same, waiter).kind).toBe("permit");
  full = true;
  expect(judge.ask(same, waiter)).toMatchObject({ code: "audit_full" });
  expect(inputs).toHaveLength(1);
});

test("an allowed operation is on record before its permit exists, and its end follows once", () => {
  const { judge, ops, ends, inputs } = bench();
  const verdict = judge.ask(operation(), waiter);
  if (verdict.kind !== "permit") throw new Error(verdict.kind);
  expect(ops).toHaveLength(1);
  expect(ops[0]).toMatchObject({ verdict: "allow", revision: "r1", phase: "ask" });
  expect(JSON.parse(`{${inputs[0]}}`)).toMatchObject({
    v: 1,
    protocol: "http",
    action: "read",
    complete: true,
    target: { name: "billing", host: "billing.example", port: 443 },
    run: { id: "run-1", verified: true },
    http: { method: "GET" },
  });
  judge.finish(verdict, { status: "200", masked: 0, attempts: 1 });
  expect(ends).toMatchObject([{ op: verdict.seq, status: "200" }]);
  expect(() => judge.finish(verdict, { status: "200", masked: 0, attempts: 1 })).toThrow("finished twice");
});

test("a policy's denial carries its own code and message, and the record's id", () => {
  const { judge, ops } = bench(() => DENY);
  const verdict = judge.ask(operation(), waiter);
  expect(verdict).toMatchObject({
    kind: "refusal",
    code: "no_writes",
    class: "policy",
    message: "Only reads.",
    event: "b00t-2",
    policy: "p",
    retryAfterS: null,
  });
  expect(ops[0]).toMatchObject({ verdict: "deny" });
});

test("without a bundle everything is refused and recorded", () => {
  const { judge, ops } = bench(() => ALLOW, { loaded: null });
  expect(judge.ask(operation(), waiter)).toMatchObject({
    kind: "refusal",
    code: "no_bundle",
    class: "outage",
    retryable: true,
  });
  expect(ops).toHaveLength(1);
});

test("E7: when the record is full nothing is let through; under lag only what is no read waits", () => {
  const full = bench(() => ALLOW, { refuses: () => "audit_full" });
  expect(full.judge.ask(operation(), waiter)).toMatchObject({ kind: "refusal", code: "audit_full" });
  const lag = bench(() => ALLOW, { refuses: (read) => (read ? null : "audit_lag") });
  expect(lag.judge.ask(operation(), waiter).kind).toBe("permit");
  expect(lag.judge.ask(operation({ action: "write" }), waiter)).toMatchObject({ kind: "refusal", code: "audit_lag" });
});

test("an obligation that the protocol cannot carry out is a denial", () => {
  const mask = bench(() => ({ ...ALLOW, mask: [{ selector: "email", with: "token" }] }));
  expect(mask.judge.ask(operation(), waiter)).toMatchObject({ code: "obligation_unsupported" });
  const credential = bench(() => ({ ...ALLOW, credential: "billing" }));
  expect(credential.judge.ask(operation({ protocol: "tcp" }), waiter)).toMatchObject({
    code: "obligation_unsupported",
  });
  const hold = bench(() => ({ ...ALLOW, effect: "hold" }));
  expect(hold.judge.ask(operation(), waiter)).toMatchObject({ code: "approval_unavailable" });
});

test("a protocol that nobody carries is refused even when a policy allows it", () => {
  const { judge } = bench();
  expect(judge.ask(operation({ protocol: "ssh" }), waiter)).toMatchObject({ code: "protocol_unsupported" });
});

test("the same denial more than five times a minute answers with the same instance and Retry-After", () => {
  const { judge, ops } = bench(() => DENY);
  const verdicts = Array.from({ length: 8 }, () => judge.ask(operation(), waiter));
  expect(ops).toHaveLength(5);
  expect(
    verdicts
      .slice(5)
      .every((v) => v.kind === "refusal" && v.event === "b00t-2" && v.retryAfterS !== null && v.retryAfterS > 0),
  ).toBe(true);
});

test("with denial.detail: code the agent reads the code and the event, nothing more", () => {
  const { judge } = bench(() => DENY, { terse: true });
  expect(judge.ask(operation(), waiter)).toMatchObject({
    code: "no_writes",
    message: "",
    advice: "",
    policy: "",
    event: "b00t-2",
  });
});

test("a revised bundle that denies connect is a refusal with a record; one that allows it is silent", () => {
  let decision = ALLOW;
  const { judge, ops } = bench(() => decision);
  expect(judge.connect(operation({ action: "connect" }), waiter).kind).toBe("permit");
  expect(judge.again()).toBeNull();
  expect(ops).toHaveLength(1);
  decision = DENY;
  expect(judge.again()).toMatchObject({ kind: "refusal", code: "no_writes" });
  expect(ops).toHaveLength(2);
});

test("what was malformed is on record with its fault", () => {
  const { judge, ops } = bench();
  expect(judge.refuse("bad_request", "two Content-Length fields", null)).toMatchObject({
    code: "bad_request",
    class: "protocol",
  });
  expect(ops[0]?.detail).toContain("two Content-Length fields");
});

test("what is malformed in another way is another denial: the sixth fault is named too", () => {
  const { judge, ops } = bench();
  for (let i = 0; i < 6; i++) judge.refuse("bad_request", "bare_lf", null);
  judge.refuse("bad_request", "obs_fold", null);
  expect(ops.map((op) => op.detail)).toEqual([
    ...Array.from({ length: 5 }, () => '"fault":"bare_lf"'),
    '"fault":"obs_fold"',
  ]);
});

test("without a bundle an unknown destination is told that there is none", () => {
  const { judge } = bench(() => ALLOW, { loaded: null });
  expect(judge.refuse("target_unknown", "", null)).toMatchObject({ code: "no_bundle", retryable: true });
});
