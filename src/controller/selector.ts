/** Kubernetes' LabelSelector (meta/v1): whether labels match. All requirements must; none at all matches everything. */
import type { LabelSelector } from "#contract/agent-policy.ts";
import { assertNever } from "#core/assert-never.ts";

export type Labels = Readonly<Record<string, string>>;

export function selects(selector: LabelSelector | undefined, labels: Labels): boolean {
  if (selector === undefined) return true;
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) if (labels[key] !== value) return false;
  return (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    switch (operator) {
      case "In":
        return value !== undefined && values.includes(value);
      case "NotIn":
        return value === undefined || !values.includes(value);
      case "Exists":
        return value !== undefined;
      case "DoesNotExist":
        return value === undefined;
      default:
        return assertNever(operator);
    }
  });
}
