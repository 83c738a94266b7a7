/**
 * Credentials in a cluster, with the real processes on a real API server (no node): out of a Secret, by the controller, to the source
 * that a sidecar has; who else asks for them, and what a person who applies a target is told.
 */
import { createHash, createPublicKey, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { BUNDLE_PATH, CREDENTIAL_PATH } from "#contract/control-environment.ts";
import type { CredentialSource, WantedCredential } from "#contract/credential.ts";
import { injectPod } from "#injection/inject.ts";
import { readOptions } from "#injection/options.ts";
import { openBundle } from "#policy/bundle.ts";
import { createHttpBundleSource } from "#policy/source/http.ts";
import { readTargets } from "#policy/targets.ts";
import { createHttpSource } from "#sidecar/credentials/http-source.ts";
import { until } from "../support/control-plane.ts";
import { requireThat } from "../support/require.ts";
import { type Lab, NEEDED, POSSIBLE, type Started, startLab } from "./controller-lab.ts";

/** Made anew for each test run: what is found anywhere can only come from here. */
const PASSWORD = `pw-${randomBytes(15).toString("hex")}`;
const NEXT = `pw-${randomBytes(15).toString("hex")}`;
const INJECTION =
  "image: proxy:1\ncluster: test\ncollector: {url: 'https://collector.example:8443', ca: ''}\nbundle: {url: 'https://bundles.example', publicKey: ''}\n";
let lab: Lab;
let folder = "";
let ports: readonly number[] = [];
let ca = "";
let publicPem = "";
const controllers: Started[] = [];

const target = (namespace: string, name: string, spec: object): object => ({
  apiVersion: "sidegate.dev/v1alpha1",
  kind: "EgressTarget",
  metadata: { namespace, name },
  spec,
});
const FROM = { kind: "password", secret: { name: "db" }, user: "app" };
const DB = {
  hosts: ["db.team.svc.cluster.local"],
  ports: [5432],
  protocol: "postgres",
  private: true,
  credential: "db",
};
const policy = (name: string, app: string, rules: string): object => ({
  apiVersion: "sidegate.dev/v1alpha1",
  kind: "AgentPolicy",
  metadata: { namespace: "team", name },
  spec: { podSelector: { matchLabels: { app } }, module: `package sidegate.policy.${name}\n\n${rules}\n` },
});
const secret = (namespace: string, data: object): object => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { namespace, name: "db" },
  stringData: data,
});

interface Pod {
  readonly name: string;
  readonly uid: string;
  readonly token: string;
}

async function tokenFor(
  pod: { readonly name: string; readonly uid: string } | null,
  over: object = {},
  namespace = "team",
): Promise<string> {
  const bound = pod === null ? {} : { boundObjectRef: { apiVersion: "v1", kind: "Pod", name: pod.name, uid: pod.uid } };
  const spec = { audiences: ["sidegate"], ...bound, ...over };
  const asked = await lab.plane.call("POST", `/api/v1/namespaces/${namespace}/serviceaccounts/default/token`, { spec });
  return (asked.body["status"] as { token: string }).token;
}

async function makePod(name: string, app: string, namespace = "team"): Promise<Pod> {
  // As the webhook makes it, and admission lets it pass.
  const reading = readOptions(parse(INJECTION));
  if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
  const plain = {
    metadata: { name, labels: { app, "sidegate.dev/inject": "true" } },
    spec: { containers: [{ name: "app", image: "app:1" }] },
  };
  const result = injectPod(plain, reading.options, () => 1_947_264_001);
  if (result.kind === "denied") throw new Error(JSON.stringify(result.violations));
  const made = await lab.plane.call("POST", `/api/v1/namespaces/${namespace}/pods`, result.pod);
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  const { uid } = made.body["metadata"] as { uid: string };
  return { name, uid, token: await tokenFor({ name, uid }, {}, namespace) };
}

/** What the pod's sidecar would ask for, out of the bundle that it gets. */
async function wantedBy(pod: Pod, name = "db", namespace = "team"): Promise<WantedCredential> {
  const source = createHttpBundleSource({
    url: `https://localhost:${ports[0] ?? 0}${BUNDLE_PATH}`,
    token: () => Promise.resolve(pod.token),
    ca,
    waitS: 5,
  });
  let binding = "";
  await until(20_000, `the bundle of ${pod.name}`, async () => {
    const { archive } = await source.next(null, AbortSignal.timeout(10_000));
    const keys = [{ id: "sidegate", publicKey: createPublicKey(publicPem) }];
    const opened = openBundle(archive, { keys, scope: `test/${namespace}` }, null, Date.now());
    if (opened.kind === "refused") throw new Error(opened.message);
    const found = readTargets(opened.data).find((one) => one.name === name);
    binding = found?.binding ?? "";
    return binding !== "";
  });
  return { name: "db", target: name, binding, fresh: false };
}

