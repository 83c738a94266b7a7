import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { certificateFor } from "../../test/support/sidecar-upstream.ts";
import { openClusterParts, readServing } from "./cluster-parts.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "cluster-parts-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("half of a rotation is no certificate to serve with", () => {
  const [before, after] = [certificateFor("localhost"), certificateFor("localhost")];
  expect(readServing([before.cert, before.key]).endsMs).toBeGreaterThan(0);
  expect(() => readServing([after.cert, before.key])).toThrow(/mismatch/);
  expect(() => readServing(["not PEM", before.key])).toThrow(/PEM/i);
});

test("a pod without a token of its own takes records, and says why nobody can read them", async () => {
  const { cert, key } = certificateFor("localhost");
  writeFileSync(path.join(folder, "tls.crt"), cert);
  writeFileSync(path.join(folder, "tls.key"), key);
  writeFileSync(path.join(folder, "jwks.json"), '{"keys":[]}');
  const said: string[] = [];
  const parts = await openClusterParts(
    {
      certificates: folder,
      tokenKeys: path.join(folder, "jwks.json"),
      tokenIssuer: "i",
      issuers: "",
      cluster: "c",
      actors: [],
      retention: "",
      retainSeconds: 0,
      maxBytes: 0,
      verifySeconds: 0,
      kubeconfig: "",
      apiHost: "192.0.2.1",
      apiPort: "443",
    },
    (event, { why }) => void said.push(`${event}: ${String(why)}`),
    () => {
      throw new Error("nobody reads");
    },
  );
  try {
    expect(parts.options.kube).toBe(null);
    expect(said).toEqual([expect.stringMatching(/^nobody can read: .*ENOENT/)]);
  } finally {
    parts.close();
  }
});
