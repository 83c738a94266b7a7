import { afterEach, describe, expect, test } from "vitest";
import type { CredentialFrom } from "#contract/credential-from.ts";
import type { TargetSpec } from "#contract/target.ts";
import type { fetchToken } from "#identity/client-credentials.ts";
import { optionsFor } from "#injection/complete-options.ts";
import { injectPod } from "#injection/inject.ts";
import { type InjectionOptions, readOptions } from "#injection/options.ts";
import type { SecretObject } from "#kube/certificate-keeper.ts";
import type { KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import { FakeTime } from "../../../test/conformance/ports.ts";
import { fakeKube } from "../../../test/support/kube.ts";
import { createKnown, type Fleet } from "../fleet.ts";
import type { ObservedPod, ObservedTarget } from "../observed.ts";
import { bindingOf, makeSet } from "../policy-set.ts";
import { targetVerdict } from "../status.ts";
import { createHandOut } from "./hand-out.ts";
import { lookUp, referenceOf } from "./make.ts";
import { whyNotNow } from "./pod-now.ts";
import { createSecrets } from "./secrets.ts";
import { createTokens } from "./tokens.ts";

const OWN = "sidegate";
const VALUE = "a-password-of-this-test";
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};
const ends: AbortController[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end.abort();
});

const FROM: CredentialFrom = { kind: "password", secret: { name: "db" }, user: "app" };
const SPEC: TargetSpec = { hosts: ["db.shop.svc"], ports: [5432], credential: "db", credentialFrom: FROM };

const READ = readOptions({
  image: "proxy:1",
  collector: { url: "https://collector.example", ca: "" },
  bundle: { url: "https://bundles.example", publicKey: "" },
  exemptions: [{ namespace: "shop", serviceAccount: "old", reason: "a test", until: "2026-01-31" }],
  excludedNamespaces: ["monitoring"],
});
if (READ.kind === "malformed") throw new Error(JSON.stringify(READ.violations));
const INJECTION = READ.options;

/** As admission lets it pass, made long after the exemption's last day. */
function injectedPod(namespace: string, name: string, more: object = {}): KubeObject {
  const metadata = { namespace, name, uid: `uid-${name}`, creationTimestamp: "2026-06-01T00:00:00Z" };
  const plain = { metadata, spec: { containers: [{ name: "app", image: "app:1" }], ...more } };
  const result = injectPod(plain, optionsFor(INJECTION, namespace, {}), () => 1_947_264_001);
  if (result.kind === "denied") throw new Error(JSON.stringify(result.violations));
  return result.pod as unknown as KubeObject;
}

interface Asked {
  readonly uid?: string;
  readonly pod?: string;
  readonly namespace?: string;
  readonly address?: string;
  readonly target?: string;
  readonly name?: string;
  readonly binding?: string;
  readonly fresh?: boolean;
}

class World {
  readonly kube = fakeKube();
  readonly known = createKnown();
  readonly time = new FakeTime();
  readonly assigned = new Map<string, Fleet["assigned"] extends ReadonlyMap<string, infer A> ? A : never>();
  readonly acts: unknown[] = [];
  readonly logs: string[] = [];
  readonly counts: string[] = [];
  readonly faults: unknown[] = [];
  readonly asked: string[] = [];
  collector: "there" | "away" = "there";
  injection: InjectionOptions | null = INJECTION;
  namespaceLabels: Readonly<Record<string, string>> = { "sidegate.dev/inject": "all" };
  endpoint: typeof fetchToken = () => Promise.reject(new Error("nobody asks for a token here"));
  readonly secrets;
  readonly handOut;

  constructor(allowed: readonly string[] = ["shop"]) {
    const end = new AbortController();
    ends.push(end);
    this.secrets = createSecrets({
      kube: this.kube,
      onChange: () => this.handOut.changed(),
      onFault: (fault) => this.faults.push(fault),
      signal: end.signal,
    });
    const fleet = { assigned: this.assigned } as unknown as Fleet;
    this.handOut = createHandOut({
      known: this.known,
      fleet,
      own: OWN,
      allowed,
      checkCaller: true,
      secrets: this.secrets,
      tokens: createTokens({ clock: this.time, fetch: (wanted) => this.endpoint(wanted) }),
      lifetimeMs: 300_000,
      whyNotNow: (identity) =>
        whyNotNow(this.kube, identity, { injection: this.injection, namespaceLabels: this.namespaceLabels }),
      acts: {
        record: (act) => {
          if (this.collector === "away") return Promise.reject(new Error("the collector is away"));
          this.acts.push(act);
          return Promise.resolve();
        },
      },
      randomId: () => `id-${this.acts.length}`,
      clock: this.time,
      counted: (outcome) => this.counts.push(outcome),
      log: (event, fields) => this.logs.push(`${event} ${JSON.stringify(fields)}`),
      onFault: (fault) => this.faults.push(fault),
    });
  }

