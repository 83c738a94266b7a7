/**
 * The files of a suggestion: targets, Rego and its tests. What an agent named itself (hosts, paths, methods) stands in them as
 * literals only, and nothing in them is invisible to who reads them.
 */
import { stringify } from "yaml";
import { API_VERSION } from "#contract/names.ts";
import type { SourceFile } from "../compile/sources.ts";
import { matches, type Pattern, pathPatterns } from "./paths.ts";

/** One host, as it was used. */
export interface Place {
  readonly name: string;
  readonly host: string;
  readonly ports: Set<number>;
  readonly isNew: boolean;
  opaque: boolean;
  /** Method → paths as JSON of their segments. */
  readonly requests: Map<string, Set<string>>;
}

interface Route {
  readonly place: Place;
  readonly pattern: Pattern;
  readonly methods: readonly string[];
  /** One path that was seen. */
  readonly sample: readonly string[];
}

function routesOf(place: Place): Route[] {
  const all = [...place.requests.values()].flatMap((paths) => [...paths]).map((path) => JSON.parse(path) as string[]);
  return pathPatterns(all).map((pattern) => ({
    place,
    pattern,
    methods: [...place.requests]
      .filter(([, paths]) => [...paths].some((path) => matches(pattern, JSON.parse(path) as string[])))
      .map(([method]) => method)
      .sort(),
    sample: all.find((path) => matches(pattern, path)) ?? [],
  }));
}

export function suggestionFiles(places: readonly Place[], name: string): SourceFile[] {
  const routes = places.flatMap(routesOf);
  const fresh = places.filter((place) => place.isNew);
  const opaque = places.filter((place) => place.opaque).map((place) => place.name);
  const files: SourceFile[] = [];
  if (fresh.length > 0) files.push({ name: `targets/${name}.yaml`, text: fresh.map(targetText).join("---\n") });
  if (opaque.length > 0) files.push({ name: "targets.data.yaml", text: `${HEAD}${stringify({ opaque })}` });
  if (routes.length > 0) {
    files.push({ name: `${name}.rego`, text: policyText(name, routes) });
    files.push({ name: `${name}_test.rego`, text: testText(name, routes) });
  }
  return files;
}

const HEAD = "# Suggested by sidegate from the record. Read it before you enforce it.\n";

/** Names that no public resolver knows: their addresses are private. */
const INTERNAL = /(^|\.)(internal|local|localdomain|svc|corp|lan|home|arpa|intranet|private|test)$/;

function targetText(place: Place): string {
  const internal = INTERNAL.test(place.host) || !place.host.includes(".");
  return `${HEAD}${stringify({
    apiVersion: API_VERSION,
    kind: "EgressTarget",
    metadata: { name: place.name },
    spec: {
      hosts: [place.host],
      ports: [...place.ports].sort((a, b) => a - b),
      ...(place.opaque || place.requests.size === 0 ? {} : { protocol: "http" }),
      ...(internal ? { private: true } : {}),
    },
  })}`;
}

function policyText(name: string, routes: readonly Route[]): string {
  return `${HEAD}package sidegate.policy.${name}\n\n${routes.map(routeText).join("\n")}`;
}

function routeText({ place, pattern, methods }: Route): string {
  const words = pattern.flatMap((word, i) =>
    word === null ? [] : [`\tinput.http.segments[${i}] == ${literal(word)}\n`],
  );
  const exact = words.length === pattern.length;
  const path = exact
    ? `\tinput.http.segments == ${literals(pattern)}\n`
    : `\tcount(input.http.segments) == ${pattern.length}\n${words.join("")}`;
  return `# ${methods.join(", ")} ${comment(`${place.host}/${pattern.map((word) => word ?? "*").join("/")}`)}
allow if {
	input.target.name == ${literal(place.name)}
	input.http.method in {${methods.map((method) => literal(method)).join(", ")}}
${path}}
`;
}

/** A Rego string: JSON's form, and nothing in it that a reader could not see. */
function literal(text: string): string {
  return JSON.stringify(text).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) =>
    [...Array(c.length).keys()].map((i) => `\\u${c.charCodeAt(i).toString(16).padStart(4, "0")}`).join(""),
  );
}

function literals(words: readonly (string | null)[]): string {
  return `[${words.map((word) => literal(word ?? "")).join(", ")}]`;
}

/** What an agent sent stands in a comment: no line break, no control character. */
function comment(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, 200);
}

const ACTION: Readonly<Record<string, string>> = { GET: "read", HEAD: "read", OPTIONS: "read" };

function testText(name: string, routes: readonly Route[]): string {
  const operation = ({ place, sample }: Route, method: string): string =>
    `operation(${literal(place.name)}, ${literal(place.host)}, ${[...place.ports][0]}, ${literal(method)}, ${JSON.stringify(ACTION[method] ?? "write")}, ${literals(sample)})`;
  const cases = routes.flatMap((route, i) => [
    ...route.methods.map(
      (method, m) => `test_${i + 1}_${m + 1}_is_allowed if {
	decision := data.sidegate.decision with input as ${operation(route, method)}
	${JSON.stringify(name)} in decision.allow
	count(decision.deny) == 0
}
`,
    ),
    `test_${i + 1}_allows_no_other_method if not ${name}.allow with input as ${operation(route, "UNSEEN")}\n`,
  ]);
  return `${HEAD}package sidegate.policy.${name}_test

import data.sidegate.policy.${name}

operation(target, host, port, method, action, segments) := {
	"v": 1,
	"protocol": "http",
	"action": action,
	"complete": true,
	"target": {"name": target, "host": host, "port": port, "labels": {}},
	"run": null,
	"http": {
		"method": method, "scheme": "https", "host": host,
		"path": concat("/", array.concat([""], segments)), "segments": segments,
		"query": {}, "headers": {}, "contentType": null, "contentLength": null, "truncated": false,
	},
}

${cases.join("\n")}`;
}
