/**
 * A suggestion as objects of a cluster: `kubectl apply -f manifests.json`. JSON, which a policy folder does not read: the folder stays
 * what `policy test` takes. A target that the record names is in the cluster already, and may say more than a record can know (its
 * authority, its credential): it is not written again.
 */
import { parseAllDocuments } from "yaml";
import { API_GROUP } from "#contract/names.ts";
import type { SourceFile } from "../compile/sources.ts";
import { type Observed, record } from "./observed.ts";

export const MANIFESTS_FILE = "manifests.json";

/** `files`: the suggestion's. Null: there is no policy among them. */
export function suggestionManifests(
  files: readonly SourceFile[],
  observed: Iterable<Observed>,
  at: { readonly name: string; readonly namespace: string },
): SourceFile | null {
  const module = files.find(({ name }) => name === `${at.name}.rego`);
  if (module === undefined) return null;
  const there = new Set<unknown>();
  for (const { op } of observed) there.add(record(op["target"])["name"]);
  const targets = files
    .filter(({ name }) => name.endsWith(".yaml"))
    .flatMap(({ text }) => parseAllDocuments(text).map((document) => record(document.toJS())))
    .filter((target) => !there.has(record(target["metadata"])["name"]))
    .map((target) => ({ ...target, metadata: { ...record(target["metadata"]), namespace: at.namespace } }));
  const policy = {
    apiVersion: `${API_GROUP}/v1alpha1`,
    kind: "AgentPolicy",
    metadata: { name: at.name.replaceAll("_", "-"), namespace: at.namespace },
    spec: { module: module.text },
  };
  const list = { apiVersion: "v1", kind: "List", items: [...targets, policy] };
  return { name: MANIFESTS_FILE, text: `${JSON.stringify(list, null, 2)}\n` };
}