  /** A pod with a set whose policies can name these credentials; null: a computed one. */
  pod(
    name: string,
    namespace = "shop",
    names: readonly (string | null)[] = ["db"],
    { mode = "enforce", scope = "namespace" }: { mode?: "enforce" | "observe"; scope?: "namespace" | "cluster" } = {},
  ): void {
    const address = `10.0.0.${this.assigned.size + 7}`;
    const uid = `uid-${name}`;
    this.kube.seed(RESOURCE.pod, [injectedPod(namespace, name)]);
    const policy = { kind: "AgentPolicy", namespace, name: `p-${name}` } as Parameters<typeof makeSet>[0][number];
    const set = makeSet([policy], namespace);
    const pod: ObservedPod = {
      namespace,
      name,
      uid,
      labels: {},
      serviceAccount: "default",
      madeMs: 0,
      addresses: [address],
    };
    this.assigned.set(uid, { pod, set, etag: "e", frozen: null, unguarded: null });
    const rules = names.map((code) => ({ policy: "p", rule: "credential", code, file: "p.rego", line: 1 }));
    const policies = [{ name: "p", mode, scope }];
    this.known.stored.set(set.id, {
      id: set.id,
      content: "c",
      parts: { metadata: { rules, policies } },
    } as unknown as Parameters<typeof this.known.stored.set>[1]);
  }

  target(spec: Partial<TargetSpec> = {}, { namespace = "shop", name = "db" } = {}): ObservedTarget {
    const status = { ready: null, pods: 0 };
    const target = { namespace, name, uid: "u", generation: 1, status, spec: { ...SPEC, ...spec }, malformed: "" };
    this.known.targets.set(`${namespace}/${name}`, target);
    return target;
  }

  secret(
    data: Readonly<Record<string, string>> = { password: VALUE },
    more: Partial<SecretObject> = {},
    namespace = "shop",
  ): void {
    const base64 = Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString("base64")]);
    const { metadata, ...rest } = more;
    const object: SecretObject = {
      metadata: { ...metadata, namespace, name: "db" },
      data: Object.fromEntries(base64) as Readonly<Record<string, string>>,
      ...rest,
    };
    this.kube.seed(RESOURCE.secret, [object]);
  }

  async ready(namespace = "shop"): Promise<void> {
    this.secrets.want(new Set([`${namespace}/db`]));
    await settle();
  }

  async ask(
    over: Asked = {},
  ): Promise<{ readonly status: number; readonly why: string; readonly body: string; readonly etag: string }> {
    const pod = over.pod ?? "agent";
    const target = this.known.targets.get("sidegate/db") ?? this.known.targets.get("shop/db");
    const answer = await this.handOut.give({
      identity: {
        namespace: over.namespace ?? "shop",
        pod,
        uid: over.uid ?? `uid-${pod}`,
        serviceAccount: "default",
        node: "",
      },
      address: over.address ?? "10.0.0.7",
      target: over.target ?? "db",
      name: over.name ?? "db",
      binding: over.binding ?? (target === undefined ? "" : bindingOf(target)),
      fresh: over.fresh ?? false,
    });
    const { why = "" } = JSON.parse(answer.body) as { why?: string };
    return { ...answer, why };
  }

  /** What anybody but the sidecar could read. */
  told(): string {
    return JSON.stringify([this.acts, this.logs, this.counts, this.faults.map(String)]);
  }
}

async function world(): Promise<World> {
  const w = new World();
  w.pod("agent");
  w.target();
  w.secret();
  await w.ready();
  return w;
}

