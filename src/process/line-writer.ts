/**
 * Writes lines to a descriptor without ever blocking the event loop: a log that nobody reads (a full pipe) must not hold up
 * the data plane. Lines are queued up to a bound; beyond it they are dropped, counted, and the count is written when there is
 * room again.
 */
import { write } from "node:fs";

export interface LineWriter {
  /** `line` ends in a line feed. */
  write(line: string): void;
  /** Resolves when all that is queued was written, or when it could not be. */
  flush(): Promise<void>;
  readonly dropped: number;
}

const MAX_QUEUED = 256 * 1024;
/** A pipe that is set to non-blocking by somebody else says EAGAIN. */
const RETRY_MS = 50;

export function createLineWriter(descriptor: number, maxQueued: number = MAX_QUEUED): LineWriter {
  let queue = "";
  let writing = false;
  let dropped = 0;
  let told = 0;
  const waiting: (() => void)[] = [];

  function next(): void {
    if (dropped > told && queue.length < maxQueued) {
      queue += `{"level":"warn","event":"log lines dropped","count":${dropped - told}}\n`;
      told = dropped;
    }
    if (queue === "") {
      writing = false;
      for (const done of waiting.splice(0)) done();
      return;
    }
    writing = true;
    const bytes = Buffer.from(queue, "utf8");
    queue = "";
    put(bytes, 0);
  }

  function put(bytes: Buffer, from: number): void {
    write(descriptor, bytes, from, bytes.length - from, null, (fault, count) => {
      if (fault?.code === "EAGAIN") {
        setTimeout(() => put(bytes, from), RETRY_MS).unref();
        return;
      }
      // Nobody can be told that the log is gone.
      if (fault !== null || from + count >= bytes.length) next();
      else put(bytes, from + count);
    });
  }

  return {
    write(line) {
      if (queue.length + line.length > maxQueued) {
        dropped++;
        return;
      }
      queue += line;
      if (!writing) next();
    },
    flush() {
      if (!writing) return Promise.resolve();
      return new Promise((resolve) => {
        waiting.push(resolve);
      });
    },
    get dropped() {
      return dropped;
    },
  };
}
