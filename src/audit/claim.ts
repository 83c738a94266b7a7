/**
 * Whose spool files are whose, where several living processes share a folder (`sidegate run` in two terminals). Each boot has a
 * file `<boot>.owner` with the process id and, since ids are used again, when that process started (proc(5), stat field 22).
 *
 * Errs towards shipping: who cannot be found living is dead, and the collector drops what it has twice.
 */
import { readFileSync } from "node:fs";
import type { Disk } from "./disk.ts";

/** "pid start", or null where the process is not there (or is nothing that we may see). */
function identityOf(pid: string): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field, the command, may itself contain spaces and parentheses.
    const start = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    return start === undefined ? null : `${pid} ${start}`;
  } catch {
    return null;
  }
}

export class Claims {
  readonly #directory: string;
  readonly #disk: Disk;

  constructor(directory: string, disk: Disk) {
    this.#directory = directory;
    this.#disk = disk;
  }

  #path(boot: string): string {
    return `${this.#directory}/${boot}.owner`;
  }

  take(boot: string): void {
    this.#disk.makeDirectory(this.#directory);
    const identity = Buffer.from(identityOf(String(process.pid)) ?? "", "latin1");
    const fd = this.#disk.openAppend(this.#path(boot));
    try {
      this.#disk.write(fd, identity, 0, identity.length);
    } finally {
      this.#disk.close(fd);
    }
  }

  /** Whether a living process writes this boot. */
  claimed(boot: string): boolean {
    const bytes = Buffer.alloc(64);
    let identity: string;
    try {
      identity = bytes.toString("latin1", 0, this.#disk.read(this.#path(boot), bytes, 0));
    } catch {
      return false;
    }
    const pid = /^(\d{1,10}) \d+$/.exec(identity)?.[1];
    // A restarted container has the same pid again, but started later.
    if (pid !== undefined && identityOf(pid) === identity) return true;
    this.#disk.remove(this.#path(boot));
    return false;
  }

  release(boot: string): void {
    this.#disk.remove(this.#path(boot));
  }
}