describe("a credential is handed out", () => {
  test("to a pod whose policy may put it in, on record first, and its value is in the answer alone", async () => {
    const w = await world();
    const answer = await w.ask();
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toEqual({
      kind: "password",
      user: "app",
      field: null,
      prefix: null,
      database: null,
      certificate: null,
      secret: VALUE,
      expiresInMs: 300_000,
      refreshInMs: 120_000,
    });
    expect(w.acts).toMatchObject([
      {
        act: "credential",
        members: { namespace: "shop", pod: "agent", target: "db", credential: "db", secret: "shop/db" },
      },
    ]);
    expect(w.counts).toEqual(["given"]);
    expect(w.told()).not.toContain(VALUE);
    expect(w.told()).not.toContain(Buffer.from(VALUE).toString("base64").slice(0, -4));
  });

  test("never unrecorded: without the collector nobody is given one", async () => {
    const w = await world();
    w.collector = "away";
    expect(await w.ask()).toMatchObject({ status: 503 });
    expect(w.counts).toEqual(["fault"]);
    w.collector = "there";
    expect((await w.ask()).status).toBe(200);
  });

  test("with the user that the Secret names, and without the line feed that an editor leaves", async () => {
    const w = new World();
    w.pod("agent");
    const { user: _user, ...from } = FROM;
    w.target({ credentialFrom: { ...from, userKey: "username", database: "orders" } });
    w.secret({ username: "reader\n", password: `${VALUE}\n` });
    await w.ready();
    expect(JSON.parse((await w.ask()).body)).toMatchObject({ user: "reader", database: "orders", secret: VALUE });
  });

  test("as the Secret has it now: whoever watches hears of a change, and the next who asks gets the new one", async () => {
    const w = await world();
    const first = await w.ask();
    const binding = bindingOf(w.target());
    const identity = { namespace: "shop", pod: "agent", uid: "uid-agent", serviceAccount: "default", node: "" };
    const asked = { identity, address: "10.0.0.7", target: "db", name: "db", binding };
    const gone = new AbortController();
    const watching = w.handOut.watch({ ...asked, etag: first.etag, waitMs: 60_000, gone: gone.signal });
    await settle();
    w.secret({ password: "another-password" });
    const heard = await watching;
    expect(heard).toMatchObject({ status: 200, body: "" });
    expect(heard.etag).not.toBe(first.etag);
    expect(JSON.parse((await w.ask()).body)).toMatchObject({ secret: "another-password" });
    // What is held ends with its caller.
    const again = w.handOut.watch({ ...asked, etag: heard.etag, waitMs: 60_000, gone: gone.signal });
    gone.abort();
    expect((await again).status).toBe(304);
  });
});

