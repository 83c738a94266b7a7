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

/** Private and empty inside; the host's hold sockets and files of everything else that this user runs. */
export const PRIVATE = ["/run", "/var/run", "/tmp", "/var/tmp"] as const;
/** Kernel file systems: a bind of them would bring back what the namespace has replaced. */
const KERNEL = ["/proc", "/sys", "/dev"] as const;

/** The folders that stay writable, and why another that was asked for does not. */
export function writableFolders(view: View): {
  readonly granted: readonly string[];
  readonly notes: readonly string[];
} {
  const granted: string[] = [];
  const notes: string[] = [];
  for (const folder of new Set([view.cwd, ...view.write])) {
    const why = whyNot(folder, view);
    if (why === null) granted.push(folder);
    else notes.push(`${folder} is not kept after the run: ${why}`);
  }
  return { granted: granted.toSorted(byLength), notes };
}

function whyNot(folder: string, { home, write, mask }: View): string | null {
  if (folder === "/" || KERNEL.some((root) => isWithin(folder, root))) return "it belongs to the system";
  const asked = folder === home && write.includes(home);
  if (home !== null && isWithin(home, folder) && !asked) return "it is or contains your home folder";
  const holds = [...PRIVATE, ...mask].some((at) => isWithin(at, folder));
  const lies = ["/run", "/var/run", ...mask].some((at) => isWithin(folder, at));
  return holds || lies ? "other programs keep their sockets there" : null;
}

/**
 * Of a command's words, the files that it will not find inside, because they lie where it sees a private and empty folder: the
 * shell's own "no such file" would say nothing of that.
 */
export function unseenWords(argv: readonly string[], view: View, isThere: (at: string) => boolean): readonly string[] {
  const { granted } = writableFolders(view);
  const empty = [...PRIVATE, ...view.mask];
  const seen = [...granted, "/run/sidegate"];
  return argv.filter((word, index) => {
    // The first is looked up on the PATH unless it has a slash.
    if (word === "" || (index === 0 && !word.includes("/"))) return false;
    const at = path.resolve(view.cwd, word);
    return empty.some((each) => isWithin(at, each)) && !seen.some((each) => isWithin(at, each)) && isThere(at);
  });
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
