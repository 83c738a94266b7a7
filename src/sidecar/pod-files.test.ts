import { expect, test } from "vitest";
import { readPodFile } from "./pod-files.ts";

test("reads labels and annotations as the downward API writes them", () => {
  const text =
    'app="agent"\nsidegate.dev/creator="system:serviceaccount:kube-system:replicaset-controller"\nempty=""\n';
  expect(readPodFile(text)).toEqual({
    app: "agent",
    "sidegate.dev/creator": "system:serviceaccount:kube-system:replicaset-controller",
    empty: "",
  });
});

test("takes back what Go's quoting did", () => {
  expect(readPodFile('a="x\\"y\\\\z\\n=\\t\\u200b\\x7f\\U0001f600 é"')).toEqual({ a: 'x"y\\z\n=\t\u200b\x7f😀 é' });
});

test("a line of another form says nothing, and neither does a file without end", () => {
  expect(readPodFile('a=b\n="c"\nd="e\nf="g"')).toEqual({ f: "g" });
  expect(readPodFile(`a="${"x".repeat(3_000_000)}"`)).toEqual({});
});

test("a value cannot smuggle another line in", () => {
  expect(readPodFile('a="x\\nsidegate.dev/creator=\\"somebody\\""')).toEqual({
    a: 'x\nsidegate.dev/creator="somebody"',
  });
});
