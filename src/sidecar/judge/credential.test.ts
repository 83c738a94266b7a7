/** What the judge does with a decision that names a credential, and with what an agent brings of its own. */
import { describe, expect, test } from "vitest";
import { type Credential, CredentialFault } from "#contract/credential.ts";
import type { Decision } from "#contract/decision.ts";
import type { LoadedPolicy, Settings } from "#contract/policy-port.ts";
import type { EndEntry, OpEntry, Recorder } from "#contract/record.ts";
import type { Target } from "#contract/target.ts";
import type { Credentials } from "#sidecar/seam/credentials.ts";
import type { Held, Operation, Permit, Refusal } from "#sidecar/seam/verdict.ts";
import { madeCredential } from "../../../test/support/credential.ts";
import { createJudges } from "./judge.ts";
import { opened } from "./permit.ts";

const TARGET: Target = { name: "billing", hosts: ["billing.test"], ports: [443], credential: "billing" };
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
  credential: "billing",
  would: null,
  quiet: false,
  text: '"credential":"billing"',
};

function operation(over: Partial<Operation> = {}): Operation {
  return {
    protocol: "http",
    action: "read",
    phase: "ask",
    parent: null,
    complete: true,
    run: null,
    traceparent: null,
    facts: "",
    detail: "",
    body: null,
    ...over,
  };
}

interface Setting {
  readonly target: Target;
  readonly decision: Decision;
  readonly settings: Partial<Settings>;
  readonly found: Credential | CredentialFault | null;
}

class World {
  readonly ops: OpEntry[] = [];
  readonly ends: EndEntry[] = [];
  readonly notes: string[] = [];
  readonly settled: (Permit | Refusal)[] = [];
  readonly broken: unknown[] = [];
  readonly waiting: ((found: Credential | CredentialFault) => void)[] = [];
  found: Setting["found"];
  decision: Decision;
  cancelled = 0;
  nowMs = 0;
  readonly judge;

  constructor(setting: Partial<Setting> = {}) {
    const target = setting.target ?? TARGET;
    this.found = setting.found === undefined ? madeCredential({ secret: "s3cret-value" }) : setting.found;
    this.decision = setting.decision ?? ALLOW;
    let seq = 0;
    const recorder: Recorder = {
      boot: "b",
      gate: { clean: true, committed: (then) => then(true) },
      refuses: () => null,
      session: () => ++seq,
      op: (entry) => {
        this.ops.push(entry);
        return ++seq;
      },
      end: (entry) => void this.ends.push(entry),
      closed() {},
      fold() {},
      stored: (_seq, then) => then(true),
      note: (kind, members) => {
        this.notes.push(`${kind} ${members}`);
        return ++seq;
      },
      stop: async () => {},
    };
    const credentials: Credentials = {
      limitMs: 10_000,
      find: () => this.found,
      wait: (_name, _target, then) => {
        this.waiting.push(then);
        return { cancel: () => void this.cancelled++ };
      },
      renew: (_bad, then) => {
        this.waiting.push((found) => then(found instanceof CredentialFault ? null : found));
        return { cancel: () => void this.cancelled++ };
      },
    };
    const loaded: LoadedPolicy = {
      revision: "r1",
      sequence: 1,
      profile: { revision: "r1", reads: () => false, mayHold: false, mayMask: false },
      targets: [target],
      settings: { mode: "enforce", denialDetail: "full", ...setting.settings },
      decide: () => this.decision,
    };
    this.judge = createJudges({
      holder: { current: loaded, onChange() {} },
      recorder,
      clock: { wallMs: () => 1_000, elapsedMs: () => this.nowMs },
      run: null,
      credentials,
    }).open(
      { client: "c", destination: "d", target: target.name, host: "billing.test", port: 443 },
      { host: "billing.test", port: 443, target },
    );
    this.judge.protect("tls", (error) => this.broken.push(error));
  }

  ask(over: Partial<Operation> = {}): Permit | Refusal | Held {
    return this.judge.ask(operation(over), { settled: (_held, verdict) => void this.settled.push(verdict) });
  }
}

