/**
 * Whether a stored object is what a manifest says. The API server fills in defaults, so a member more is all right where it has
 * exactly the default's value; anything else more, less or other is a difference.
 *
 * Errs towards a difference: a default of a later Kubernetes has to be listed here first.
 */
import { equalJson } from "#core/json-diff.ts";

/** What the API server writes where a manifest says nothing: admissionregistration.k8s.io/v1 and apiextensions.k8s.io/v1. */
const DEFAULTS: Readonly<Record<string, readonly unknown[]>> = {
  namespaceSelector: [{}],
  objectSelector: [{}],
  matchPolicy: ["Equivalent"],
  scope: ["*"],
  failurePolicy: ["Fail"],
  timeoutSeconds: [10],
  reinvocationPolicy: ["Never"],
  port: [443],
  conversion: [{ strategy: "None" }],
  listKind: [],
};
/** `XList` follows from the kind. */
const FREE: ReadonlySet<string> = new Set(["listKind"]);

/** Paths where they differ, at most `most`; empty: as it should be. `caBundle` is nobody's here: what it must be is not in a manifest. */
export function differences(wanted: unknown, stored: unknown, path = "", most = 5): string[] {
  if (equalJson(wanted, stored)) return [];
  if (Array.isArray(wanted) && Array.isArray(stored) && wanted.length === stored.length)
    return wanted.flatMap((item, index) => differences(item, stored[index], `${path}[${index}]`, most)).slice(0, most);
  if (!isObject(wanted) || !isObject(stored)) return [path];
  const missing = Object.keys(wanted).flatMap((name) => {
    const there = `${path}.${name}`;
    if (!Object.hasOwn(stored, name)) return isEmpty(wanted[name]) ? [] : [there];
    return differences(wanted[name], stored[name], there, most);
  });
  const added = Object.keys(stored)
    .filter((name) => !Object.hasOwn(wanted, name) && name !== "caBundle" && !FREE.has(name))
    .filter((name) => !(DEFAULTS[name] ?? []).some((value) => equalJson(value, stored[name])))
    .map((name) => `${path}.${name}`);
  return [...missing, ...added].slice(0, most);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The API server leaves an empty list or text out of what it stores. */
function isEmpty(value: unknown): boolean {
  return value === "" || value === null || (Array.isArray(value) && value.length === 0);
}
