import { expect, test } from "vitest";
import type { KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import { fakeKube } from "../../test/support/kube.ts";
import { readDesired, restore } from "./guard.ts";

const MANIFEST = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: sidegate, labels: {from: chart}}
webhooks:
  - name: inject.sidegate.dev
    failurePolicy: Fail
    clientConfig: {service: {name: hook, namespace: sidegate}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: lock}
spec: {failurePolicy: Fail}
`;

interface Hooks extends KubeObject {
  readonly webhooks: readonly {
    readonly failurePolicy: string;
    readonly clientConfig: { readonly caBundle?: string };
  }[];
}

function setUp() {
  const kube = fakeKube();
  const restored: string[] = [];
  const told: string[] = [];
  const desired = readDesired({ "all.yaml": MANIFEST });
  const options = {
    kube,
    tell: ({ message }: { message: string }) => void told.push(message),
    restored: (_resource: unknown, name: string, how: string, by: string) => void restored.push(`${name} ${how} ${by}`),
  };
  const put = async (ca = "CA-1", mayCreate = true) => {
    for (const one of desired) await restore(options, one, { ca, seen: null, mayCreate });
  };
  const hooks = () => kube.get<Hooks>(RESOURCE.mutatingWebhook, { namespace: "", name: "sidegate" });
  return { kube, restored, told, put, hooks, options, desired };
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");

test("P14: what is missing is made, with our authority, and what somebody changed is as it was", async () => {
  const { kube, restored, put, hooks } = setUp();
  await put();
  expect((await hooks())?.webhooks[0]?.clientConfig.caBundle).toBe(base64("CA-1"));
  await kube.patch(RESOURCE.mutatingWebhook, { namespace: "", name: "sidegate" }, { webhooks: [] });
  await kube.patch(RESOURCE.admissionPolicy, { namespace: "", name: "lock" }, { spec: { failurePolicy: "Ignore" } });
  restored.length = 0;
  await put();
  expect(restored).toEqual(["sidegate changed ", "lock changed "]);
  expect((await hooks())?.webhooks[0]?.failurePolicy).toBe("Fail");
});

test("an authority that a rotation made longer is put in without an alarm", async () => {
  const { restored, put, hooks } = setUp();
  await put();
  restored.length = 0;
  await put("CA-1CA-2");
  expect((await hooks())?.webhooks[0]?.clientConfig.caBundle).toBe(base64("CA-1CA-2"));
  expect(restored).not.toContain("sidegate changed ");
});

test("another authority that somebody wrote is an alarm", async () => {
  const { kube, restored, put } = setUp();
  await put();
  const webhooks = [{ name: "inject.sidegate.dev", failurePolicy: "Fail", clientConfig: { caBundle: base64("EVIL") } }];
  await kube.patch(RESOURCE.mutatingWebhook, { namespace: "", name: "sidegate" }, { webhooks });
  restored.length = 0;
  await put();
  expect(restored).toContain("sidegate changed ");
});

test("what the installer wrote beside stays, also when the object is made anew", async () => {
  const { kube, options, desired, hooks } = setUp();
  const [one] = desired;
  if (one === undefined) throw new Error("nothing desired");
  const annotations = { "meta.helm.sh/release-name": "gateway" };
  kube.seed(RESOURCE.mutatingWebhook, [{ metadata: { name: "sidegate", annotations } }]);
  const seen = await restore(options, one, { ca: "CA", seen: null, mayCreate: false });
  await kube.remove(RESOURCE.mutatingWebhook, { namespace: "", name: "sidegate" });
  await restore(options, one, { ca: "CA", seen, mayCreate: false });
  expect((await hooks())?.metadata).toMatchObject({ annotations, labels: { from: "chart" } });
});

test("an object that nobody installed yet is left to who installs it", async () => {
  const { put, hooks } = setUp();
  await put("CA", false);
  expect(await hooks()).toBeNull();
});

test("a manifest of another kind is refused", () => {
  expect(() => readDesired({ "a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n" })).toThrow(
    /Secret is not guarded/,
  );
});

test("what was put back belongs to who installed it again, so that a helm upgrade finds no conflict", async () => {
  const { kube, options, desired } = setUp();
  const lock = desired.find(({ resource }) => resource === RESOURCE.admissionPolicy);
  if (lock === undefined) throw new Error("the manifest has a policy");
  const installed = {
    ...lock.object,
    metadata: { ...lock.object.metadata, labels: { "app.kubernetes.io/managed-by": "Helm" } },
  };
  await kube.create(RESOURCE.admissionPolicy, installed);
  const seen = await restore(options, lock, { ca: "CA", seen: null, mayCreate: false });
  kube.calls.clear();
  await kube.remove(RESOURCE.admissionPolicy, { namespace: "", name: "lock" });
  await restore(options, lock, { ca: "CA", seen, mayCreate: true });
  expect(kube.calls.get("apply as helm validatingadmissionpolicies")).toBe(1);
});
