/** A freeze in a bundle's settings: nothing else of the bundle decides any more. */
import { expect, test } from "vitest";
import type { Frozen } from "#contract/freeze.ts";
import { assembleBundle, makeRunKey } from "./assemble.ts";
import { openBundle } from "./bundle.ts";
import { loadPolicy } from "./loaded.ts";
import { readManifest } from "./manifest.ts";

const key = makeRunKey();
const freeze: Frozen = {
  scope: "namespace",
  by: "ada@example.com",
  reason: 'it "spoke" to nobody we know',
  since: "2026-01-01T00:00:00Z",
  id: "f-1",
};

function frozenBundle(wasm: Uint8Array, data: Record<string, unknown>) {
  const { archive } = assembleBundle(
    {
      wasm,
      metadata: {
        reads: null,
        mayHold: true,
        mayMask: true,
        settings: { mode: "observe", denialDetail: "full", freeze },
        policies: [],
        rules: [],
      },
      data,
    },
    { scope: "s", sequence: 1, notAfterMs: null },
    key.signing,
  );
  const opened = openBundle(archive, { keys: [key.trusted], scope: "s" }, null, 0);
  if (opened.kind !== "open") throw new Error(opened.message);
  const loaded = loadPolicy(opened, { pod: {} });
  if ("kind" in loaded) throw new Error(loaded.message);
  return loaded;
}

const TARGETS = { sidegate: { targets: { api: { hosts: ["api.example"], ports: [443] } } } };

test("denies everything, in observe mode too, and says who froze it, why and since when", () => {
  const loaded = frozenBundle(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0), TARGETS);
  const decision = loaded.decide('"protocol":"http","action":"read"');
  expect(decision).toMatchObject({ effect: "deny", code: "frozen", would: null, credential: null });
  expect(decision.message).toContain(
    'This namespace was frozen by ada@example.com at 2026-01-01T00:00:00Z: it "spoke" to nobody we know',
  );
  expect(JSON.parse(`{${decision.text}}`)).toMatchObject({ code: "frozen" });
  expect(loaded.settings.mode).toBe("enforce");
  expect(loaded.targets.map(({ name }) => name)).toEqual(["api"]);
});

test("no module that does not compile, and no targets that cannot be read, keep a freeze out", () => {
  const loaded = frozenBundle(Buffer.from("no module"), { sidegate: { targets: { api: { hosts: 1 } } } });
  expect(loaded.decide("").code).toBe("frozen");
  expect(loaded.targets).toEqual([]);
});

test("a freeze of a shape that is not understood refuses the bundle, and the one before stays", () => {
  const text = (given: unknown): string =>
    JSON.stringify({
      revision: "r",
      metadata: {
        sidegate: {
          format: 1,
          reads: null,
          mayHold: true,
          mayMask: true,
          settings: { mode: "enforce", denialDetail: "full", freeze: given },
          policies: [],
          rules: [],
        },
      },
    });
  expect(readManifest(text(freeze)).metadata.settings.freeze).toEqual(freeze);
  for (const wrong of [null, true, {}, { ...freeze, scope: "some" }, { ...freeze, by: 1 }])
    expect(() => readManifest(text(wrong)), JSON.stringify(wrong)).toThrow(TypeError);
});
