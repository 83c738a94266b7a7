import { afterEach, expect, test } from "vitest";
import type { KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import { fakeKube } from "../../test/support/kube.ts";
import { createKnown } from "./fleet.ts";
import { watchAll } from "./watches.ts";

const abort = new AbortController();
afterEach(() => abort.abort());

const freeze = (namespace: string, name: string): KubeObject =>
  ({ metadata: { namespace, name, uid: `${namespace}-${name}` }, spec: { by: "ada", reason: "odd" } }) as KubeObject;

test("a tenant who makes more freezes than are kept hides no freeze of the whole cluster, and stops nobody's start", async () => {
  const kube = fakeKube();
  const own = "sidegate";
  kube.seed(
    RESOURCE.freeze,
    Array.from({ length: 10_001 }, (_, n) => freeze("a-tenant", `f${n}`)),
  );
  kube.seed(RESOURCE.freeze, [freeze(own, "all")]);
  const known = createKnown();
  const faults: string[] = [];
  await watchAll({
    kube,
    known,
    own,
    clock: { wallMs: () => 0, elapsedMs: () => 0 },
    changed: () => undefined,
    onFault: (fault) => void faults.push(String(fault)),
    signal: abort.signal,
  });
  expect(known.freezes.get(`${own}/all`)?.frozen.scope).toBe("all");
  expect(known.freezes.size).toBe(10_001);
  expect(faults).toEqual([expect.stringContaining("more than 10000 freezes")]);
});
