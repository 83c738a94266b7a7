/** Reads a hosts file (hosts(5)): `address name…`, `#` begins a comment. What is no address, or no name, is left out. */
import { isIP } from "node:net";

const MAX_NAMES = 4_096;

export function hostsOf(text: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [address, ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (address === undefined || isIP(address) === 0) continue;
    for (const name of names) {
      if (found.size >= MAX_NAMES && !found.has(name)) return found;
      const key = name.toLowerCase();
      found.set(key, [...(found.get(key) ?? []), address]);
    }
  }
  return found;
}
