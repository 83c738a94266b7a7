/**
 * Other names under which the host shows the same folder: a bind mount, or one file system mounted twice. What must not be seen
 * or written by one name must not be by another.
 *
 * Format: /proc/self/mountinfo, proc_pid_mountinfo(5): `id parent major:minor root mountpoint options … - type source super`;
 * space, tab, newline and backslash are octal escapes.
 */
import { isWithin } from "./view.ts";

interface Mount {
  readonly device: string;
  /** What of the file system is mounted. */
  readonly root: string;
  readonly point: string;
}

/** `at`: absolute, without links. Names only; whether they really are the same folder is for the caller to check. */
export function aliasesOf(at: string, mountinfo: string): readonly string[] {
  const mounts = parse(mountinfo);
  // The last of those that cover it is the one that is seen.
  const own = mounts.filter((m) => isWithin(at, m.point)).reduce<Mount | null>(deeper, null);
  if (own === null) return [];
  const inside = join(own.root, below(at, own.point));
  const names = mounts
    .filter((m) => m.device === own.device && isWithin(inside, m.root))
    .map((m) => join(m.point, below(inside, m.root)));
  return [...new Set(names)].filter((name) => name !== at);
}

const deeper = (best: Mount | null, next: Mount): Mount =>
  best === null || next.point.length >= best.point.length ? next : best;

const below = (at: string, folder: string): string => (folder === "/" ? at.slice(1) : at.slice(folder.length + 1));
const join = (folder: string, rest: string): string =>
  rest === "" ? folder : `${folder === "/" ? "" : folder}/${rest}`;

function parse(text: string): readonly Mount[] {
  return text.split("\n").flatMap((line) => {
    const [, , device, root, point] = line.split(" ");
    if (device === undefined || root === undefined || point === undefined) return [];
    return [{ device, root: unescaped(root), point: unescaped(point) }];
  });
}

const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
