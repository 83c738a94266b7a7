import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeAll, expect, test } from "vitest";
import { OPA_TIMEOUT_MS, opaForTests } from "../../../test/support/policy-texts.ts";
import { writeNewFiles } from "./init.ts";
import { type Observed, readObserved, readObservedLines } from "./observed.ts";
import { replay } from "./replay.ts";
import { suggest } from "./suggest.ts";
import { suggestionManifests } from "./suggest-manifests.ts";

const OPTIONS = { name: "suggested", known: [], extend: false };
let opa: string;
beforeAll(async () => {
  opa = await opaForTests();
}, OPA_TIMEOUT_MS);

const cleanups: string[] = [];
afterEach(async () => {
  for (const folder of cleanups.splice(0)) await rm(folder, { recursive: true, force: true });
});

function request(host: string, method: string, path: string, change: object = {}): Observed {
  const segments = path === "/" ? [] : path.slice(1).split("/");
  return {
    op: {
      v: 1,
      protocol: "http",
      action: method === "GET" ? "read" : "write",
      complete: true,
      target: { name: null, host, port: 443, labels: {} },
      run: null,
      http: {
        method,
        scheme: "https",
        host,
        path,
        segments,
        query: {},
        headers: {},
        contentType: null,
        contentLength: null,
        truncated: false,
      },
      ...change,
    },
    verdict: "allow",
    code: "",
    wouldDeny: true,
    deniedBy: "",
  };
}

function connect(host: string, port = 443): Observed {
  const { op } = request(host, "GET", "/");
  const { http: _http, ...rest } = op;
  return {
    op: {
      ...rest,
      action: "connect",
      protocol: "tls",
      target: { name: null, host, port, labels: {} },
      tls: { sni: host, alpn: [], intercepted: true },
    },
    verdict: "allow",
    code: "",
    wouldDeny: true,
    deniedBy: "",
  };
}

async function enforced(observed: readonly Observed[]): Promise<Awaited<ReturnType<typeof replay>>> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sidegate-suggest-"));
  cleanups.push(folder);
  expect(await writeNewFiles(folder, suggest(observed, OPTIONS).files)).toBeNull();
  return replay(observed, {
    folder,
    base: null,
    library: path.resolve("policies"),
    inForce: null,
    opa,
    tmp: os.tmpdir(),
    most: 1_000,
  });
}

const SEEN = [
  connect("api.example.com"),
  request("api.example.com", "GET", "/v1/models"),
  request("api.example.com", "POST", "/v1/chat/completions"),
  request("api.example.com", "GET", "/v1/files/7"),
  request("api.example.com", "GET", "/v1/files/8"),
  connect("docs.example.com"),
  request("docs.example.com", "GET", "/"),
  request("docs.example.com", "GET", "/guide/"),
  request("docs.example.com", "HEAD", '/ü/"quoted"/a\\b/{x}', { action: "read" }),
];

test("enforced, what was suggested gives the same agent no denial, and its tests hold", async () => {
  expect(await enforced(SEEN)).toEqual({ kind: "replayed", replayed: SEEN.length, denied: [] });
});

test("the suggestion is narrow: another method, path, host or verb is still denied", async () => {
  const strangers = [
    request("api.example.com", "DELETE", "/v1/files/7"),
    request("api.example.com", "GET", "/v1/secrets"),
    request("api.example.com", "GET", "/v1/files/7/content"),
    request("evil.example.com", "GET", "/v1/models"),
  ];
  const folder = await mkdtemp(path.join(os.tmpdir(), "sidegate-suggest-"));
  cleanups.push(folder);
  await writeNewFiles(folder, suggest(SEEN, OPTIONS).files);
  const replayed = await replay(strangers, {
    folder,
    base: null,
    library: path.resolve("policies"),
    inForce: null,
    opa,
    tmp: os.tmpdir(),
    most: 100,
  });
  expect(replayed).toMatchObject({ replayed: 4 });
  expect(replayed.kind === "replayed" && replayed.denied).toHaveLength(4);
});

