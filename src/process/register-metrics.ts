/** Makes the metrics of a process's catalogue: one way for all of them. */
import type { Distribution, Metric, MetricSpec, Registry, Series } from "./metrics.ts";

type Specs = Readonly<Record<string, MetricSpec>>;
export type Registered<S extends Specs> = {
  readonly [K in keyof S]: Metric<S[K]["type"] extends "histogram" ? Distribution : Series>;
};

/** Used as `metrics.connections.with("detected", "unknown").add(1)`. */
export function register<const S extends Specs>(registry: Registry, specs: S): Registered<S> {
  const made: Record<string, Metric<Series> | Metric<Distribution>> = {};
  for (const [key, spec] of Object.entries(specs))
    made[key] = spec.type === "histogram" ? registry.histogram(spec) : registry[spec.type](spec);
  return made as Registered<S>;
}