function sourceOf({ token }: Pick<Pod, "token">, replica = 0): CredentialSource {
  return createHttpSource({
    url: `https://localhost:${ports[replica] ?? 0}${CREDENTIAL_PATH}`,
    token: () => Promise.resolve(token),
    ca,
    after(ms, fire) {
      const timer = setTimeout(fire, ms).unref();
      return { cancel: () => clearTimeout(timer) };
    },
    waitS: 10,
  });
}

/** `given: …`, or why not. */
async function ask(pod: Pick<Pod, "token">, wanted: WantedCredential, replica = 0): Promise<string> {
  const source = sourceOf(pod, replica);
  try {
    return `given: ${(await source.fetch(wanted, AbortSignal.timeout(15_000))).secret.reveal()}`;
  } catch (fault) {
    return fault instanceof Error ? fault.message : String(fault);
  } finally {
    source.close();
  }
}

async function statusOf(namespace: string, name: string): Promise<{ status: string; reason: string; message: string }> {
  const found = await lab.get(`/apis/sidegate.dev/v1alpha1/namespaces/${namespace}/egresstargets/${name}`);
  const { conditions = [] } = (found["status"] ?? {}) as {
    conditions?: { status: string; reason: string; message: string }[];
  };
  return conditions[0] ?? { status: "", reason: "", message: "" };
}

beforeAll(async () => {
  if (!POSSIBLE) return;
  lab = await startLab();
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-credentials-"));
  const file = path.join(folder, "injection.yaml");
  writeFileSync(file, INJECTION);
  for (const name of ["elsewhere", "vault"]) lab.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
  lab.apply({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: "elsewhere" } });
  const dns = {
    metadata: { name: "kube-dns", namespace: "kube-system" },
    spec: { ports: [{ port: 53, protocol: "UDP" }] },
  };
  lab.apply({ apiVersion: "v1", kind: "Service", ...dns });
  const environment = {
    SIDEGATE_CLUSTER: "test",
    SIDEGATE_CALLER_ADDRESS: "any",
    SIDEGATE_CREDENTIAL_NAMESPACES: "team,vault",
    SIDEGATE_INJECTION: file,
  };
  controllers.push(lab.start("controller", "one", environment), lab.start("controller", "two", environment));
  const webhook = lab.start("webhook", "webhook", environment);
  ports = await Promise.all([...controllers.map((one) => one.port), webhook.port]);
  await until(20_000, "the runtime ConfigMap", async () => {
    const found = await lab.plane.call("GET", "/api/v1/namespaces/sidegate/configmaps/sidegate-runtime");
    const data = (found.body["data"] as Record<string, string> | undefined) ?? {};
    ca = data["ca.crt"] ?? "";
    publicPem = data["bundle-key.pem"] ?? "";
    return ca !== "";
  });
  lab.apply({
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata: { name: "targets" },
    webhooks: [
      {
        name: "targets.sidegate.dev",
        clientConfig: {
          url: `https://localhost:${ports[2] ?? 0}/policies`,
          caBundle: Buffer.from(ca).toString("base64"),
        },
        sideEffects: "None",
        admissionReviewVersions: ["v1"],
        failurePolicy: "Fail",
        rules: [
          {
            apiGroups: ["sidegate.dev"],
            apiVersions: ["*"],
            operations: ["CREATE", "UPDATE"],
            resources: ["egresstargets"],
          },
        ],
      },
    ],
  });
  lab.apply(secret("team", { password: PASSWORD }));
  await until(
    10_000,
    "the webhook",
    async () =>
      lab.kubectl(["apply", "-f", "-"], JSON.stringify(target("team", "db", { ...DB, credentialFrom: FROM }))).ok,
  );
  lab.apply(
    policy("db", "agent", 'allow if input.target.name == "db"\n\ncredential := "db" if input.target.name == "db"'),
  );
  lab.apply(policy("reads", "other", 'allow if input.target.name == "db"'));
});
afterAll(async () => {
  await lab?.stop();
  if (folder !== "") rmSync(folder, { recursive: true, force: true });
});
beforeEach((context) => requireThat(context, POSSIBLE, NEEDED));

