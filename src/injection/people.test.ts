import { expect, test } from "vitest";
import { ANNOTATION } from "#contract/names.ts";
import { POD_CONTROLLERS } from "./owner.ts";
import { NOBODY, podStamps, workloadStamps } from "./people.ts";

const { creator, templateWriter, owner, workload, workloadCreator } = ANNOTATION;
const ARGO = "system:serviceaccount:argocd:argocd";
const stamped = (annotations: Record<string, string>, template: object = { spec: { image: "a:1" } }) => ({
  metadata: { annotations },
  spec: { template },
});
const write = (before: unknown, after: unknown, user: string) =>
  workloadStamps({ before, after, user, deployer: user === ARGO, optedIn: true });

test("who makes a workload is its creator and its template's writer, whatever the manifest says", () => {
  const forged = stamped({ [creator]: "bob", [templateWriter]: "bob", [owner]: "bob" });
  expect(write(null, forged, "alice")).toEqual({ [creator]: "alice", [templateWriter]: "alice", [owner]: null });
});

test("who changes the template is its writer; who changes something else is not; the creator stays", () => {
  const before = stamped({ [creator]: "alice", [templateWriter]: "alice" });
  const forged = { [creator]: "bob", [templateWriter]: "carol" };
  expect(write(before, stamped(forged, { spec: { image: "b:2" } }), "bob")).toEqual({
    [creator]: "alice",
    [templateWriter]: "bob",
    [owner]: null,
  });
  expect(write(before, stamped(forged), "bob")).toMatchObject({ [creator]: "alice", [templateWriter]: "alice" });
  const cron = (image: string) => ({ metadata: before.metadata, spec: { jobTemplate: { image } } });
  expect(write(cron("a:1"), cron("b:2"), "bob")).toMatchObject({ [templateWriter]: "bob" });
});

test("a workload from before the installation has no creator, and nobody can make himself its creator", () => {
  expect(write(stamped({}), stamped({ [creator]: "bob" }), "bob")).toMatchObject({ [creator]: null });
});

test("a deployer names the owner, and may change it; nobody else can, nor take it away", () => {
  const made = stamped({ [owner]: "ada@example.com" });
  expect(write(null, made, ARGO)).toEqual({ [creator]: ARGO, [templateWriter]: ARGO, [owner]: "ada@example.com" });
  expect(write(made, stamped({ [owner]: "eve" }), "eve")).toMatchObject({ [owner]: "ada@example.com" });
  expect(write(made, stamped({}), "eve")).toMatchObject({ [owner]: "ada@example.com" });
  expect(write(made, stamped({ [owner]: "bob" }), ARGO)).toMatchObject({ [owner]: "bob" });
});

test("THREATS P10: stamps that an author wrote while nobody looked count for nothing once the template asks for the gateway", () => {
  const forged = { [creator]: "grace", [templateWriter]: "grace", [owner]: "grace" };
  const asking = (image: string) => ({ metadata: { labels: { "sidegate.dev/inject": "true" } }, spec: { image } });
  const elsewhere = (before: unknown, after: unknown) =>
    workloadStamps({ before, after, user: "eve", deployer: false, optedIn: false });
  const nobody = { [creator]: null, [templateWriter]: "eve", [owner]: null };
  expect(elsewhere(stamped(forged), stamped(forged, asking("a:1")))).toEqual(nobody);
  const cron = (template: object) => ({
    metadata: { annotations: forged },
    spec: { jobTemplate: { spec: { template } } },
  });
  expect(elsewhere(cron({}), cron(asking("a:1")))).toEqual(nobody);
  const made = { [creator]: "ada", [templateWriter]: "ada" };
  expect(elsewhere(stamped(made, asking("a:1")), stamped(forged, asking("b:2")))).toEqual({
    [creator]: "ada",
    [templateWriter]: "eve",
    [owner]: null,
  });
  // Where the whole namespace has opted in, each write was looked at.
  expect(write(stamped(made), stamped(made, asking("a:1")), "eve")).toMatchObject({ [creator]: "ada" });
});

test("THREATS P10: where nobody asks for the gateway a workload bears no stamps, so that none is believed when its namespace opts in", () => {
  const forged = stamped({ [creator]: "grace", [templateWriter]: "grace", [owner]: "grace" });
  const asking = stamped({ [creator]: "ada" }, { metadata: { labels: { "sidegate.dev/inject": "true" } } });
  for (const before of [null, stamped({}), forged, asking])
    expect(workloadStamps({ before, after: forged, user: "eve", deployer: false, optedIn: false })).toEqual({
      [creator]: null,
      [templateWriter]: null,
      [owner]: null,
    });
});

test("a workload's owner counts only where the whole namespace has opted in", () => {
  const behind = { creator: ARGO, templateWriter: ARGO, owner: "ada" };
  const made = { user: POD_CONTROLLERS[0], behind, deployers: [ARGO] };
  expect(podStamps(podOf(), { ...made, optedIn: true })).toMatchObject({ [owner]: "ada" });
  expect(podStamps(podOf(), { ...made, optedIn: false })).toMatchObject({ [owner]: null });
});

const podOf = (annotations: Record<string, string> = {}) => ({
  metadata: { annotations, ownerReferences: [{ kind: "ReplicaSet", name: "agent-1", controller: true }] },
});
const FORGED = { [creator]: "x", [workloadCreator]: "x", [templateWriter]: "x", [owner]: "x", [workload]: "x" };

test("a controller's pod has its workload's people; the owner only where a deployer made the workload", () => {
  const behind = { creator: ARGO, templateWriter: "bob", owner: "ada@example.com" };
  expect(podStamps(podOf(FORGED), { user: POD_CONTROLLERS[0], behind, deployers: [ARGO], optedIn: true })).toEqual({
    [creator]: POD_CONTROLLERS[0],
    [workload]: "ReplicaSet/agent-1",
    [workloadCreator]: ARGO,
    [templateWriter]: "bob",
    [owner]: "ada@example.com",
  });
  expect(podStamps(podOf(FORGED), { user: POD_CONTROLLERS[0], behind, deployers: [], optedIn: true })).toMatchObject({
    [owner]: null,
  });
});

test("THREATS P10: a person's own pod has no workload and no owner, whatever it says of itself; a deployer's may name an owner", () => {
  const nothing = { [workload]: null, [workloadCreator]: null, [templateWriter]: null };
  const behind = { creator: "ada", templateWriter: "ada", owner: "ada" };
  expect(podStamps(podOf(FORGED), { user: "eve", behind, deployers: [ARGO], optedIn: true })).toEqual({
    ...nothing,
    [creator]: "eve",
    [owner]: null,
  });
  expect(
    podStamps(podOf({ [owner]: "ada" }), { user: ARGO, behind: NOBODY, deployers: [ARGO], optedIn: false }),
  ).toEqual({
    ...nothing,
    [creator]: ARGO,
    [owner]: "ada",
  });
});
