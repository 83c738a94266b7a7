/**
 * The environment of an agent's container: its own, with the variables that make clients trust our authority merged in. A value
 * that the author set is kept where the variable has room for both, and reported where it has not.
 */
import { PATHS } from "#contract/names.ts";
import { JAVA_VARIABLE, trustEnvironment, trustPaths } from "#contract/trust-environment.ts";
import type { Container } from "./pod.ts";
import type { Violation } from "./violation.ts";

type Env = NonNullable<Container["env"]>[number];

const TRUST_FILES = trustPaths(PATHS.trust);

export interface EnvironmentPlan {
  readonly env: readonly Env[];
  readonly warnings: readonly Violation[];
}

export function planEnvironment(container: Container, field: string): EnvironmentPlan {
  const theirs = container.env ?? [];
  const warnings: Violation[] = [];
  // Of two entries with one name Kubernetes takes the last.
  const existing = new Map(theirs.map((entry) => [entry.name, entry]));
  const { set, merge } = trustEnvironment(
    TRUST_FILES,
    Object.fromEntries(
      [...existing].map(([name, entry]) => [name, entry.valueFrom === undefined ? (entry.value ?? "") : undefined]),
    ),
  );
  for (const { variable, file } of merge)
    warnings.push({
      field: `${field}.env[${variable}]`,
      message: `replaced: certificates in ${file} are no longer read; name them in the target that they are for (upstream.ca)`,
    });

  const wanted = new Map(Object.entries(set));
  for (const [name, entry] of existing) {
    if (entry.valueFrom === undefined || !wanted.has(name)) continue;
    const at = `${field}.env[${name}]`;
    if (name === JAVA_VARIABLE) {
      wanted.delete(name);
      warnings.push({ field: at, message: "comes from elsewhere and is left alone: Java will not trust the gateway" });
    } else warnings.push({ field: at, message: "replaced: it named certificates by reference" });
  }
  const env = theirs.map((entry): Env => {
    const value = wanted.get(entry.name);
    return value === undefined ? entry : { name: entry.name, value };
  });
  for (const [name, value] of wanted) if (!existing.has(name)) env.push({ name, value });
  return { env, warnings };
}
