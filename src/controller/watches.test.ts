import { afterEach, expect, test } from "vitest";
import type { KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import { fakeKube } from "../../test/support/kube.ts";
import { createKnown } from "./fleet.ts";
import { leftOutFreeze } from "./left-out.ts";
import { watchAll } from "./watches.ts";

const abort = new AbortController();
afterEach(() => abort.abort());

const freeze = (namespace: string, name: string): KubeObject =>
  ({ metadata: { namespace, name, uid: `${namespace}-${name}` }, spec: { by: "ada", reason: "odd" } }) as KubeObject;

test("a tenant who makes more freezes than are kept hides no freeze of the cluster or of another tenant; his own agents are frozen", async () => {
  const kube = fakeKube();
  const own = "sidegate";
  kube.seed(
    RESOURCE.freeze,
    Array.from({ length: 10_001 }, (_, n) => freeze("a-tenant", `f${n}`)),
  );
  kube.seed(RESOURCE.freeze, [freeze(own, "all"), freeze("b-tenant", "f")]);
  const known = createKnown();
  const faults: string[] = [];
  const left: string[] = [];
  await watchAll({
    kube,
    known,
    own,
    clock: { wallMs: () => 0, elapsedMs: () => 0 },
    changed: () => undefined,
    leftOut: (namespace, kind) => void left.push(`${namespace} ${kind}`),
    onFault: (fault) => void faults.push(String(fault)),
    signal: abort.signal,
  });
  expect(known.freezes.get(`${own}/all`)?.frozen.scope).toBe("all");
  expect([...known.freezes.keys()].sort()).toEqual(["b-tenant/f", "sidegate/all"]);
  expect(left).toEqual(["a-tenant freezes"]);
  expect(faults).toEqual([expect.stringContaining("none of namespace a-tenant is seen")]);
  expect(leftOutFreeze(known.leftOut, "a-tenant")).toMatchObject({ scope: "namespace", by: "the gateway" });
  expect(leftOutFreeze(known.leftOut, "b-tenant")).toBeNull();
});