describe("C2: a pod is given nothing", () => {
  test("that no policy in force for it puts in, whatever another pod's policies do", async () => {
    const w = await world();
    w.pod("other", "shop", ["billing"]);
    w.pod("without", "shop", []);
    w.pod("observed", "shop", ["db"], { mode: "observe" });
    for (const [pod, address] of [
      ["other", "10.0.0.8"],
      ["without", "10.0.0.9"],
      ["observed", "10.0.0.10"],
    ] as const)
      expect(await w.ask({ pod, address })).toMatchObject({
        status: 403,
        why: expect.stringContaining("no policy") as string,
      });
    // A computed name may be any, but only of a target that this pod has.
    w.pod("computes", "shop", [null]);
    expect((await w.ask({ pod: "computes", address: "10.0.0.11" })).status).toBe(200);
    expect(w.acts).toHaveLength(1);
  });

  test("of another namespace's targets", async () => {
    const w = await world();
    w.pod("stranger", "elsewhere");
    const asked = { pod: "stranger", namespace: "elsewhere", address: "10.0.0.8" };
    expect(await w.ask(asked)).toMatchObject({
      status: 404,
      why: expect.stringContaining("has no target db") as string,
    });
  });

  test("under another name than the target's", async () => {
    const w = await world();
    expect(await w.ask({ name: "billing" })).toMatchObject({ status: 404 });
  });

  test("from another address, for another pod's token, while it is frozen, and when the pod is gone or was made anew", async () => {
    const w = await world();
    expect((await w.ask({ address: "10.9.9.9" })).status).toBe(403);
    expect((await w.ask({ namespace: "elsewhere" })).status).toBe(403);
    expect((await w.ask({ uid: "uid-of-nobody" })).status).toBe(503);
    const its = w.assigned.get("uid-agent");
    if (its === undefined) throw new Error("no pod");
    const frozen = { scope: "pod", by: "a person", reason: "", since: "", id: "f" } as const;
    w.assigned.set("uid-agent", { ...its, frozen });
    expect(await w.ask()).toMatchObject({ status: 403, why: "this pod is frozen" });
    w.assigned.set("uid-agent", its);
    await w.kube.remove(RESOURCE.pod, { namespace: "shop", name: "agent" });
    // The watch is late; the API server is asked itself.
    expect(await w.ask()).toMatchObject({ status: 403, why: "the pod is gone" });
    w.kube.seed(RESOURCE.pod, [{ metadata: { namespace: "shop", name: "agent", uid: "another" } }]);
    expect(await w.ask()).toMatchObject({ status: 403, why: "the pod is gone" });
    expect(w.acts).toEqual([]);
  });

  test("whose containers nobody has compared: not opted in, excluded, exempt now or when it was made", async () => {
    const w = await world();
    // Its author made everything in it, containers of our names too.
    const alike = injectedPod("shop", "agent") as { metadata: KubeObject["metadata"]; spec: Record<string, unknown> };
    alike.spec["initContainers"] = [
      { name: "sidegate-init", image: "theirs:1" },
      { name: "sidegate", image: "theirs:1", volumeMounts: [{ name: "sidegate-token", mountPath: "/t" }] },
    ];
    w.kube.seed(RESOURCE.pod, [alike]);
    for (const labels of [{}, { "sidegate.dev/inject": "opt-in" }]) {
      w.namespaceLabels = labels;
      expect(await w.ask()).toMatchObject({
        status: 403,
        why: expect.stringContaining("neither the pod nor its namespace has opted in") as string,
      });
    }
    const labelled = { ...alike.metadata, labels: { "sidegate.dev/inject": "true" } };
    w.kube.seed(RESOURCE.pod, [{ ...injectedPod("shop", "agent"), metadata: labelled }]);
    expect((await w.ask()).status).toBe(200);
    w.injection = { ...INJECTION, excludedNamespaces: ["shop"] };
    expect(await w.ask()).toMatchObject({ status: 403, why: expect.stringContaining("is excluded") as string });
    w.injection = INJECTION;
    for (const [creationTimestamp, status] of [
      ["2026-01-31T23:59:59Z", 403],
      ["no time", 403],
      ["2026-02-01T00:00:01Z", 200],
    ] as const) {
      const exempt = injectedPod("shop", "agent", { serviceAccountName: "old" });
      w.kube.seed(RESOURCE.pod, [{ ...exempt, metadata: { ...labelled, creationTimestamp } }]);
      expect((await w.ask()).status).toBe(status);
    }
  });

  test("while it is not known what injection makes of a pod", async () => {
    const w = await world();
    w.injection = null;
    expect(await w.ask()).toMatchObject({
      status: 403,
      why: expect.stringContaining("what injection makes") as string,
    });
    expect(w.acts).toEqual([]);
  });

  test("more often than a sidecar asks, and again after a while", async () => {
    const w = await world();
    const all = [];
    for (let i = 0; i < 60; i++) all.push((await w.ask()).status);
    expect(all.filter((status) => status === 200)).toHaveLength(40);
    expect(all.at(-1)).toBe(429);
    w.time.pass(10_000);
    expect((await w.ask()).status).toBe(200);
  });
});