describe("a credential of the cluster", () => {
  test("is handed out by every replica, out of a Secret that a target names, and the answer is not to be stored", async () => {
    const pod = await makePod("agent", "agent");
    const wanted = await wantedBy(pod);
    for (const replica of [0, 1]) {
      // A replica's watches may be a moment behind.
      await until(10_000, "the credential", async () => (await ask(pod, wanted, replica)) === `given: ${PASSWORD}`);
    }
    const headers = await headersOf(pod, wanted);
    expect(headers["cache-control"]).toBe("no-store");
    expect((await statusOf("team", "db")).message).toContain("with the credential db (password)");
  });

  test("that was changed in its Secret is heard of, and the next who asks gets the new one", async () => {
    const pod = await makePod("rotates", "agent");
    const wanted = await wantedBy(pod);
    const source = sourceOf(pod);
    await until(10_000, "the credential", async () => (await ask(pod, wanted)).startsWith("given"));
    const first = await source.fetch(wanted, AbortSignal.timeout(10_000));
    expect(first.secret.reveal()).toBe(PASSWORD);
    const heard = new Promise<readonly unknown[]>((resolve) => {
      source.onChanged((...what) => resolve(what));
    });
    const began = performance.now();
    lab.apply(secret("team", { password: NEXT }));
    expect(await heard).toEqual(["db", "db"]);
    console.log(`Secret changed to sidecar told: ${Math.round(performance.now() - began)} ms`);
    await until(5_000, "the new value", async () => (await ask(pod, wanted)) === `given: ${NEXT}`);
    source.close();
    lab.apply(secret("team", { password: PASSWORD }));
  });

  test("is not in any log of the controllers, nor in a bundle, nor in a status", async () => {
    const pod = await makePod("greps", "agent");
    await until(10_000, "the credential", async () => (await ask(pod, await wantedBy(pod))) === `given: ${PASSWORD}`);
    const statuses = JSON.stringify(await lab.get("/apis/sidegate.dev/v1alpha1/egresstargets"));
    const logs = JSON.stringify(controllers.map(({ lines }) => lines));
    expect(logs).toContain("credential given");
    const stored = JSON.stringify(await lab.get("/api/v1/namespaces/sidegate/secrets"));
    for (const text of [statuses, logs, stored])
      for (const value of [PASSWORD, NEXT])
        for (const form of [
          value,
          Buffer.from(value).toString("base64"),
          createHash("sha256").update(value).digest("hex"),
        ])
          expect(text.includes(form)).toBe(false);
  });
});

describe("C2: nobody else is given it", () => {
  test("a pod of another set, a pod of another namespace, a sidecar that was pointed elsewhere", async () => {
    const pod = await makePod("rightful", "agent");
    const wanted = await wantedBy(pod);
    await until(10_000, "the credential", async () => (await ask(pod, wanted)).startsWith("given"));
    const other = await makePod("other", "other");
    await wantedBy(other);
    expect(await ask(other, wanted)).toContain("no policy in force for this pod puts the credential db in");
    const stranger = await makePod("stranger", "agent", "elsewhere");
    await until(10_000, "the stranger is known", async () => !(await ask(stranger, wanted)).includes("not known"));
    expect(await ask(stranger, wanted)).toContain("this pod has no target db");
    expect(await ask(pod, { ...wanted, binding: "of-another-target" })).toContain("has just changed");
    expect(await ask(pod, { ...wanted, name: "billing" })).toContain("does not name the credential billing");
  });

  test("a token of another audience, of no pod, of a pod that is gone, one that was tampered with, and none at all", async () => {
    const pod = await makePod("tokens", "agent");
    const wanted = await wantedBy(pod);
    await until(10_000, "the credential", async () => (await ask(pod, wanted)).startsWith("given"));
    const refused = "is not handed out here";
    expect(await ask({ token: await tokenFor(pod, { audiences: ["api"] }) }, wanted)).toContain(refused);
    expect(await ask({ token: await tokenFor(null) }, wanted)).toContain(refused);
    const [head = "", claims = "", signature = ""] = pod.token.split(".");
    const other = JSON.parse(Buffer.from(claims, "base64url").toString()) as { exp: number };
    const later = Buffer.from(JSON.stringify({ ...other, exp: other.exp + 1 })).toString("base64url");
    expect(await ask({ token: [head, later, signature].join(".") }, wanted)).toContain(refused);
    expect(await ask({ token: "" }, wanted)).toContain(refused);
    const gone = await lab.plane.call("DELETE", "/api/v1/namespaces/team/pods/tokens?gracePeriodSeconds=0");
    expect(gone.status).toBe(200);
    expect(await ask(pod, wanted)).toMatch(/the pod is gone|not known/);
  });
});