const codeOf = (verdict: Permit | Refusal | Held): string => (verdict.kind === "refusal" ? verdict.code : verdict.kind);

describe("a decision that names a credential", () => {
  test("comes with it where it is at hand, and the record has its name only", () => {
    const w = new World();
    const verdict = w.ask();
    if (verdict.kind !== "permit") throw new Error(codeOf(verdict));
    expect(opened(verdict).credential?.reveal()).toBe("s3cret-value");
    expect(JSON.stringify([w.ops, verdict])).not.toContain("s3cret-value");
    expect(w.ops[0]?.decision).toContain('"credential":"billing"');
  });

  const { credential: _, ...plain } = TARGET;
  test.each<[string, Target]>([
    ["the target names none", plain],
    ["the target names another", { ...TARGET, credential: "other" }],
    ["the target has a wildcard", { ...TARGET, hosts: ["billing.test", "*.billing.test"] }],
    ["nobody named the target (observed only)", { ...TARGET, name: "" }],
  ])("is refused where %s", (_why, target) => {
    const w = new World({ target });
    expect(codeOf(w.ask())).toBe("credential_forbidden");
    expect(w.ops[0]?.verdict).toBe("deny");
  });

  test("is refused without TLS, but where the target says so and names the machine", () => {
    const cases: [Partial<Target>, string][] = [
      [{}, "credential_forbidden"],
      [{ insecureCredential: true }, "credential_forbidden"],
      [{ insecureCredential: true, endpoints: [] }, "credential_forbidden"],
      [{ insecureCredential: true, endpoints: ["127.0.0.1:5432"] }, "permit"],
    ];
    for (const [over, code] of cases) {
      const w = new World({ target: { ...TARGET, ...over } });
      w.judge.protect("none", () => {});
      expect(codeOf(w.ask())).toBe(code);
    }
  });

  test("is refused where nobody has it, or where it cannot be had", () => {
    expect(codeOf(new World({ found: new CredentialFault("unknown", "") }).ask())).toBe("credential_unknown");
    const gone = new World({ found: new CredentialFault("unavailable", "") }).ask();
    expect(gone).toMatchObject({ code: "credential_unavailable", class: "outage", retryable: true });
  });

  test("is refused where its kind is not for the protocol", () => {
    const w = new World({ found: madeCredential({ kind: "password", secret: "s3cret-value" }) });
    expect(codeOf(w.ask())).toBe("credential_forbidden");
  });

  test("is not fetched for a connection that does not log in, and is for one that does", () => {
    const w = new World({ found: null });
    const connect = (protocol: Operation["protocol"]): string =>
      codeOf(w.judge.connect(operation({ protocol, action: "connect" }), { settled() {} }));
    expect(connect("http")).toBe("permit");
    expect(w.waiting).toHaveLength(0);
  });
});

describe("a credential that is still being fetched", () => {
  test("holds the operation, which is judged again when it is there", () => {
    const w = new World({ found: null });
    const held = w.ask();
    expect(held).toMatchObject({ kind: "held", why: "credential", expiresAtMs: 11_000 });
    expect(w.ops).toHaveLength(0);
    w.found = madeCredential({ secret: "s3cret-value" });
    w.waiting[0]?.(w.found);
    expect(w.settled.map(codeOf)).toEqual(["permit"]);
    expect(w.ops.map((op) => op.verdict)).toEqual(["allow"]);
  });

  test("is an outage that the agent can read where it does not come", () => {
    const w = new World({ found: null });
    w.ask();
    w.found = new CredentialFault("unavailable", "late");
    w.waiting[0]?.(w.found);
    expect(w.settled[0]).toMatchObject({ kind: "refusal", code: "credential_unavailable", class: "outage" });
  });

  test("is judged by the policy that is then in force", () => {
    const w = new World({ found: null });
    w.ask();
    w.decision = { ...ALLOW, effect: "deny", code: "no_more", credential: null };
    w.waiting[0]?.(madeCredential({ secret: "s3cret-value" }));
    expect(w.settled.map(codeOf)).toEqual(["no_more"]);
  });

  test("is on record as held when its client leaves, and nobody is waited for any more", () => {
    const w = new World({ found: null });
    const held = w.ask();
    if (held.kind !== "held") throw new Error(codeOf(held));
    held.abandon("client-left");
    expect(w.cancelled).toBe(1);
    expect(w.ops.map((op) => op.verdict)).toEqual(["hold"]);
    expect(w.ends.map((end) => end.status)).toEqual(["client-left"]);
    const other = new World({ found: null });
    other.ask();
    other.judge.close(0, 0, "closed");
    expect(other.cancelled).toBe(1);
  });

  test("breaks its connection only, where whoever waited for it throws", () => {
    const w = new World({ found: null });
    w.judge.ask(operation(), {
      settled() {
        throw new Error("a bug in a lane");
      },
    });
    w.found = madeCredential({ secret: "s3cret-value" });
    w.waiting[0]?.(w.found);
    expect(String(w.broken[0])).toContain("a bug in a lane");
  });
});

