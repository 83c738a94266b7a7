/**
 * Builds the root that the command sees, out of a private tmpfs: nothing of the host is there unless it was put there. Sources
 * are under OLD until the host's tree is let go for good, so whatever is not bound by then cannot be reached, not even by
 * someone who gains every capability in this namespace.
 *
 * Everything that fails here fails the run, but the few things that are reported as open.
 */
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { isatty } from "node:tty";
import { aliasesOf } from "./aliases.ts";
import { detach, MS, makeReadOnly, mount, pivotRoot } from "./libc.ts";
import { bind, copyOnWrite, exists, hide, OLD, privateFolder } from "./place.ts";
import { makePreload } from "./preload.ts";
import { makeDevices, makeProc, makeResolver, makeSys, makeTrust } from "./system-folders.ts";
import { byLength, type Furnished, foldersToPin, PRIVATE, type View, writableFolders } from "./view.ts";

const BASE = "/tmp";
/** Replaced by our own, so not taken from the host. */
const OWN = new Set(["proc", "sys", "dev", "run", "tmp", "lost+found", ".old"]);

/** `root`: the command is uid 0, for whom file modes are no limit. */
export function furnish(view: View, root: boolean): Furnished {
  const umask = process.umask(0o022);
  try {
    return build(view, root);
  } finally {
    process.umask(umask);
  }
}

function build(asked: View, root: boolean): Furnished {
  const view = withAliases(asked);
  const open: string[] = [];
  const { granted, notes } = writableFolders(view);
  const say = { open, notes: [...notes] };
  const tty = isatty(0) ? readlinkSync("/proc/self/fd/0") : null;
  enterEmptyRoot();
  makeDevices(tty);
  bindHostFolders(root);
  makeProc();
  makeSys();
  for (const folder of PRIVATE) privateFolder(folder);
  makePreload(view.trust);
  if (view.home !== null && view.home !== "/" && !granted.includes(view.home)) makeHome(view.home, say);
  // After the view of the home folder, which would cover them.
  for (const folder of view.mask) privateFolder(folder);
  for (const folder of granted) {
    bind(folder, false);
    if (exists(`${folder}/.git`))
      say.notes.push(`${folder}/.git can be written: look at its hooks and config before you use it`);
  }
  protect(view, granted);
  makeTrust(view.trust);
  makeResolver();
  for (const socket of view.sockets) hideSocket(socket, say);
  letGo();
  return { open, writable: granted, notes: say.notes };
}

/** What is protected by one name is by all that the host has for it. */
function withAliases(view: View): View {
  const mountinfo = readFileSync("/proc/self/mountinfo", "utf8");
  const all = (paths: readonly string[]): readonly string[] =>
    paths.flatMap((at) => [at, ...aliasesOf(at, mountinfo).filter((name) => isSame(at, name))]);
  return { ...view, readOnly: all(view.readOnly), hide: all(view.hide) };
}

function isSame(one: string, other: string): boolean {
  if (!exists(one) || !exists(other)) return false;
  const [a, b] = [statSync(one), statSync(other)];
  return a.dev === b.dev && a.ino === b.ino;
}

function enterEmptyRoot(): void {
  mount({ source: "tmpfs", target: BASE, type: "tmpfs", flags: MS.noSuid | MS.noDev, data: "mode=0755,size=1m" });
  mkdirSync(BASE + OLD, { mode: 0o700 });
  pivotRoot(BASE, BASE + OLD);
  process.chdir("/");
}

/** The host's tree, read-only. For root a copy where that can be made: file modes would not stop it, and much expects to write. */
function bindHostFolders(root: boolean): void {
  for (const name of readdirSync(OLD)) {
    if (OWN.has(name)) continue;
    const source = `${OLD}/${name}`;
    const target = `/${name}`;
    const kind = lstatSync(source);
    if (kind.isSymbolicLink()) symlinkSync(readlinkSync(source), target);
    else if (kind.isDirectory()) {
      mkdirSync(target);
      if (!(root && copyOnWrite(target))) bind(target, true);
    } else if (kind.isFile()) {
      writeFileSync(target, "");
      bind(target, true);
    }
  }
}

function makeHome(home: string, say: { readonly notes: string[] }): void {
  mkdirSync(home, { recursive: true });
  if (copyOnWrite(home)) return;
  bind(home, true);
  say.notes.push(`${home} is read-only: this kernel makes no copy-on-write view of it`);
}

/** Read-only folders and what is not there at all, parents first; and no name on the way to them may be moved. */
function protect(view: View, granted: readonly string[]): void {
  const paths = [...new Set([...view.readOnly, ...view.hide])].toSorted(byLength);
  const pinned = new Set<string>();
  for (const at of paths) {
    if (!exists(at)) continue;
    for (const folder of foldersToPin(at, granted))
      if (!pinned.has(folder)) {
        pinned.add(folder);
        mount({ source: folder, target: folder, flags: MS.bind | MS.recursive });
      }
    if (view.hide.includes(at)) hide(at);
    else bind(at, true);
  }
}

/** A socket of the host is reachable by its path alone, read-only mounts or not. Through an overlay it is not. */
function hideSocket(socket: string, say: { readonly open: string[] }): void {
  try {
    if (!lstatSync(socket).isSocket()) return;
  } catch {
    return; // not visible in here
  }
  try {
    mount({ source: "/dev/null", target: socket, flags: MS.bind });
  } catch {
    say.open.push(`the socket ${socket} of this machine can be reached`);
  }
}

/** From here on the host's tree is gone, and the root itself is read-only. */
function letGo(): void {
  detach(OLD);
  rmdirSync(OLD);
  makeReadOnly("/", false);
}
