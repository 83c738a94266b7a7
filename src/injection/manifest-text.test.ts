import { expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { injectText } from "./manifest-text.ts";
import { readOptions } from "./options.ts";

const reading = readOptions({
  image: "proxy:1",
  collector: { url: "https://collector.example", ca: "" },
  bundle: { url: "https://bundles.example", publicKey: "PEM" },
});
if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
const { options } = reading;

let drawn = 1_900_000_000;
function inject(text: string) {
  return injectText(text, options, () => drawn++);
}
function injected(text: string): string {
  const injection = inject(text);
  if (injection.kind !== "injected") throw new Error(JSON.stringify(injection));
  return injection.text;
}

const POD = `# who owns this
apiVersion: v1
kind: Pod # a plain one
metadata: {name: agent}
spec:
  containers:
    # the agent itself
    - name: app
      image: a:1
      args: ["--port", '8080'] # quoted both ways
  volumes:
    - name: conf
      configMap: {name: conf, defaultMode: 0644}
`;

test("comments, quotes and order stay as they were", () => {
  const text = injected(POD);
  for (const kept of [
    "# who owns this",
    "kind: Pod # a plain one",
    "# the agent itself",
    `["--port", '8080'] # quoted both ways`,
  ])
    expect(text).toContain(kept);
  expect(text.indexOf("kind: Pod")).toBeLessThan(text.indexOf("metadata:"));
});

test("an octal mode is still octal", () => {
  expect(injected(POD)).toContain("defaultMode: 0644");
});

test("injecting the result again changes nothing", () => {
  const once = injected(POD);
  expect(injected(once)).toBe(once);
});

test("every kind of workload is injected, and what is none is left alone", () => {
  const spec = "{containers: [{name: app, image: a}]}";
  const text = `apiVersion: v1
kind: ConfigMap
metadata: {name: keep}
data: {a: "1"}
---
apiVersion: apps/v1
kind: Deployment
spec: {template: {spec: ${spec}}}
---
apiVersion: apps/v1
kind: StatefulSet
spec: {template: {spec: ${spec}}}
---
apiVersion: batch/v1
kind: Job
spec: {template: {spec: ${spec}}}
---
apiVersion: batch/v1
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: ${spec}}}}}
---
apiVersion: volcano.example/v1
kind: Job
spec: {template: {spec: ${spec}}}
`;
  const injection = inject(text);
  expect(injection).toMatchObject({ kind: "injected", pods: 4 });
  const names = (injection.kind === "injected" ? injection.documents : []).map((d) =>
    JSON.stringify(d).includes("sidegate-init"),
  );
  expect(names).toEqual([false, true, true, true, true, false]);
});

test("each pod of a List has a uid of its own", () => {
  const pod = { apiVersion: "v1", kind: "Pod", spec: { containers: [{ name: "app", image: "a" }] } };
  const text = injected(JSON.stringify({ apiVersion: "v1", kind: "List", items: [pod, pod] }));
  const uids = text.match(/"?sidegate.dev\/proxy-uid"?: "(\d+)"/g);
  expect(new Set(uids).size).toBe(2);
});

test("a pod that is written twice by an alias is injected twice", () => {
  const text = injected(`apiVersion: v1
kind: Pod
spec:
  containers:
    - &c {name: app, image: a}
  initContainers:
    - *c
`);
  const pod = parse(text) as { spec: Record<string, { env: unknown[]; name: string }[]> };
  expect(pod.spec["initContainers"]?.map(({ name }) => name)).toEqual(["sidegate-init", "sidegate", "app"]);
  expect(pod.spec["initContainers"]?.[2]?.env).toEqual(pod.spec["containers"]?.[0]?.env);
});

test("a merge key's members are seen: a hidden hostNetwork is denied", () => {
  const injection = inject(`apiVersion: v1
kind: Pod
x: &bad {hostNetwork: true}
spec:
  <<: *bad
  containers: [{name: app, image: a}]
`);
  expect(injection).toMatchObject({ kind: "denied", violations: [{ field: "spec.hostNetwork" }] });
});

test("YAML 1.1's other words for true are not taken for false", () => {
  const injection = inject(
    "apiVersion: v1\nkind: Pod\nspec: {hostNetwork: yes, containers: [{name: app, image: a}]}\n",
  );
  expect(injection.kind).toBe("denied");
});

test("one denied document denies the whole text and is named", () => {
  expect(inject(`${POD}---\n${POD.replace("spec:", "spec:\n  hostPID: true")}`)).toMatchObject({
    kind: "denied",
    violations: [{ field: "document 2: spec.hostPID" }],
  });
});

test.each([
  ["a: [", "unclosed"],
  ["a: 1\na: 2\n", "twice the same key"],
  [
    `a: &a [x,x,x,x,x,x,x,x,x]\n${"bcdefghi"
      .split("")
      .map((k, i) => `${k}: &${k} [${`*${"abcdefgh"[i]},`.repeat(9)}]`)
      .join("\n")}`,
    "a billion laughs",
  ],
])("an unreadable text is refused: %#", (text) => {
  expect(inject(text).kind).toBe("unreadable");
});

test("an empty text stays empty, and documents keep their number", () => {
  expect(injected("")).toBe("");
  expect(parseAllDocuments(injected(`---\n---\n${POD}`))).toHaveLength(2);
});
