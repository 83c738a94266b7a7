/**
 * The house's table (docs/architecture.md) as a test: which module may import which. Reads imports with a parser, so a string or
 * a comment cannot fool it, and fails when it saw fewer files than exist.
 */
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { parseSync } from "oxc-parser";
import { expect, test } from "vitest";

const ALL = globSync("{cmd,src}/**/*.ts");
const SOURCES = ALL.filter((file) => !file.endsWith(".test.ts"));

interface Import {
  readonly from: string;
  readonly to: string; // a path inside the project, "node:…" or a package
  readonly typeOnly: boolean;
}

const IMPORTS_MAP = (JSON.parse(readFileSync("package.json", "utf8")) as { imports: Record<string, string> }).imports;

function resolveImport(from: string, specifier: string): string {
  if (specifier.startsWith(".")) return path.normalize(path.join(path.dirname(from), specifier));
  for (const [pattern, target] of Object.entries(IMPORTS_MAP)) {
    const prefix = pattern.slice(0, -1);
    if (specifier.startsWith(prefix)) return path.normalize(target.replace("*", specifier.slice(prefix.length)));
  }
  return specifier;
}

function importsOf(file: string): Import[] {
  const { module, program, errors } = parseSync(file, readFileSync(file, "utf8"));
  expect(errors, file).toEqual([]);
  const found: Import[] = [];
  for (const entry of module.staticImports)
    found.push({
      from: file,
      to: resolveImport(file, entry.moduleRequest.value),
      typeOnly: entry.entries.length > 0 && entry.entries.every((e) => e.isType),
    });
  for (const entry of module.staticExports)
    for (const e of entry.entries)
      if (e.moduleRequest !== null)
        found.push({ from: file, to: resolveImport(file, e.moduleRequest.value), typeOnly: e.isType });
  // import("…") with a literal: the module is loaded late, but it is an import all the same.
  const literal = /import\(\s*["']([^"']+)["']\s*\)/g;
  const text = readFileSync(file, "utf8");
  expect(program.body.length, file).toBeGreaterThan(0);
  for (const match of text.matchAll(literal)) {
    const specifier = match[1];
    if (specifier !== undefined) found.push({ from: file, to: resolveImport(file, specifier), typeOnly: false });
  }
  return found;
}

/** The module a file belongs to, as the table names it. */
function moduleOf(file: string): string {
  const parts = file.split(path.sep);
  if (parts[0] === "cmd") return "cmd";
  if (parts[1] !== "sidecar") return parts[1] ?? "";
  if (parts.length === 3) return "sidecar"; // pipeline.ts, compose.ts
  if (parts[2] === "lanes") return `sidecar/lanes/${parts[3]}`;
  return `sidecar/${parts[2]}`;
}

const PURE = ["core", "contract"];
const SHARED = [...PURE, "process", "mask", "sasl", "identity", "netfilter"];
const TABLE: Record<string, readonly string[]> = {
  core: [],
  contract: ["core"],
  process: PURE,
  mask: PURE,
  sasl: PURE,
  identity: PURE,
  netfilter: PURE,
  policy: [...PURE, "process", "identity"],
  audit: [...PURE, "process", "identity"],
  approval: [...PURE, "process", "identity"],
  injection: PURE,
  kube: [...PURE, "process"],
  webhook: [...SHARED, "policy", "audit", "approval", "injection", "kube"],
  controller: [...SHARED, "policy", "audit", "approval", "injection", "kube"],
  collector: [...SHARED, "policy", "audit", "approval", "injection", "kube"],
  // The person on call looks at what injection and the controller would make of the cluster, by their own functions.
  oncall: [...SHARED, "injection", "kube", "controller"],
  "sidecar/seam": PURE,
};
const ROOM = [...PURE, "process", "policy", "audit", "approval", "identity", "sidecar/seam"];
// How a lane takes what its agent sends is the same for all of them.
const LANE = [...PURE, "mask", "sasl", "sidecar/seam", "sidecar/intake"];
/** pipeline.ts and compose.ts join the rooms. */
const ANYTHING = new Set(["cmd", "sidecar"]);
const LOCAL_NOT = ["webhook", "controller", "kube"];

