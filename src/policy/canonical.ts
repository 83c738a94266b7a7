/**
 * The hash that OPA's bundle signature takes of a JSON file: not of its bytes but of its value, keys sorted, no spaces, strings
 * as Go's encoder writes them, numbers as they stood in the text (`1e3` stays `1e3`).
 * Format: OPA `v1/bundle/hash.go`. A difference from OPA makes a signature fail, never pass.
 */
import { createHash } from "node:crypto";

const MAX_DEPTH = 200;

/** SHA-256 (hex) of the canonical form. Throws SyntaxError when the text is no JSON, RangeError when it is nested too deep. */
export function hashJson(text: string): string {
  // The reviver's third parameter holds a primitive's source text (ECMA-262 "JSON.parse source text access").
  const value = JSON.parse(text, (_key, parsed: unknown, context?: { readonly source?: string }) =>
    typeof parsed === "number" ? new NumberText(context?.source ?? String(parsed)) : parsed,
  ) as unknown;
  const hash = createHash("sha256");
  const parts: string[] = [];
  write(value, parts, 0);
  return hash.update(parts.join("")).digest("hex");
}

/** SHA-256 (hex) of bytes as they are. */
export function hashBytes(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

class NumberText {
  readonly source: string;
  constructor(source: string) {
    this.source = source;
  }
}

function write(value: unknown, out: string[], depth: number): void {
  if (depth > MAX_DEPTH) throw new RangeError(`JSON is nested deeper than ${MAX_DEPTH}`);
  if (value instanceof NumberText) out.push(value.source);
  else if (typeof value === "string") out.push(goString(value));
  else if (Array.isArray(value)) {
    out.push("[");
    value.forEach((item, i) => {
      if (i > 0) out.push(",");
      write(item, out, depth + 1);
    });
    out.push("]");
  } else if (typeof value === "object" && value !== null) {
    out.push("{");
    const entries = Object.entries(value).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    entries.forEach(([key, member], i) => {
      if (i > 0) out.push(",");
      out.push(goString(key), ":");
      write(member, out, depth + 1);
    });
    out.push("}");
  } else out.push(JSON.stringify(value));
}

/** Go escapes the two line separators of JavaScript, and writes a lone surrogate as U+FFFD. */
function goString(text: string): string {
  return JSON.stringify(text.toWellFormed()).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
}
