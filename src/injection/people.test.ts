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
  workloadStamps({ before, after, user, deployer: user === ARGO });

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

const podOf = (annotations: Record<string, string> = {}) => ({
  metadata: { annotations, ownerReferences: [{ kind: "ReplicaSet", name: "agent-1", controller: true }] },
});
const FORGED = { [creator]: "x", [workloadCreator]: "x", [templateWriter]: "x", [owner]: "x", [workload]: "x" };

test("a controller's pod has its workload's people; the owner only where a deployer made the workload", () => {
  const behind = { creator: ARGO, templateWriter: "bob", owner: "ada@example.com" };
  expect(podStamps(podOf(FORGED), POD_CONTROLLERS[0], behind, [ARGO])).toEqual({
    [creator]: POD_CONTROLLERS[0],
    [workload]: "ReplicaSet/agent-1",
    [workloadCreator]: ARGO,
    [templateWriter]: "bob",
    [owner]: "ada@example.com",
  });
  expect(podStamps(podOf(FORGED), POD_CONTROLLERS[0], behind, [])).toMatchObject({ [owner]: null });
});

test("THREATS P10: a person's own pod has no workload and no owner, whatever it says of itself; a deployer's may name an owner", () => {
  const nothing = { [workload]: null, [workloadCreator]: null, [templateWriter]: null };
  const behind = { creator: "ada", templateWriter: "ada", owner: "ada" };
  expect(podStamps(podOf(FORGED), "eve", behind, [ARGO])).toEqual({ ...nothing, [creator]: "eve", [owner]: null });
  expect(podStamps(podOf({ [owner]: "ada" }), ARGO, NOBODY, [ARGO])).toEqual({
    ...nothing,
    [creator]: ARGO,
    [owner]: "ada",
  });
});