test("what an agent names itself cannot become Rego", async () => {
  const evil = ['/x"\n}\nallow if true\n#', '/$"{input}"', "/`raw`", "/\\u0022", "/a\u2028allow if true"].map((path) =>
    request("api.example.com", "GET", path),
  );
  const { files } = suggest(evil, OPTIONS);
  const policy = files.find((file) => file.name === "suggested.rego")?.text ?? "";
  expect(policy.match(/^allow if \{$/gm)).toHaveLength(evil.length);
  expect(policy).not.toMatch(/^allow if true/m);
  expect(await enforced(evil)).toMatchObject({ denied: [] });
});

test("a target is made for each host, with the ports that were used; a private-looking name may lie in a private range", () => {
  const { files } = suggest(
    [connect("api.example.com", 443), connect("api.example.com", 8443), connect("db.internal", 443)],
    OPTIONS,
  );
  const targets = files.find((file) => file.name === "targets/suggested.yaml")?.text ?? "";
  expect(targets).toContain("name: api-example-com");
  expect(targets).toMatch(/- 443\n +- 8443/);
  expect(targets.match(/private: true/g)).toHaveLength(1);
});

test("authenticators, what was not understood and what was refused all the same are said, not suggested", () => {
  const seen = [
    request("api.example.com", "POST", "/token", { action: "credential" }),
    request("api.example.com", "GET", "/x", { complete: false }),
    { ...request("169.254.169.254", "GET", "/latest"), verdict: "deny", code: "metadata_address" },
    { ...request("169.254.169.254", "GET", "/latest"), verdict: "deny", code: "metadata_address" },
  ];
  const { files, notes, operations } = suggest(seen, OPTIONS);
  expect(files).toEqual([]);
  expect(operations).toBe(0);
  expect(notes).toHaveLength(3);
  expect(notes.join("\n")).toMatch(
    /authenticators[\s\S]*completely[\s\S]*169\.254\.169\.254:443 was refused.*\(2 times\)/,
  );
});

test("what the policy in force allows already is not suggested again", () => {
  const { files } = suggest([{ ...request("api.example.com", "GET", "/v1"), wouldDeny: false }], {
    ...OPTIONS,
    extend: true,
  });
  expect(files).toEqual([]);
});

test("a target that is there keeps its name and gets rules only", () => {
  const op = request("billing.test", "GET", "/v1/invoices").op;
  const seen: Observed = {
    op: { ...op, target: { name: "billing", host: "billing.test", port: 443, labels: {} } },
    verdict: "allow",
    code: "",
    wouldDeny: true,
    deniedBy: "",
  };
  const known = [{ name: "billing", hosts: ["billing.test"], ports: [443] }];
  const { files } = suggest([seen], { name: "suggested", known, extend: true });
  expect(files.map((file) => file.name)).toEqual(["suggested.rego", "suggested_test.rego"]);
});

test("a record's facts and the rest of it are one operation; other records and erased ones are left out", () => {
  const event = {
    kind: "op",
    verdict: "allow",
    erased: false,
    op: { protocol: "http", http: { method: "GET" }, rest: { http: { path: "/a" } } },
    decision: { would: { effect: "deny", reasons: [] } },
  };
  expect(readObserved(event)).toEqual({
    op: {
      protocol: "http",
      http: {
        method: "GET",
        path: "/a",
        segments: ["a"],
        query: {},
        headers: {},
        contentType: null,
        contentLength: null,
        truncated: false,
      },
    },
    verdict: "allow",
    code: "",
    wouldDeny: true,
    deniedBy: "",
  });
  expect(readObserved({ ...event, kind: "session" })).toBeNull();
  expect(readObserved({ ...event, erased: true })).toBeNull();
  for (const other of [null, 7, "x", [], {}]) expect(readObserved(other)).toBeNull();
  expect([...readObservedLines(`${JSON.stringify(event)}\n\n${JSON.stringify({ kind: "note" })}\n`)]).toHaveLength(1);
  expect(() => [...readObservedLines("{}\n{")]).toThrow("line 2");
});

test("what a policy's rule would have denied stays denied, and is said", async () => {
  const telemetry = {
    ...request("telemetry.example.com", "POST", "/v1/traces"),
    deniedBy: "telemetry/telemetry",
  };
  const { files, notes } = suggest([telemetry, request("api.example.com", "GET", "/v1/items")], OPTIONS);
  expect(files.some(({ text }) => text.includes("telemetry"))).toBe(false);
  expect(notes).toEqual(["telemetry.example.com:443 is denied by telemetry/telemetry, and stays so"]);
  expect(await enforced([telemetry, request("api.example.com", "GET", "/v1/items")])).toMatchObject({ denied: [] });
});

test("for a cluster it is one list to apply: the policy, and the targets that are not there yet", () => {
  const there = request("api.example.com", "GET", "/v1/items", {
    target: { name: "api", host: "api.example.com", port: 443 },
  });
  const seen = [there, request("new.example.com", "GET", "/v1/items")];
  const { files } = suggest(seen, OPTIONS);
  const manifests = suggestionManifests(files, seen, { name: OPTIONS.name, namespace: "shop" });
  const { items } = JSON.parse(manifests?.text ?? "") as {
    items: { kind: string; metadata: object; spec: { module?: string } }[];
  };
  expect(items.map(({ kind, metadata }) => [kind, metadata])).toEqual([
    ["EgressTarget", { name: "new-example-com", namespace: "shop" }],
    ["AgentPolicy", { name: "suggested", namespace: "shop" }],
  ]);
  expect(items[1]?.spec.module).toBe(files.find(({ name }) => name === "suggested.rego")?.text);
});
