/**
 * Files that are exchanged while we run (a Secret's or ConfigMap's mount: the kubelet swaps a link), read again every few seconds.
 * Watching by inotify misses such swaps. What cannot be read or does not fit is reported, and the last good one goes on serving.
 */
import { readFileSync } from "node:fs";

export interface PolledFiles<T> {
  /** What was read last and was good. */
  readonly current: T;
  /** Reads now; true when there is something new. */
  poll(): boolean;
  close(): void;
}

export interface PolledFilesOptions<T> {
  readonly paths: readonly string[];
  /** Makes something of the files' contents, in the order of `paths`; throws where they do not fit. */
  readonly parse: (contents: readonly string[]) => T;
  /** Milliseconds; 0: only when `poll` is called. */
  readonly everyMs: number;
  /** Throws where the value cannot be taken over after all: as if it did not fit. */
  readonly onChange: (value: T) => void;
  readonly onFault: (fault: unknown) => void;
}

/** Throws when the first reading fails: there is no last good one yet. */
export function pollFiles<T>(options: PolledFilesOptions<T>): PolledFiles<T> {
  const { paths, parse, everyMs, onChange, onFault } = options;
  const read = (): string[] => paths.map((path) => readFileSync(path, "utf8"));
  let contents = read();
  let current = parse(contents);
  const timer = everyMs === 0 ? null : setInterval(() => poll(), everyMs);
  timer?.unref();

  function poll(): boolean {
    const before = current;
    try {
      const next = read();
      if (next.every((text, index) => text === contents[index])) return false;
      current = parse(next);
      onChange(current);
      contents = next;
      return true;
    } catch (fault) {
      // Tried again at the next reading.
      current = before;
      onFault(fault);
      return false;
    }
  }

  return {
    get current() {
      return current;
    },
    poll,
    close: () => clearInterval(timer ?? undefined),
  };
}
