/**
 * What of the file system the command may see, as the command line asks for it, and what must not be granted even if asked.
 *
 * Everything is read-only or a copy but the working folder and `write`. What is unclear is not writable.
 */
import path from "node:path";

/** Paths are absolute and without links (realpath), and exist. */
export interface View {
  /** Copy-on-write; what is written is gone at the end. Null: none. */
  readonly home: string | null;
  readonly cwd: string;
  /** Kept besides the working folder. */
  readonly write: readonly string[];
  /** The policy folder, our own program: never writable, even inside a writable folder. */
  readonly readOnly: readonly string[];
  /** The record, the approval socket: not there. */
  readonly hide: readonly string[];
  /** $XDG_RUNTIME_DIR and the like, besides /run and /tmp: empty and private inside. */
  readonly mask: readonly string[];
  /** Listening sockets of the host by path (`listeningSockets`). */
  readonly sockets: readonly string[];
  /** Folder with ca-bundle.pem and its neighbours; visible inside at TRUST_INSIDE. Null: no interception of TLS. */
  readonly trust: string | null;
}

export interface Furnished {
  /** What could not be closed. Not empty: the tier is `advisory`. */
  readonly open: readonly string[];
  /** What outlives the run. */
  readonly writable: readonly string[];
  /** Worth a line, but nothing is open. */
  readonly notes: readonly string[];
}

/** Where the trust files lie for the command. */
export const TRUST_INSIDE = "/run/sidegate/trust";

export function isWithin(inner: string, outer: string): boolean {
  return inner === outer || outer === "/" || inner.startsWith(`${outer}/`);
}

/** The folders that stay writable: never the home folder as a whole, nor anything that contains it or a protected path's only name. */
export function writableFolders(view: View): {
  readonly granted: readonly string[];
  readonly notes: readonly string[];
} {
  const granted: string[] = [];
  const notes: string[] = [];
  for (const folder of new Set([view.cwd, ...view.write])) {
    const asked = view.write.includes(folder);
    if (folder === "/" || isSystem(folder)) notes.push(`${folder} is not kept: it belongs to the system`);
    else if (view.home !== null && isWithin(view.home, folder) && !(asked && folder === view.home))
      notes.push(
        `${folder} is not kept: it is or contains your home folder (what is written there is gone at the end)`,
      );
    else granted.push(folder);
  }
  return { granted: granted.toSorted(byLength), notes };
}

/** Kernel file systems: a bind of them would bring back what the namespace has replaced. */
function isSystem(folder: string): boolean {
  return ["/proc", "/sys", "/dev"].some((root) => isWithin(folder, root) && !isWithin(folder, "/dev/shm"));
}

/** Folders between a writable root and a protected path: renaming one would move the protection away from its name. */
export function foldersToPin(protectedPath: string, granted: readonly string[]): readonly string[] {
  const root = granted.filter((g) => g !== protectedPath && isWithin(protectedPath, g)).toSorted(byLength)[0];
  if (root === undefined) return [];
  const pins: string[] = [];
  for (let at = path.dirname(protectedPath); at !== root && at !== "/"; at = path.dirname(at)) pins.unshift(at);
  return pins.filter((p) => !granted.includes(p));
}

export const byLength = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : 1);