describe("C1, the confused deputy: whoever writes a target cannot point somebody else's Secret at a host of their own", () => {
  test("a sidecar whose bundle has another target of that name is not given this one's", async () => {
    const w = await world();
    const theirs = bindingOf({ namespace: "shop", name: "db", spec: { ...SPEC, hosts: ["attacker.example"] } });
    expect(await w.ask({ binding: theirs })).toMatchObject({
      status: 503,
      why: expect.stringContaining("changed") as string,
    });
    expect((await w.ask({ binding: "" })).status).toBe(503);
  });

  test("a namespace's target gets no Secret of another namespace, named or not", async () => {
    const w = new World(["shop", "vault"]);
    w.pod("agent");
    w.secret({ password: VALUE }, {}, "vault");
    w.target({ credentialFrom: { ...FROM, secret: { name: "db", namespace: "vault" } } });
    await w.ready("vault");
    expect(await w.ask()).toMatchObject({
      status: 403,
      why: expect.stringContaining("only targets in namespace sidegate") as string,
    });
  });

  test("a Secret of a namespace that the installation does not name is not read, and the message says what to add", async () => {
    const w = new World(["elsewhere"]);
    w.pod("agent");
    w.target();
    w.secret();
    await w.ready();
    expect(await w.ask()).toMatchObject({
      status: 403,
      why: expect.stringMatching(/namespace shop .*credentials\.namespaces/) as string,
    });
  });

  test("a target of the cluster takes a Secret of the namespace that it names, and its name wins over a namespace's", async () => {
    const w = new World(["vault"]);
    w.pod("agent", "shop", ["db"], { scope: "cluster" });
    w.target({ hosts: ["attacker.example"] });
    w.target({ credentialFrom: { ...FROM, secret: { name: "db", namespace: "vault" } } }, { namespace: OWN });
    w.secret({ password: VALUE }, {}, "vault");
    await w.ready("vault");
    expect((await w.ask()).status).toBe(200);
    const theirs = w.known.targets.get("shop/db");
    if (theirs === undefined) throw new Error("no target");
    expect((await w.ask({ binding: bindingOf(theirs) })).status).toBe(503);
  });

  test("a namespace does not help itself to the cluster's credentials by a policy of its own", async () => {
    const w = new World(["vault"]);
    w.pod("agent", "shop", ["db", null]);
    w.target({ credentialFrom: { ...FROM, secret: { name: "db", namespace: "vault" } } }, { namespace: OWN });
    w.secret({ password: VALUE }, {}, "vault");
    await w.ready("vault");
    expect(await w.ask()).toMatchObject({
      status: 403,
      why: expect.stringContaining("no ClusterAgentPolicy") as string,
    });
    expect(w.acts).toEqual([]);
  });

  test("nobody is given a Secret of the gateway's own namespace, also where the installation names it", async () => {
    const w = new World([OWN]);
    w.pod("agent", "shop", ["db"], { scope: "cluster" });
    w.target({ credentialFrom: { ...FROM, secret: { name: "db", namespace: OWN } } }, { namespace: OWN });
    w.secret({ password: VALUE }, {}, OWN);
    await w.ready(OWN);
    expect(await w.ask()).toMatchObject({ status: 403, why: expect.stringContaining("never handed out") as string });
  });

  test("a namespace's target that says where to dial, or wants it sent unprotected, gets nothing", async () => {
    for (const more of [{ endpoints: ["10.9.9.9:5432"] }, { endpoints: ["10.9.9.9:5432"], insecureCredential: true }]) {
      const w = new World();
      w.pod("agent");
      w.target(more);
      w.secret();
      await w.ready();
      expect((await w.ask()).status).toBe(403);
    }
  });

  test("a Secret that says which hosts it is for goes to no other, and an account's token to none", async () => {
    const w = await world();
    w.secret(
      { password: VALUE },
      { metadata: { name: "db", annotations: { "sidegate.dev/hosts": "db.shop.svc, x.test" } } },
    );
    await settle();
    expect((await w.ask()).status).toBe(200);
    w.target({ hosts: ["db.shop.svc", "attacker.example"] });
    expect(await w.ask()).toMatchObject({
      status: 403,
      why: expect.stringContaining("not for attacker.example") as string,
    });
    w.target();
    w.secret({ password: VALUE }, { type: "kubernetes.io/service-account-token" });
    await settle();
    expect(await w.ask()).toMatchObject({
      status: 403,
      why: expect.stringContaining("service-account-token") as string,
    });
  });
});

