/**
 * The folders that a command has from the system and not from the host: devices, processes, kernel, names, roots of trust. Each is
 * made anew with as little in it as programs need.
 */
import { lstatSync, mkdirSync, readlinkSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { PATHS } from "#contract/names.ts";
import { MS, makeReadOnly, mount } from "./libc.ts";
import { bind, bindFile, exists, freeze, hide, OLD, privateFolder } from "./place.ts";
import { isWithin, TRUST_INSIDE } from "./view.ts";

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

/** A new one of our own PID namespace. The kernel refuses where the host's own is covered (inside a container): then nothing runs. */
export function makeProc(): void {
  mkdirSync("/proc");
  mount({ source: "proc", target: "/proc", type: "proc", flags: MS.noSuid | MS.noDev | MS.noExec });
  for (const name of PROC_READ_ONLY) if (exists(`/proc/${name}`)) freeze(`/proc/${name}`);
  for (const name of PROC_HIDDEN) hide(`/proc/${name}`);
}

export function makeSys(): void {
  mkdirSync("/sys");
  bind("/sys", true);
  for (const name of SYS_HIDDEN) hide(`/sys/${name}`);
}

export function makeDevices(tty: string | null): void {
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

export function makeTrust(trust: string | null): void {
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
export function makeResolver(): void {
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