describe("C1: who applies a target", () => {
  const SOMEBODY = { user: "mallory" };
  const TARGETS = "/apis/sidegate.dev/v1alpha1/namespaces/team/egresstargets";
  beforeAll(() => {
    if (!POSSIBLE) return;
    // May write targets in team, and read none of its Secrets but `own`.
    const role = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "author" };
    const kind = { apiVersion: "rbac.authorization.k8s.io/v1", metadata: { namespace: "team", name: "author" } };
    lab.apply({
      ...kind,
      kind: "Role",
      rules: [
        { apiGroups: ["sidegate.dev"], resources: ["egresstargets"], verbs: ["*"] },
        { apiGroups: [""], resources: ["secrets"], resourceNames: ["own"], verbs: ["get"] },
      ],
    });
    lab.apply({
      ...kind,
      kind: "RoleBinding",
      roleRef: role,
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "mallory" }],
    });
  });
  const make = async (name: string, spec: object): Promise<string> =>
    JSON.stringify((await lab.plane.call("POST", TARGETS, target("team", name, spec), SOMEBODY)).body);
  const MINE = { hosts: ["mine.example"], ports: [443], credential: "db" };

  test("may lend only a Secret that they may read, and may not point a target that has one elsewhere", async () => {
    expect(await make("steals", { ...MINE, credentialFrom: FROM })).toContain("mallory may not read Secret team/db");
    expect(await make("lends", { ...MINE, credentialFrom: { ...FROM, secret: { name: "own" } } })).toContain('"uid"');
    const moved = await lab.plane.call("PATCH", `${TARGETS}/db`, { spec: { hosts: ["mine.example"] } }, SOMEBODY);
    expect(JSON.stringify(moved.body)).toContain("mallory may not read Secret team/db");
    // What is no part of the spec is theirs to change.
    const labelled = await lab.plane.call("PATCH", `${TARGETS}/db`, { metadata: { labels: { a: "b" } } }, SOMEBODY);
    expect(labelled.status).toBe(200);
  });

  test("is told at once what is wrong with it", async () => {
    const refused = (spec: object, namespace = "team"): string =>
      lab.kubectl(["apply", "-f", "-"], JSON.stringify(target(namespace, "wrong", { ...MINE, ...spec }))).text;
    expect(refused({ credentialFrom: { ...FROM, secret: { name: "db", namespace: "vault" } } })).toContain(
      "only targets in namespace sidegate may name a Secret of another namespace",
    );
    expect(refused({ credentialFrom: FROM }, "elsewhere")).toContain(
      "add elsewhere to the chart's value credentials.namespaces",
    );
    expect(refused({ credentialFrom: FROM }, "sidegate")).toContain("has to name the namespace of its Secret");
    expect(
      refused({ credentialFrom: { ...FROM, secret: { name: "db", namespace: "sidegate" } } }, "sidegate"),
    ).toContain("never handed out");
    expect(refused({ credentialFrom: { kind: "header", secret: { name: "db" } } })).toContain(
      "kind header needs header",
    );
    expect(refused({ credentialFrom: { ...FROM, kind: "bearer" } })).toContain(
      "spec.credentialFrom.user: is not for kind bearer",
    );
    expect(refused({ hosts: ["*.mine.example"], credentialFrom: FROM })).toContain("a wildcard may not stand together");
    expect(refused({ credential: null, credentialFrom: FROM })).toContain("credentialFrom needs");
    expect(refused({ tls: "passthrough" })).toContain("nothing can be put into a connection that passes through");
    expect(refused({ credentialFrom: { kind: "bearr", secret: { name: "db" } } })).toContain("Unsupported value");
  });

  test("is told by the status what is missing, until it is there", async () => {
    lab.apply(
      target("sidegate", "vaulted", {
        ...DB,
        hosts: ["db.vault.svc"],
        credentialFrom: { ...FROM, secret: { name: "db", namespace: "vault" } },
      }),
    );
    await until(
      10_000,
      "missing",
      async () => (await statusOf("sidegate", "vaulted")).reason === "CredentialSecretMissing",
    );
    expect((await statusOf("sidegate", "vaulted")).message).toContain("kubectl -n vault create secret generic db");
    lab.apply(secret("vault", { user: "x" }));
    await until(
      10_000,
      "the key",
      async () => (await statusOf("sidegate", "vaulted")).reason === "CredentialKeyMissing",
    );
    lab.apply(secret("vault", { password: PASSWORD }));
    await until(10_000, "offered", async () => (await statusOf("sidegate", "vaulted")).reason === "Offered");
  });
});

/** Of a GET that hands it out. */
function headersOf(
  pod: Pod,
  { target: name, name: credential, binding }: WantedCredential,
): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const url = `https://localhost:${ports[0] ?? 0}${CREDENTIAL_PATH}/${name}/${credential}`;
    const headers = { authorization: `Bearer ${pod.token}`, "sidegate-binding": binding };
    request(url, { headers, ca }, (response) => {
      response.resume();
      resolve(response.headers);
    })
      .once("error", reject)
      .end();
  });
}
