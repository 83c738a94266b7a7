import { describe, expect, test } from "vitest";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import { KubeError, type KubeObject } from "#kube/port.ts";
import type { RawAnswer } from "#kube/raw.ts";
import { fakeKube } from "../../test/support/kube.ts";
import { observePolicy } from "../controller/observed.ts";
import { makeSet } from "../controller/policy-set.ts";
import { createCluster } from "./cluster.ts";
import { type RevisionsReading, readRevisions } from "./revisions.ts";

const NOW = Date.parse("2026-03-01T12:00:00Z");
const policy = {
  kind: "AgentPolicy",
  metadata: { namespace: "shop", name: "reads" },
  spec: { module: "package sidegate.policy.reads\nallow := true\n" },
} as unknown as KubeObject;
const SET = makeSet([observePolicy(policy)], "").id;
const pod = (name: string): KubeObject =>
  ({ metadata: { namespace: "shop", name }, status: { phase: "Running" } }) as KubeObject;
const page = (ageS: number): string =>
  `sidegate_policy_info{revision="abc",mode="enforce"} 1\nsidegate_policy_age_seconds ${ageS}\n`;

/** `written`: when the set's bundle was stored; null: it may not be asked for. */
async function read(
  pods: readonly KubeObject[],
  answer: (path: string) => Partial<RawAnswer> | null,
  written: string | null = "2026-03-01T11:00:00Z",
): Promise<RevisionsReading> {
  const kube = fakeKube();
  if (written === null) kube.list = () => Promise.reject(new KubeError(403, "Forbidden", "cannot list resource"));
  else {
    const labels = { "sidegate.dev/bundle": SET };
    const metadata = { namespace: "sidegate", name: `sidegate-bundle-${SET}`, labels, creationTimestamp: written };
    kube.seed(ADMIN_RESOURCE.secret, [{ metadata }]);
  }
  const cluster = createCluster(kube, ({ path }) => {
    const given = answer(path);
    if (given === null) return Promise.reject(new Error("timed out"));
    return Promise.resolve({ status: 200, text: "", dateMs: NOW, ...given });
  });
  const namespaces = new Map([["shop", { metadata: { name: "shop" } }]]);
  return readRevisions(pods, { cluster, own: "sidegate", namespaces, policies: [policy], targets: [], nowMs: NOW });
}

describe("a pod's policies", () => {
  test.each<readonly [string, Partial<RawAnswer> | null, string, RegExp]>([
    ["are those in force when they were loaded after the bundle was stored", { text: page(600) }, "current", /abc/],
    [
      "are older when they were loaded an hour before",
      { text: page(7_200) },
      "stale",
      /revision abc, there is a newer one/,
    ],
    ["are none where its sidecar has no bundle", { text: "sidegate_ready 0\n" }, "none", /everything is denied/],
    ["are not known where its sidecar does not answer", null, "silent", /does not answer/],
    ["are not known where it answers something else", { status: 503 }, "silent", /does not answer/],
  ])("%s", async (_what, answer, state, says) => {
    const { revisions, missing } = await read([pod("agent")], () => answer);
    expect(revisions).toMatchObject([{ state, says: expect.stringMatching(says) as string }]);
    expect(missing).toBe("");
  });

  test("that have just been replaced are given the time to arrive", async () => {
    const { revisions } = await read([pod("agent")], () => ({ text: page(7_200) }), "2026-03-01T11:59:50Z");
    expect(revisions).toMatchObject([{ state: "current" }]);
  });

  test("that may not be asked about are said to be missing, once", async () => {
    let asked = 0;
    const { revisions, missing } = await read(
      Array.from({ length: 100 }, (_, index) => pod(`agent-${index}`)),
      () => {
        asked++;
        return { status: 403 };
      },
    );
    expect(revisions).toEqual([]);
    expect(missing).toMatch(/may not get pods\/proxy/);
    expect(asked).toBeLessThan(20);
  });

  test("without the right to the bundles' times, only those without any policy are told apart", async () => {
    const { revisions, missing } = await read([pod("agent")], () => ({ text: page(7_200) }), null);
    expect(revisions).toMatchObject([{ state: "current" }]);
    expect(missing).toMatch(/may not list secrets in namespace sidegate/);
  });
});
