/** One sample out of a metrics page (OpenMetrics or Prometheus text): enough to read our own figures. */

/** The first sample of that name, whatever its labels; null where there is none. */
export function readSample(page: string, name: string): number | null {
  for (const line of page.split("\n")) {
    if (!line.startsWith(name)) continue;
    const rest = line.slice(name.length);
    const value = /^(?:\{[^}]*\})?\s+(\S+)/.exec(rest)?.[1];
    if (value === undefined) continue;
    const number = value === "+Inf" ? Number.POSITIVE_INFINITY : Number(value);
    return Number.isNaN(number) ? null : number;
  }
  return null;
}

/** A label's value of the first sample of that name; null where there is none. Our own labels hold no escaped quotes. */
export function readLabel(page: string, name: string, label: string): string | null {
  for (const line of page.split("\n"))
    if (line.startsWith(`${name}{`)) return new RegExp(`[{,]${label}="([^"]*)"`).exec(line)?.[1] ?? null;
  return null;
}
