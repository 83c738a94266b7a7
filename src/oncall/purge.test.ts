/** What a purge must not take away: a release that is installed, wherever it is, and what nobody was shown. */
import { expect, test } from "vitest";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import type { KubeObject } from "#kube/port.ts";
import { fakeKube } from "../../test/support/kube.ts";
import { createCluster } from "./cluster.ts";
import { planAgain, planPurge } from "./purge.ts";

const labels = { "app.kubernetes.io/name": "sidegate" };
const options = { namespace: "sidegate", keepRecord: false };
function world() {
  const kube = fakeKube();
  const cluster = createCluster(kube, () => Promise.reject(new Error("nobody is asked")));
  const seed = (resource: Parameters<typeof kube.seed>[0], metadata: KubeObject["metadata"]): void =>
    kube.seed(resource, [{ metadata }]);
  seed(ADMIN_RESOURCE.secret, { namespace: "sidegate", name: "sidegate-certificates" });
  return { cluster, seed };
}

test("a release in a namespace that nobody named is refused, by its name, whatever it is called", async () => {
  const { cluster, seed } = world();
  expect(await planPurge(cluster, options)).toMatchObject({ kind: "plan", leftovers: [{}] });
  seed(ADMIN_RESOURCE.deployment, { namespace: "other", name: "foreign" });
  expect(await planPurge(cluster, options)).toMatchObject({ kind: "plan" });
  seed(ADMIN_RESOURCE.deployment, { namespace: "egress", name: "gate-webhook", labels });
  expect(await planPurge(cluster, options)).toMatchObject({
    kind: "refused",
    why: "a release is still installed in namespace egress",
    names: ["Deployment egress/gate-webhook"],
  });
});

test("what came while a person was asked is refused: a release, and a volume that was not on the list", async () => {
  const { cluster, seed } = world();
  const plan = await planPurge(cluster, options);
  const shown = plan.kind === "plan" ? plan.leftovers : [];
  expect(await planAgain(cluster, options, shown)).toEqual(plan);
  seed(ADMIN_RESOURCE.claim, { namespace: "sidegate", name: "data", labels });
  expect(await planAgain(cluster, options, shown)).toMatchObject({
    kind: "refused",
    names: ["PersistentVolumeClaim sidegate/data"],
  });
  seed(ADMIN_RESOURCE.statefulSet, { namespace: "sidegate", name: "sidegate-collector", labels });
  expect(await planAgain(cluster, options, shown)).toMatchObject({
    names: ["StatefulSet sidegate/sidegate-collector"],
  });
});
