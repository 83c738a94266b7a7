import { expect, test } from "vitest";
import type { KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import { fakeKube } from "../../test/support/kube.ts";
import { keepParameters } from "./parameter-keeper.ts";

const at = { namespace: "", name: "keep-configmap-parameters" };

interface Policy extends KubeObject {
  readonly spec: {
    readonly paramKind: object;
    readonly matchConstraints: { readonly resourceRules: readonly { readonly apiGroups: readonly string[] }[] };
  };
}

test("a policy with ConfigMap parameters stays that matches nothing of anybody's, made once", async () => {
  const kube = fakeKube();
  await keepParameters(kube, "sidegate");
  const made = await kube.get<Policy>(RESOURCE.admissionPolicy, at);
  expect(made?.spec.paramKind).toEqual({ apiVersion: "v1", kind: "ConfigMap" });
  expect(made?.spec.matchConstraints.resourceRules.flatMap(({ apiGroups }) => apiGroups)).toEqual([
    "nothing.sidegate.dev",
  ]);
  await keepParameters(kube, "sidegate");
  expect((await kube.get(RESOURCE.admissionPolicy, at))?.metadata.resourceVersion).toBe(made?.metadata.resourceVersion);
});

test("it is no release's: Helm does not take it away, and nobody who counts our guards counts it", async () => {
  const kube = fakeKube();
  await keepParameters(kube, "sidegate");
  for (const resource of [RESOURCE.admissionPolicy, RESOURCE.admissionBinding]) {
    const { metadata } = (await kube.get(resource, at)) ?? { metadata: { name: "" } };
    expect(metadata.name).toBe(at.name);
    expect(metadata.labels).toBeUndefined();
    expect(Object.keys(metadata.annotations ?? {})).toEqual(["sidegate.dev/about"]);
  }
});
