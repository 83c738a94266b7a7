/**
 * Whether what bears one of our names *is* ours: compared member by member with what injection writes. One member more or less is
 * a look-alike, whoever made it so: an author who wants the name, or another webhook that edits every container it sees.
 *
 * Errs towards refusing: a member that a later Kubernetes adds by itself has to be listed here first.
 */
import { pointerTokens } from "#core/json-apply.ts";
import { diffJson, equalJson } from "#core/json-diff.ts";
import type { Container } from "./pod.ts";
import type { Violation } from "./violation.ts";

/**
 * How much of these ours have is no mark of ours: values, a LimitRange and the author's annotation decide it, and may change while the pod
 * runs. Too little of them harms the pod alone. Anything else (a device) is a difference.
 */
const AMOUNTS: ReadonlySet<string> = new Set(["cpu", "memory", "ephemeral-storage"]);

// What the API server itself writes into a container with resources (in-place resize, 1.33 and later).
const DEFAULT_RESIZE: readonly unknown[] = ["cpu", "memory"].map((resourceName) => ({
  resourceName,
  restartPolicy: "NotRequired",
}));

/** `field`: where it was found. Empty when it is ours. */
export function containerDifferences(found: Container, expected: Container, field: string): Violation[] {
  const { resources: have, ...rest } = found;
  const { resources: want, ...expectedRest } = expected;
  const plain = Object.fromEntries(Object.entries(rest).filter(([name, value]) => !isDefaultResize(name, value)));
  return [
    ...namedDifferences(expectedRest, plain, field),
    ...namedDifferences(withoutAmounts(want ?? {}), withoutAmounts(have ?? {}), `${field}.resources`),
  ];
}

/** As above, for anything that nobody fills in: a volume. */
export function namedDifferences(expected: unknown, found: unknown, field: string): Violation[] {
  return diffJson(expected, found).map(({ path }) => ({
    field: `${field}${fieldPath(path)}`,
    message: "this name is the gateway's, and here it differs from what the gateway writes; remove or rename it",
  }));
}

function isDefaultResize(name: string, value: unknown): boolean {
  return (
    name === "resizePolicy" && Array.isArray(value) && value.every((v) => DEFAULT_RESIZE.some((d) => equalJson(d, v)))
  );
}

function withoutAmounts(resources: object): object {
  return Object.fromEntries(
    Object.entries(resources)
      .map(([part, quantities]) => [
        part,
        part !== "requests" && part !== "limits"
          ? quantities
          : Object.fromEntries(Object.entries(quantities as object).filter(([name]) => !AMOUNTS.has(name))),
      ])
      .filter(([, rest]) => Object.keys(rest as object).length > 0),
  );
}

/** `/env/3/value` → `.env[3].value`. */
export function fieldPath(pointer: string): string {
  return pointerTokens(pointer)
    .map((token) => (/^[A-Za-z][A-Za-z0-9]*$/.test(token) ? `.${token}` : `[${token}]`))
    .join("");
}