describe("what is missing is said: to the agent, and in the target's status", () => {
  async function said(set: (w: World) => ObservedTarget): Promise<readonly [string, string]> {
    const w = new World();
    w.pod("agent");
    const target = set(w);
    await w.ready();
    const { why } = await w.ask();
    const lack = (one: ObservedTarget) => {
      const found = lookUp(referenceOf(one, { own: OWN, allowed: ["shop"] }), w.secrets);
      return found.kind === "lack" ? found : null;
    };
    const { reason, message } = targetVerdict(target, { known: w.known, own: OWN, lack });
    expect(message).toContain(why);
    expect(w.told() + message).not.toContain(VALUE);
    return [reason, why];
  }

  test("a target without a Secret, a Secret that is not there, a key that is not there, a value that cannot be used", async () => {
    expect(
      await said((w) => {
        const { credentialFrom: _from, ...spec } = SPEC;
        const target = { ...w.target(), spec };
        w.known.targets.set("shop/db", target);
        return target;
      }),
    ).toEqual(["CredentialNotConfigured", expect.stringContaining("add spec.credentialFrom")]);
    expect(await said((w) => w.target())).toEqual([
      "CredentialSecretMissing",
      "Secret shop/db does not exist: kubectl -n shop create secret generic db --from-literal=password=…",
    ]);
    expect(
      await said((w) => {
        w.secret({ passwd: VALUE, user: "x" });
        return w.target();
      }),
    ).toEqual(["CredentialKeyMissing", "Secret shop/db has no key password (it has: passwd, user)"]);
    expect(
      await said((w) => {
        w.secret({ token: `${VALUE}\nX-Injected: yes` });
        return w.target({ credentialFrom: { kind: "bearer", secret: { name: "db" } } });
      }),
    ).toEqual(["CredentialUnusable", expect.stringContaining("key token: the credential cannot be used")]);
  });

  test("insecureCredential stands in the status", () => {
    const w = new World();
    const target = w.target({ endpoints: ["10.0.0.9:5432"], insecureCredential: true }, { namespace: OWN });
    const verdict = targetVerdict(target, { known: w.known, own: OWN, lack: () => null });
    expect(verdict).toMatchObject({ status: "True", reason: "InsecureCredential" });
    expect(verdict.message).toContain("without verified TLS");
  });
});

describe("a token of OAuth client credentials", () => {
  const OAUTH: CredentialFrom = {
    kind: "oauth2ClientCredentials",
    secret: { name: "db" },
    tokenUrl: "https://login.example/token",
    clientId: "agents",
  };

  async function oauth(from: Partial<CredentialFrom> = {}): Promise<World> {
    const w = new World();
    w.pod("agent");
    w.target({ credentialFrom: { ...OAUTH, ...from } });
    w.secret({ clientSecret: VALUE });
    let n = 0;
    w.endpoint = ({ clientId, clientSecret }) => {
      w.asked.push(`${clientId} ${clientSecret}`);
      return Promise.resolve({ value: `token-number-${++n}`, expiresInMs: 100_000 });
    };
    await w.ready();
    return w;
  }

  test("is fetched by the controller, once for all pods, and anew before it ends; its client's secret goes nowhere", async () => {
    const w = await oauth();
    const answer = await w.ask();
    expect(JSON.parse(answer.body)).toMatchObject({
      secret: "token-number-1",
      expiresInMs: 100_000,
      refreshInMs: 80_000,
    });
    expect(answer.body).not.toContain(VALUE);
    w.time.pass(50_000);
    expect(JSON.parse((await w.ask()).body)).toMatchObject({ secret: "token-number-1", expiresInMs: 50_000 });
    w.time.pass(31_000);
    expect(JSON.parse((await w.ask()).body)).toMatchObject({ secret: "token-number-2" });
    expect(w.asked).toEqual([`agents ${VALUE}`, `agents ${VALUE}`]);
    expect(w.told()).not.toContain(VALUE);
  });

  test("that an upstream refused is fetched anew, but not each time", async () => {
    const w = await oauth();
    await w.ask();
    expect(JSON.parse((await w.ask({ fresh: true })).body)).toMatchObject({ secret: "token-number-1" });
    w.time.pass(11_000);
    expect(JSON.parse((await w.ask({ fresh: true })).body)).toMatchObject({ secret: "token-number-2" });
  });

  test("goes on serving while its endpoint is away, and not beyond its end", async () => {
    const w = await oauth();
    await w.ask();
    w.endpoint = () => Promise.reject(new Error(`away ${VALUE}`));
    w.time.pass(90_000);
    expect((await w.ask()).status).toBe(200);
    w.time.pass(10_000);
    expect((await w.ask()).status).toBe(503);
  });

  test.each([
    "https://127.0.0.1/token",
    "https://169.254.169.254/token",
    "https://[::1]/token",
    "https://10.0.0.1/token",
  ])("is not asked for at %s by a namespace's target", async (tokenUrl) => {
    const w = await oauth({ tokenUrl });
    expect(await w.ask()).toMatchObject({ status: 503, why: expect.stringContaining("where none may be") as string });
    expect(w.asked).toEqual([]);
  });
});
