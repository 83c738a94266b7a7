/**
 * From what an agent was seen to do: targets, a narrow policy, and tests that hold. Enforced, they give the same agent no denial;
 * what must not be suggested (authenticators, what was not understood, what was refused even under observation) is said instead.
 */
import { DENIALS, type DenialCode } from "#contract/denial.ts";
import type { Target } from "#contract/target.ts";
import type { SourceFile } from "../compile/sources.ts";
import { type Observed, record } from "./observed.ts";
import { type Place, suggestionFiles } from "./suggest-files.ts";

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

export function suggest(observed: Iterable<Observed>, options: SuggestOptions): Suggestion {
  const places = new Map<string, Place>();
  const notes = new Map<string, number>();
  const note = (text: string): void => void notes.set(text, (notes.get(text) ?? 0) + 1);
  const names = new Set(options.known.map((target) => target.name));
  let operations = 0;
  for (const { op, verdict, code, wouldDeny, deniedBy } of observed) {
    const target = record(op["target"]);
    const host = text(target["host"]);
    const port = typeof target["port"] === "number" ? target["port"] : 0;
    const what = `${host}:${port}`;
    // What failed on the way is not policy's affair.
    if (verdict !== "allow" && Object.hasOwn(DENIALS, code) && DENIALS[code as DenialCode].class !== "policy") continue;
    if (verdict !== "allow") note(`${what} was refused also under observation (${code || "no code"})`);
    // An allow rule does not outweigh a deny rule.
    else if (deniedBy !== "") note(`${what} is denied by ${deniedBy}, and stays so`);
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
    files: found.length === 0 ? [] : suggestionFiles(found, options.name),
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

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
