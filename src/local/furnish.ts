/**
 * Builds the root that the command sees, out of a private tmpfs: nothing of the host is there unless it was put there. Sources
 * are under OLD until the host's tree is let go for good, so whatever is not bound by then cannot be reached, not even by
 * someone who gains every capability in this namespace.
 *
 * Everything that fails here fails the run, but the few things that are reported as open.
 */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { isatty } from "node:tty";
import { PATHS } from "#contract/names.ts";
import { detach, MS, makeReadOnly, mount, pivotRoot, SystemCallError } from "./libc.ts";
import { byLength, type Furnished, foldersToPin, isWithin, TRUST_INSIDE, type View, writableFolders } from "./view.ts";

/** Where the host's tree hangs while we build. */
const OLD = "/.old";
const BASE = "/tmp";
/** Replaced by our own, so not taken from the host. */
const OWN = new Set(["proc", "sys", "dev", "run", "tmp", "lost+found", ".old"]);
const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"] as const;
const PROC_READ_ONLY = ["sys", "sysrq-trigger", "irq", "bus", "fs"] as const;
const PROC_HIDDEN = [
  "kcore",
  "keys",
  "key-users",
  "timer_list",
  "sched_debug",
  "acpi",
  "scsi",
  "kmsg",
  "latency_stats",
] as const;
const SYS_HIDDEN = ["kernel/debug", "kernel/tracing", "firmware", "fs/bpf", "fs/fuse"] as const;
/** Where distributions keep their roots; the bundle is mounted over those that exist. */
const SYSTEM_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/ssl/cert.pem",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/pki/tls/cert.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/usr/lib/ssl/cert.pem",
] as const;
const RESOLV_CONF = "# Every name is answered by Sidegate.\nnameserver 127.0.0.1\noptions edns0\n";

/** `root`: the command is uid 0, for whom file modes are no limit. */
export function furnish(view: View, root: boolean): Furnished {
  const umask = process.umask(0o022);
  try {
    return build(view, root);
  } finally {
    process.umask(umask);
  }
}

