/** Closes a `switch` over a discriminated union: a new kind that nobody handles does not compile, and throws if it ever runs. */
export function assertNever(value: never): never {
  throw new Error(`unhandled kind: ${JSON.stringify(value)}`);
}
