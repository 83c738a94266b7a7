/**
 * A namespace's LimitRanges (core/v1), as one: each of them is demanded, so of two bounds the narrower counts. Only items of type
 * Container; what cannot be read is left out, and then the API server itself says what it does not like.
 */
import { Compile } from "typebox/compile";
import { type ContainerLimitRange, LimitRangeSchema } from "./options.ts";
import { parseQuantity } from "./quantity.ts";

type Quantities = Readonly<Record<string, string>>;

const schema = Compile(LimitRangeSchema);
const PARTS = ["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"] as const;
const LARGER_COUNTS: ReadonlySet<string> = new Set(["min"]);

/** `object`: a LimitRange, parsed. */
export function containerRange(object: unknown): ContainerLimitRange | null {
  const { spec } = (object ?? {}) as { readonly spec?: { readonly limits?: unknown } };
  const limits = Array.isArray(spec?.limits) ? (spec.limits as readonly unknown[]) : [];
  const items = limits.filter((item) => (item as { readonly type?: unknown } | null)?.type === "Container");
  return mergeRanges(items.flatMap((item) => (schema.Check(item) ? [item] : [])));
}

export function mergeRanges(ranges: readonly ContainerLimitRange[]): ContainerLimitRange | null {
  if (ranges.length === 0) return null;
  const merged: Partial<Record<(typeof PARTS)[number], Record<string, string>>> = {};
  for (const range of ranges)
    for (const part of PARTS)
      for (const [name, quantity] of Object.entries<string>((range[part] ?? {}) as Quantities)) {
        const amount = parseQuantity(quantity);
        const have = merged[part]?.[name];
        if (amount === null) continue;
        const counts =
          have === undefined || (LARGER_COUNTS.has(part) ? amount > amountOf(have) : amount < amountOf(have));
        if (counts) (merged[part] ??= {})[name] = quantity;
      }
  return merged;
}

function amountOf(quantity: string): number {
  return parseQuantity(quantity) ?? 0;
}