test("a renewed credential is the permit's from then on", () => {
  const w = new World();
  const verdict = w.ask();
  if (verdict.kind !== "permit") throw new Error(codeOf(verdict));
  const heard: unknown[] = [];
  w.judge.renew(verdict as Permit<"ask">, (found) => heard.push(found?.reveal() ?? null));
  w.waiting[0]?.(madeCredential({ secret: "another-value" }));
  w.judge.renew(verdict as Permit<"ask">, (found) => heard.push(found));
  w.waiting[1]?.(new CredentialFault("unavailable", ""));
  expect(heard).toEqual(["another-value", null]);
  expect(opened(verdict).credential?.reveal()).toBe("another-value");
});

describe("H4: what an agent brings along", () => {
  const foreign = { foreign: ["header authorization"], misplaced: [] };
  const nothing: Decision = { ...ALLOW, credential: null };

  test("is refused at a target with a credential, and a finding once a minute", () => {
    const w = new World({ decision: nothing });
    const verdict = w.ask({ brought: foreign });
    expect(verdict).toMatchObject({ code: "foreign_credential", class: "policy" });
    expect((verdict as Refusal).message).toContain("header authorization");
    w.ask({ brought: foreign });
    expect(w.notes.filter((note) => note.startsWith("foreign-credential"))).toEqual([
      'foreign-credential "target":"billing","host":"billing.test","what":"header authorization","done":"deny"',
    ]);
    w.nowMs = 61_000;
    w.ask({ brought: foreign });
    expect(w.notes).toHaveLength(2);
  });

  test("goes on, or goes on without it, as the settings say; but what stands in a path cannot be taken out", () => {
    const verdict = (foreignSetting: "warn" | "strip", what = foreign): unknown => {
      const w = new World({ decision: nothing, settings: { foreign: foreignSetting } });
      const said = w.ask({ brought: what });
      return [codeOf(said), said.kind === "permit" ? said.strip : null, w.notes.length];
    };
    expect(verdict("warn")).toEqual(["permit", false, 1]);
    expect(verdict("strip")).toEqual(["permit", true, 1]);
    expect(verdict("strip", { foreign: ["path"], misplaced: [] })).toEqual(["foreign_credential", null, 1]);
  });

  test("is nobody's affair at a target without a credential", () => {
    const { credential: _, ...target } = TARGET;
    const w = new World({ decision: nothing, target });
    expect(codeOf(w.ask({ brought: foreign }))).toBe("permit");
    expect(w.notes).toEqual([]);
  });

  test("is refused everywhere where it is a placeholder in the wrong place, whatever the settings say", () => {
    const { credential: _, ...target } = TARGET;
    const w = new World({ decision: nothing, target, settings: { foreign: "warn" } });
    expect(codeOf(w.ask({ brought: { foreign: [], misplaced: ["path"] } }))).toBe("placeholder_misplaced");
    expect(w.notes[0]).toContain("placeholder-misplaced");
  });

  test("is only told of in observe mode", () => {
    const w = new World({ decision: nothing, settings: { mode: "observe" } });
    expect(codeOf(w.ask({ brought: { ...foreign, misplaced: ["path"] } }))).toBe("permit");
    expect(w.notes).toHaveLength(2);
  });
});
