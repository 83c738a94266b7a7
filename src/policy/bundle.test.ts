import { expect, test } from "vitest";
import { assembleBundle, type BundleParts, makeRunKey } from "./assemble.ts";
import { type BundleTrust, openBundle } from "./bundle.ts";
import { writeManifest } from "./manifest.ts";
import { SIGNATURES, signFiles } from "./signature.ts";
import { readArchive, writeArchive } from "./tar.ts";

const KEY = makeRunKey();
const TRUST: BundleTrust = { keys: [KEY.trusted], scope: "team-a/billing" };
const PARTS: BundleParts = {
  wasm: Buffer.from("module"),
  data: { sidegate: { targets: {} } },
  metadata: {
    reads: ["http.method"],
    mayHold: false,
    mayMask: false,
    settings: { mode: "enforce", denialDetail: "full" },
    policies: [{ name: "a", mode: "enforce", scope: "namespace" }],
    rules: [{ policy: "a", rule: "allow", code: null, file: "a.rego", line: 3 }],
  },
};

function bundle(
  change: { scope?: string; sequence?: number; notAfterMs?: number | null; parts?: BundleParts } = {},
): Uint8Array {
  const claims = { scope: "team-a/billing", sequence: 5, notAfterMs: null, ...change };
  return assembleBundle(change.parts ?? PARTS, claims, KEY.signing).archive;
}

test("a good bundle is opened, with its claims, manifest and data", () => {
  expect(openBundle(bundle(), TRUST, null, 0)).toMatchObject({
    kind: "open",
    claims: { scope: "team-a/billing", sequence: 5, notAfterMs: null },
    manifest: { metadata: PARTS.metadata },
    data: PARTS.data,
  });
});

test("E3: another pod's bundle is refused, however well signed", () => {
  expect(openBundle(bundle({ scope: "team-b/billing" }), TRUST, null, 0)).toMatchObject({ code: "bundle_scope" });
});

test("E3: an old signed bundle is refused, also under the same sequence with other content", () => {
  const inForce = {
    sequence: 5,
    revision: assembleBundle(PARTS, { scope: "x", sequence: 0, notAfterMs: null }, KEY.signing).revision,
  };
  expect(openBundle(bundle({ sequence: 4 }), TRUST, inForce, 0)).toMatchObject({ code: "bundle_older" });
  expect(openBundle(bundle({ sequence: 5 }), TRUST, inForce, 0)).toMatchObject({ kind: "open" });
  expect(openBundle(bundle({ sequence: 6 }), TRUST, inForce, 0)).toMatchObject({ kind: "open" });
  const other = bundle({ parts: { ...PARTS, data: { sidegate: { targets: { x: {} } } } } });
  expect(openBundle(other, TRUST, inForce, 0)).toMatchObject({ code: "bundle_older" });
});

test("E3: a bundle is not taken after its end", () => {
  const archive = bundle({ notAfterMs: 10_000 });
  expect(openBundle(archive, TRUST, null, 10_000)).toMatchObject({ kind: "open" });
  expect(openBundle(archive, TRUST, null, 10_001)).toMatchObject({ code: "bundle_expired" });
});

test("E3: a swapped file is refused before it is read", () => {
  for (const name of ["policy.wasm", "data.json", ".manifest"]) {
    const files = readArchive(bundle());
    files.set(name, Buffer.from('{"evil":1}'));
    expect(openBundle(writeArchive(files), TRUST, null, 0), name).toMatchObject({
      kind: "refused",
      code: "bundle_file",
    });
  }
});

test("E3: a signed bundle that lacks a file is refused", () => {
  for (const name of ["policy.wasm", "data.json", ".manifest"]) {
    const files = readArchive(bundle());
    files.delete(name);
    files.delete(SIGNATURES);
    files.set(
      SIGNATURES,
      Buffer.from(signFiles(files, { scope: TRUST.scope, sequence: 9, notAfterMs: null }, KEY.signing)),
    );
    expect(openBundle(writeArchive(files), TRUST, null, 0), name).toMatchObject({ code: "bundle_malformed" });
  }
});

test("a bundle without our metadata counts as reading everything", () => {
  const files = readArchive(bundle());
  files.delete(SIGNATURES);
  files.set(".manifest", Buffer.from('{"revision":"r1","roots":["sidegate"]}'));
  files.set(
    SIGNATURES,
    Buffer.from(signFiles(files, { scope: TRUST.scope, sequence: 9, notAfterMs: null }, KEY.signing)),
  );
  expect(openBundle(writeArchive(files), TRUST, null, 0)).toMatchObject({
    kind: "open",
    manifest: {
      revision: "r1",
      metadata: { reads: null, mayHold: true, mayMask: true, settings: { mode: "enforce" } },
    },
  });
});

test("metadata of a wrong shape is refused, never taken by half", () => {
  const good = JSON.parse(writeManifest({ revision: "r", metadata: PARTS.metadata })) as {
    metadata: { sidegate: object };
  };
  for (const change of [
    { format: 2 },
    { reads: "all" },
    { reads: [7] },
    { settings: { mode: "off" } },
    { mayHold: 1 },
    { rules: [{}] },
  ]) {
    const files = readArchive(bundle());
    files.delete(SIGNATURES);
    const manifest = { ...good, metadata: { sidegate: { ...good.metadata.sidegate, ...change } } };
    files.set(".manifest", Buffer.from(JSON.stringify(manifest)));
    files.set(
      SIGNATURES,
      Buffer.from(signFiles(files, { scope: TRUST.scope, sequence: 9, notAfterMs: null }, KEY.signing)),
    );
    expect(openBundle(writeArchive(files), TRUST, null, 0), JSON.stringify(change)).toMatchObject({
      code: "bundle_malformed",
    });
  }
});

test("bytes that are no archive are refused", () => {
  for (const bytes of [new Uint8Array(0), Buffer.from("hello"), bundle().subarray(0, 100)])
    expect(openBundle(bytes, TRUST, null, 0)).toMatchObject({ kind: "refused", code: "bundle_malformed" });
});

test("equal content has an equal revision, other content another", () => {
  const claims = { scope: "x", sequence: 1, notAfterMs: null };
  const revision = (parts: BundleParts): string => assembleBundle(parts, claims, KEY.signing).revision;
  expect(revision(PARTS)).toBe(revision({ ...PARTS }));
  expect(revision(PARTS)).not.toBe(revision({ ...PARTS, data: {} }));
  expect(revision(PARTS)).not.toBe(revision({ ...PARTS, metadata: { ...PARTS.metadata, mayHold: true } }));
});
