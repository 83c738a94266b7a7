/**
 * Golden files: `golden/NAME.pod.yaml` → `NAME.patch.json`, or `NAME.denied.txt` where the pod is refused. What an author is warned of
 * stands in `NAME.warnings.txt`. `npx vitest run --project unit src/injection -u` rewrites them; a reviewer reads the difference.
 */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { applyPatch } from "rfc6902";
import { describe, expect, test } from "vitest";
import { parseAllDocuments, stringify } from "yaml";
import { injectManifest } from "./manifest.ts";
import { readOptions } from "./options.ts";
import { describeViolations } from "./violation.ts";

const FOLDER = path.join(import.meta.dirname, "golden");
const NAMES = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".pod.yaml"))
  .map((file) => file.slice(0, -".pod.yaml".length));

const UID = 1_947_264_001;
const drawUid = () => UID;

/** JSON as Biome writes it: a list of texts that fits stays on its line. */
function json(value: unknown): string {
  const text = JSON.stringify(value, null, 2);
  const list = /^(.*)\[\n\s+("[^"\n]*"(?:,\n\s+"[^"\n]*")*)\n\s+\](,?)$/gm;
  return `${text.replace(list, (whole, before: string, items: string, after: string) => {
    const line = `${before}[${items.replace(/,\n\s+/g, ", ")}]${after}`;
    return line.length <= 120 ? line : whole;
  })}\n`;
}

/** The first document may be `kind: Options`: what this case changes of the options. The last one is the manifest. */
function read(name: string) {
  const documents = parseAllDocuments(readFileSync(path.join(FOLDER, `${name}.pod.yaml`), "utf8")).map(
    (document): unknown => document.toJS(),
  );
  const { kind: _, ...changed } = documents.length > 1 ? (documents[0] as Record<string, unknown>) : {};
  const reading = readOptions({
    image: "registry.example/sidegate-proxy@sha256:aaaa",
    collector: { url: "https://sidegate-collector.sidegate.svc:8443", ca: "PEM of the control plane" },
    bundle: { url: "https://sidegate-controller.sidegate.svc:8443", configMap: "", publicKey: "PEM of the bundle key" },
    cluster: "test",
    resolvers: ["10.96.0.10"],
    ...changed,
  });
  if (reading.kind === "malformed") throw new Error(describeViolations(reading.violations));
  return { manifest: documents.at(-1), options: reading.options };
}

test("there are golden pods", () => {
  expect(NAMES.length).toBeGreaterThanOrEqual(21);
});

describe.each(NAMES)("%s", (name) => {
  const { manifest, options } = read(name);
  const injection = injectManifest(manifest, options, drawUid);
  const file = (ending: string) => path.join(FOLDER, `${name}.${ending}`);

  if (injection.kind === "denied") {
    test("is denied, naming each field", async () => {
      await expect(`${describeViolations(injection.violations)}\n`).toMatchFileSnapshot(file("denied.txt"));
    });
    return;
  }

  test("is patched as the golden file says", async () => {
    await expect(json(injection.patch)).toMatchFileSnapshot(file("patch.json"));
  });

  test("warns as the golden file says", async () => {
    if (injection.warnings.length === 0) return;
    await expect(`${describeViolations(injection.warnings)}\n`).toMatchFileSnapshot(file("warnings.txt"));
  });

  test("the injected pod is as the golden file says", async () => {
    if (name !== "plain") return;
    const patched = structuredClone(manifest);
    applyPatch(patched, structuredClone(injection.patch) as never);
    const text = `# plain.pod.yaml, injected: made by the test. Injecting it again changes nothing.\n${stringify(patched)}`;
    await expect(text).toMatchFileSnapshot(path.join(FOLDER, "already-injected.pod.yaml"));
  });

  test("once patched, it needs no patch", () => {
    const patched: unknown = structuredClone(manifest);
    const faults = applyPatch(patched, structuredClone(injection.patch) as never).filter((fault) => fault !== null);
    expect(faults).toEqual([]);
    const again = injectManifest(patched, options, () => UID + 1);
    expect(again).toMatchObject({ kind: "injected", patch: [] });
  });
});