function build(view: View, root: boolean): Furnished {
  const open: string[] = [];
  const { granted, notes } = writableFolders(view);
  const say = { open, notes: [...notes] };
  const tty = isatty(0) ? readlinkSync("/proc/self/fd/0") : null;
  enterEmptyRoot();
  makeDevices(tty);
  bindHostFolders(root);
  makeProc();
  makeSys();
  for (const folder of ["/run", "/var/run", "/tmp", "/var/tmp", ...view.mask]) privateFolder(folder);
  if (view.home !== null && !granted.includes(view.home)) makeHome(view.home, say);
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

/** A new one of our own PID namespace. The kernel refuses where the host's own is covered (inside a container): then nothing runs. */
function makeProc(): void {
  mkdirSync("/proc");
  mount({ source: "proc", target: "/proc", type: "proc", flags: MS.noSuid | MS.noDev | MS.noExec });
  for (const name of PROC_READ_ONLY) if (exists(`/proc/${name}`)) freeze(`/proc/${name}`);
  for (const name of PROC_HIDDEN) hide(`/proc/${name}`);
}

function makeSys(): void {
  mkdirSync("/sys");
  bind("/sys", true);
  for (const name of SYS_HIDDEN) hide(`/sys/${name}`);
}

function makeDevices(tty: string | null): void {
  mkdirSync("/dev");
  mount({ source: "tmpfs", target: "/dev", type: "tmpfs", flags: MS.noSuid | MS.noExec, data: "mode=0755,size=1m" });
  for (const name of DEVICES) bindFile(`${OLD}/dev/${name}`, `/dev/${name}`);
  for (const [n, name] of ["stdin", "stdout", "stderr"].entries()) symlinkSync(`/proc/self/fd/${n}`, `/dev/${name}`);
  symlinkSync("/proc/self/fd", "/dev/fd");
  mkdirSync("/dev/pts");
  const data = "newinstance,ptmxmode=0666,mode=620";
  mount({ source: "devpts", target: "/dev/pts", type: "devpts", flags: MS.noSuid | MS.noExec, data });
  symlinkSync("pts/ptmx", "/dev/ptmx");
  mkdirSync("/dev/shm");
  privateFolder("/dev/shm");
  // So that ttyname() finds the terminal, which is not in our own devpts.
  if (tty !== null && exists(OLD + tty)) bindFile(OLD + tty, "/dev/console");
  makeReadOnly("/dev", false);
}

function makeHome(home: string, say: { readonly notes: string[] }): void {
  mkdirSync(home, { recursive: true });
  if (copyOnWrite(home)) return;
  bind(home, true);
  say.notes.push(`${home} is read-only: this kernel makes no copy-on-write view of it`);
}

/** False where the kernel refuses (older than 5.11, other mounts below, a file system that cannot be a lower layer). */
function copyOnWrite(folder: string): boolean {
  const layers = "/run-layers";
  mkdirSync(layers, { recursive: true });
  mount({ source: "tmpfs", target: layers, type: "tmpfs", flags: MS.noSuid | MS.noDev, data: "mode=0700" });
  try {
    // The top of the view has the owner and mode of `upper`.
    const { mode } = statSync(OLD + folder);
    mkdirSync(`${layers}/upper`);
    chmodSync(`${layers}/upper`, mode & 0o7777);
    mkdirSync(`${layers}/work`);
    const data = `lowerdir=${escaped(OLD + folder)},upperdir=${layers}/upper,workdir=${layers}/work,userxattr`;
    mount({ source: "overlay", target: folder, type: "overlay", flags: MS.noSuid | MS.noDev, data });
    return true;
  } catch (fault) {
    if (fault instanceof SystemCallError) return false;
    throw fault;
  } finally {
    detach(layers);
    rmdirSync(layers);
  }
}

const escaped = (text: string): string => text.replace(/[\\:,]/g, (c) => `\\${c}`);

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

function makeTrust(trust: string | null): void {
  if (trust === null) return;
  mkdirSync(TRUST_INSIDE, { recursive: true });
  mount({ source: OLD + trust, target: TRUST_INSIDE, flags: MS.bind });
  makeReadOnly(TRUST_INSIDE, false);
  const bundle = `${TRUST_INSIDE}/${PATHS.bundleFile}`;
  if (!exists(bundle)) throw new Error(`${trust} holds no ${PATHS.bundleFile}`);
  const covered = new Set<string>();
  for (const file of SYSTEM_BUNDLES) {
    if (!exists(file)) continue;
    const real = realpathSync(file);
    if (covered.has(real)) continue;
    covered.add(real);
    mount({ source: bundle, target: real, flags: MS.bind });
    makeReadOnly(real, false);
  }
}

/** Any server would do, since port 53 is redirected wherever it goes; ours is one that always has a route. */
function makeResolver(): void {
  const file = "/etc/resolv.conf";
  const own = "/run/sidegate/resolv.conf";
  mkdirSync(path.dirname(own), { recursive: true });
  writeFileSync(own, RESOLV_CONF, { mode: 0o444 });
  try {
    if (lstatSync(file).isSymbolicLink()) {
      // Mostly into /run, where nothing is now: so put a file at the end of the link.
      const end = path.resolve(path.dirname(file), readlinkSync(file));
      if (!exists(file) && isWithin(end, "/run")) {
        mkdirSync(path.dirname(end), { recursive: true });
        writeFileSync(end, RESOLV_CONF, { mode: 0o444 });
        return;
      }
    }
  } catch {
    return; // no such file: the C library then asks 127.0.0.1, which is us
  }
  if (!exists(file)) return;
  mount({ source: own, target: realpathSync(file), flags: MS.bind });
  makeReadOnly(realpathSync(file), false);
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

function privateFolder(at: string): void {
  if (!exists(at)) {
    if (path.dirname(at) !== "/") return;
    mkdirSync(at);
  }
  if (lstatSync(at).isSymbolicLink()) return; // its end is private already, or read-only
  const mode = at === "/run" ? "0755" : "1777";
  mount({ source: "tmpfs", target: at, type: "tmpfs", flags: MS.noSuid | MS.noDev, data: `mode=${mode}` });
}

/** The host's file or folder at its own path. */
function bind(at: string, readOnly: boolean): void {
  const source = OLD + at;
  if (!exists(at)) {
    mkdirSync(statSync(source).isDirectory() ? at : path.dirname(at), { recursive: true });
    if (!statSync(source).isDirectory()) writeFileSync(at, "");
  }
  mount({ source, target: at, flags: MS.bind | MS.recursive });
  if (readOnly) makeReadOnly(at, true);
}

function bindFile(source: string, target: string): void {
  writeFileSync(target, "");
  mount({ source, target, flags: MS.bind });
}

function freeze(at: string): void {
  mount({ source: at, target: at, flags: MS.bind | MS.recursive });
  makeReadOnly(at, true);
}

function hide(at: string): void {
  if (!exists(at)) return;
  if (!statSync(at).isDirectory()) return mount({ source: "/dev/null", target: at, flags: MS.bind });
  const flags = MS.noSuid | MS.noDev | MS.noExec | MS.readOnly;
  mount({ source: "tmpfs", target: at, type: "tmpfs", flags, data: "mode=0555,size=4k" });
}

function exists(at: string): boolean {
  try {
    statSync(at);
    return true;
  } catch {
    return false;
  }
}
