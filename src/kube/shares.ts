/**
 * Who loses where there are more objects than a cache keeps: the namespace with the most of them, as a whole, and it is named, so that
 * whoever depends on its objects can refuse. A namespace with fewer never loses one to it.
 */
export interface FairShare {
  /** Never left out as a whole. */
  readonly spared: string;
  /** All namespaces of which nothing is kept, whenever they are others than before. */
  readonly onLeftOut: (namespaces: ReadonlySet<string>) => void;
}

export interface Shares {
  count(key: string, change: number): void;
  leftOut(key: string): boolean;
  any(): boolean;
  /** Of those that are kept and of `key`, which comes now with `more`. Its name; null: there is nobody to leave out. */
  leaveOutLargest(key: string, more: number): string | null;
  /** Takes back those for whom there is room: the smallest first. `wanted`: how much each has. True: somebody. */
  takeBack(wanted: ReadonlyMap<string, number>, room: number): boolean;
  tell(): void;
}

/** Of a key as `keyOf` makes it; "": it has none. */
export function namespaceOf(key: string): string {
  return key.slice(0, Math.max(0, key.indexOf("/")));
}

export function createShares({ spared, onLeftOut }: FairShare): Shares {
  const kept = new Map<string, number>();
  const out = new Set<string>();
  let told = "";

  function tell(): void {
    const text = JSON.stringify([...out].sort());
    if (text === told || (told === "" && out.size === 0)) return;
    told = text;
    onLeftOut(new Set(out));
  }

  return {
    count(key, change) {
      const namespace = namespaceOf(key);
      const now = (kept.get(namespace) ?? 0) + change;
      if (now > 0) kept.set(namespace, now);
      else kept.delete(namespace);
    },
    leftOut: (key) => out.has(namespaceOf(key)),
    any: () => out.size > 0,
    leaveOutLargest(key, more) {
      const newcomer = namespaceOf(key);
      // Of equals the same one on every replica.
      const [largest] = [...new Map(kept).set(newcomer, (kept.get(newcomer) ?? 0) + more)]
        .filter(([namespace]) => namespace !== spared)
        .toSorted(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
      if (largest === undefined) return null;
      const [loser] = largest;
      out.add(loser);
      tell();
      return loser;
    },
    takeBack(wanted, room) {
      const sizes = [...out].map((namespace) => ({ namespace, size: wanted.get(namespace) ?? 0 }));
      let left = room;
      let some = false;
      for (const { namespace, size } of sizes.sort((a, b) => a.size - b.size)) {
        if (size > left) break;
        left -= size;
        some = out.delete(namespace) || some;
      }
      return some;
    },
    tell,
  };
}
