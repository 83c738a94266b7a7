/**
 * Bundles from one file, watched: `sidegate run` and tests. The file is replaced by rename, so a reader sees the old or the new one.
 *
 * Looks at the folder's events and, because events get lost on some file systems, at the file's identity once a second.
 */
import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import path from "node:path";
import type { BundleSource } from "#contract/policy-port.ts";
import { ARCHIVE_LIMITS } from "../tar.ts";

const POLL_MS = 1_000;

/** The etag is the content's hash. A file that cannot be read rejects where none was ever read, and is waited out afterwards. */
export function createFileBundleSource(file: string): BundleSource {
  return {
    async next(etag, signal) {
      signal.throwIfAborted();
      // Watch before looking: what changes in between is not missed.
      const changes = new Changes(path.dirname(file), signal);
      try {
        let seen = "";
        for (;;) {
          try {
            const now = await identity(file);
            if (now !== seen) {
              seen = now;
              const archive = await readFile(file);
              const current = createHash("sha256").update(archive).digest("hex");
              if (current !== etag) return { etag: current, archive };
            }
          } catch (fault) {
            if (etag === null) throw fault;
          }
          await changes.next();
        }
      } finally {
        changes.close();
      }
    },
  };
}

async function identity(file: string): Promise<string> {
  const { ino, size, mtimeMs } = await stat(file);
  if (size > ARCHIVE_LIMITS.maxCompressedBytes)
    throw new RangeError(`${file} is over ${ARCHIVE_LIMITS.maxCompressedBytes} bytes`);
  return `${ino}:${size}:${mtimeMs}`;
}

/** "Something may have changed": an event of the folder, or a second gone by. */
class Changes {
  #pending = false;
  #wake: (() => void) | null = null;
  readonly #signal: AbortSignal;
  readonly #watcher: FSWatcher | null;
  readonly #onAbort = (): void => this.#fire();

  constructor(folder: string, signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", this.#onAbort, { once: true });
    this.#watcher = openWatcher(folder, () => this.#fire());
  }

  /** Rejects on abort. */
  async next(): Promise<void> {
    if (!this.#pending) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, POLL_MS);
        timer.unref();
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
        if (this.#signal.aborted) this.#wake();
      });
      this.#wake = null;
    }
    this.#pending = false;
    this.#signal.throwIfAborted();
  }

  close(): void {
    this.#watcher?.close();
    this.#signal.removeEventListener("abort", this.#onAbort);
  }

  #fire(): void {
    this.#pending = true;
    this.#wake?.();
  }
}

/** Null where the system has no watches left, or the folder is not there: then the poll alone sees changes. */
function openWatcher(folder: string, changed: () => void): FSWatcher | null {
  try {
    const watcher = watch(folder, { persistent: false }, changed);
    watcher.on("error", changed);
    return watcher;
  } catch {
    return null;
  }
}