function allowed(from: string, to: string): boolean {
  if (from === to || ANYTHING.has(from)) return true;
  if (from === "local") return !LOCAL_NOT.includes(to);
  if (from.startsWith("sidecar/lanes/")) return LANE.includes(to);
  const row = TABLE[from];
  if (row !== undefined) return row.includes(to);
  if (from.startsWith("sidecar/")) return ROOM.includes(to);
  return false;
}

const IMPORTS = SOURCES.flatMap(importsOf);

test("reads the imports of every source file", () => {
  expect(SOURCES.length).toBe(globSync("{cmd,src}/**/*.ts").length - globSync("{cmd,src}/**/*.test.ts").length);
  expect(SOURCES.length).toBeGreaterThan(15);
  expect(IMPORTS.length).toBeGreaterThan(20);
});

test("no module imports what the table forbids", () => {
  const bad = IMPORTS.filter((i) => i.to.startsWith("src/") || i.to.startsWith("cmd/"))
    .filter((i) => !allowed(moduleOf(i.from), moduleOf(i.to)))
    .map((i) => `${i.from} -> ${i.to}`);
  expect(bad).toEqual([]);
});

test("no lane imports a socket", () => {
  const sockets = /^(node:)?(net|tls|http|https|http2|dgram)$/;
  const permitted = new Map([
    ["src/sidecar/lanes/http/h2", /^node:http2$/],
    ["src/sidecar/lanes/ssh", /^ssh2$/],
  ]);
  const bad = IMPORTS.filter((i) => i.from.startsWith("src/sidecar/lanes/") && sockets.test(i.to))
    .filter((i) => ![...permitted].some(([folder, what]) => i.from.startsWith(folder) && what.test(i.to)))
    .map((i) => `${i.from} -> ${i.to}`);
  expect(bad).toEqual([]);
});

test("the seam has types only, and only the kube module imports the Kubernetes client", () => {
  const bad = IMPORTS.filter(
    (i) =>
      (i.to === "@kubernetes/client-node" && !i.from.startsWith("src/kube/")) ||
      (i.from.startsWith("src/sidecar/seam/") && !i.typeOnly),
  ).map((i) => `${i.from} -> ${i.to}`);
  expect(bad).toEqual([]);
  for (const file of SOURCES.filter((f) => f.startsWith("src/sidecar/seam/"))) {
    const { program } = parseSync(file, readFileSync(file, "utf8"));
    for (const node of program.body)
      expect(
        ["ImportDeclaration", "ExportNamedDeclaration", "TSInterfaceDeclaration", "VariableDeclaration"],
        file,
      ).toContain(node.type);
  }
});

test("process.env is read in cmd only", () => {
  const bad = SOURCES.filter((f) => !f.startsWith("cmd/") && /process\.env\b/.test(readFileSync(f, "utf8")));
  expect(bad).toEqual([]);
});

test("modules form no cycle", () => {
  const edges = new Map<string, Set<string>>();
  for (const i of IMPORTS.filter((x) => x.to.startsWith("src/"))) {
    const set = edges.get(i.from) ?? new Set<string>();
    set.add(i.to);
    edges.set(i.from, set);
  }
  const done = new Set<string>();
  const walk = (file: string, trail: readonly string[]): void => {
    if (trail.includes(file)) throw new Error(`cycle: ${[...trail.slice(trail.indexOf(file)), file].join(" -> ")}`);
    if (done.has(file)) return;
    for (const next of edges.get(file) ?? []) walk(next, [...trail, file]);
    done.add(file);
  };
  expect(() => {
    for (const file of edges.keys()) walk(file, []);
  }).not.toThrow();
});
