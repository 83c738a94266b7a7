/** The folder that `sidegate policy init` lays out: one target, one policy with its test, settings, and schemas for editors. */
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { EgressTarget } from "#contract/target.ts";
import { inputSchema } from "../compile/input-schema.ts";
import { FolderSettings } from "../compile/settings.ts";
import type { SourceFile } from "../compile/sources.ts";

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

export function newPolicyFolder(): readonly SourceFile[] {
  return [
    { name: "sidegate.yaml", text: SETTINGS },
    { name: "targets/example.yaml", text: TARGET },
    { name: "example.rego", text: POLICY },
    { name: "example_test.rego", text: TEST },
    { name: "schema/input.json", text: json(inputSchema()) },
    { name: "schema/target.json", text: json(EgressTarget) },
    { name: "schema/sidegate.json", text: json(FolderSettings) },
    { name: ".vscode/settings.json", text: json({ "opa.schema": "${workspaceFolder}/schema/input.json" }) },
  ];
}

/** Writes the files; none that is there already is touched. Resolves to the first that is, or null. */
export async function writeNewFiles(folder: string, files: readonly SourceFile[]): Promise<string | null> {
  for (const { name, text } of files) {
    const at = path.join(folder, name);
    await mkdir(path.dirname(at), { recursive: true });
    try {
      await writeFile(at, text, { flag: "wx" });
    } catch (fault) {
      if ((fault as NodeJS.ErrnoException).code === "EEXIST") return at;
      throw fault;
    }
  }
  return null;
}

const SETTINGS = `# yaml-language-server: $schema=./schema/sidegate.json
# observe: what policy would deny goes on, and is recorded as such. enforce: it is denied.
mode: enforce
# How much a refused agent is told: full, or the code alone.
denial:
  detail: full
`;

const TARGET = `# yaml-language-server: $schema=../schema/target.json
# A place that an agent may know. Several documents in one file are fine.
apiVersion: sidegate.dev/v1alpha1
kind: EgressTarget
metadata:
  name: example
spec:
  hosts: [example.com]
  ports: [443]
  protocol: http
`;

const POLICY = `# What is not allowed is denied. Any deny wins over every allow.
package sidegate.policy.example

# Pages may be read.
allow if {
	input.target.name == "example"
	input.action == "read"
}

# But not these.
deny contains {
	"code": "internal_page",
	"message": $"{input.http.path} is not for agents.",
	"advice": "Use the public pages.",
} if {
	input.target.name == "example"
	input.http.segments[0] == "internal"
}
`;

const TEST = `package sidegate.policy.example_test

import data.sidegate.policy.example

get(segments) := {
	"protocol": "http",
	"action": "read",
	"complete": true,
	"target": {"name": "example", "host": "example.com", "port": 443},
	"http": {"method": "GET", "path": concat("/", array.concat([""], segments)), "segments": segments, "truncated": false},
}

test_pages_are_read if example.allow with input as get(["about"])

test_nothing_is_written if not example.allow with input as object.union(get(["about"]), {"action": "write"})

test_internal_pages_are_denied if {
	some reason in example.deny with input as get(["internal", "plan"])
	reason.code == "internal_page"
}

# The whole decision, as the gateway makes it: every policy of this folder and the library's.
test_the_whole_decision if {
	decision := data.sidegate.decision with input as get(["about"])
	"example" in decision.allow
	count(decision.deny) == 0
}
`;
