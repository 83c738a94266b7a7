/**
 * From what an agent was seen to do: targets, a narrow policy, and tests that hold. Enforced, they give the same agent no denial;
 * what must not be suggested (authenticators, what was not understood, what was refused even under observation) is said instead.
 */
import { stringify } from "yaml";
import { DENIALS, type DenialCode } from "#contract/denial.ts";
import { API_VERSION } from "#contract/names.ts";
import type { Target } from "#contract/target.ts";
import type { SourceFile } from "../compile/sources.ts";
import { type Observed, record } from "./observed.ts";
import { matches, type Pattern, pathPatterns } from "./paths.ts";

export interface Suggestion {
  readonly files: readonly SourceFile[];
  /** What was left out, and why. */
  readonly notes: readonly string[];
  /** Operations that the suggestion covers. */
  readonly operations: number;
}

export interface SuggestOptions {
  /** The policy's name. */
  readonly name: string;
  /** Targets that are there already. */
  readonly known: readonly Target[];
  /** What the present policy allows needs no rule. */
  readonly extend: boolean;
}

const MAX_HOSTS = 500;
const MAX_PATHS_PER_TARGET = 5_000;

interface Place {
  readonly name: string;
  readonly host: string;
  readonly ports: Set<number>;
  readonly isNew: boolean;
  opaque: boolean;
  /** Method → paths as JSON of their segments. */
  readonly requests: Map<string, Set<string>>;
}

export function suggest(observed: Iterable<Observed>, options: SuggestOptions): Suggestion {
  const places = new Map<string, Place>();
  const notes = new Map<string, number>();
  const note = (text: string): void => void notes.set(text, (notes.get(text) ?? 0) + 1);
  const names = new Set(options.known.map((target) => target.name));
  let operations = 0;
  for (const { op, verdict, code, wouldDeny } of observed) {
    const target = record(op["target"]);
    const host = text(target["host"]);
    const port = typeof target["port"] === "number" ? target["port"] : 0;
    const what = `${host}:${port}`;
    // What failed on the way is not policy's affair.
    if (verdict !== "allow" && Object.hasOwn(DENIALS, code) && DENIALS[code as DenialCode].class !== "policy") continue;
    if (verdict !== "allow") note(`${what} was refused also under observation (${code || "no code"})`);
    else if (op["action"] === "credential")
      note(`${what}: an operation on authenticators; only a cluster policy may allow it, by name`);
    else if (op["complete"] !== true)
      note(
        `${what}: an operation that could not be understood completely; allow it by name (allow_incomplete) if it must be`,
      );
    else if (host !== "" && (wouldDeny || !options.extend) && op["protocol"] !== "dns") {
      const place = placeOf(places, names, { name: text(target["name"]), host, port });
      if (place === null) note(`more than ${MAX_HOSTS} hosts: ${what} was left out`);
      else if (add(place, op)) operations++;
      else note(`${what}: ${text(op["protocol"])} ${text(op["action"])} has no suggestion`);
    }
  }
  const found = [...places.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    files: found.length === 0 ? [] : filesOf(found, options),
    notes: [...notes].map(([text, count]) => (count > 1 ? `${text} (${count} times)` : text)),
    operations,
  };
}

/** One place a host; a target that has a name keeps it. Null: too many. */
function placeOf(
  places: Map<string, Place>,
  names: Set<string>,
  at: { readonly name: string; readonly host: string; readonly port: number },
): Place | null {
  const key = at.name === "" ? ` ${at.host}` : at.name;
  let place = places.get(key);
  if (place === undefined) {
    if (places.size >= MAX_HOSTS) return null;
    const isNew = !names.has(at.name);
    place = {
      name: at.name === "" ? freeName(at.host, names) : at.name,
      host: at.host,
      ports: new Set(),
      isNew,
      opaque: false,
      requests: new Map(),
    };
    names.add(place.name);
    places.set(key, place);
  }
  place.ports.add(at.port);
  return place;
}

function freeName(host: string, taken: ReadonlySet<string>): string {
  const base =
    host
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, "-")
      .replaceAll(/^-+|-+$/g, "")
      .slice(0, 200) || "target";
  let name = base;
  for (let n = 2; taken.has(name); n++) name = `${base}-${n}`;
  return name;
}

/** False: nothing can be suggested for it. */
function add(place: Place, op: Observed["op"]): boolean {
  const http = record(op["http"]);
  if (op["action"] === "connect") {
    const intercepted = record(op["tls"])["intercepted"] === true;
    if (op["protocol"] === "tcp" || (op["protocol"] === "tls" && !intercepted)) place.opaque = true;
    return true;
  }
  const method = text(http["method"]);
  const segments = http["segments"];
  if (op["protocol"] !== "http" || method === "" || !isTexts(segments)) return false;
  const paths = place.requests.get(method) ?? new Set<string>();
  if (paths.size < MAX_PATHS_PER_TARGET) paths.add(JSON.stringify(segments));
  place.requests.set(method, paths);
  return true;
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

function filesOf(places: readonly Place[], { name }: SuggestOptions): SourceFile[] {
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

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
