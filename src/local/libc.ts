/**
 * The few system calls that Node lacks, through node:ffi. All but `forbidReuse` is the keeper's alone: it lives in the
 * namespace, so mistakes here cannot touch the host's mounts.
 *
 * A failed call throws SystemCallError with its errno: nothing in this file is allowed to fail silently.
 */
import ffi from "node:ffi";
import { getSystemErrorMap } from "node:util";

export class SystemCallError extends Error {
  readonly errno: number;
  /** `EPERM`, … */
  readonly code: string;
  constructor(call: string, errno: number) {
    const [code, text] = getSystemErrorMap().get(-errno) ?? [`errno ${errno}`, ""];
    super(`${call}: ${code}${text === "" ? "" : `, ${text}`}`);
    this.name = "SystemCallError";
    this.errno = errno;
    this.code = code;
  }
}

/** mount(2) */
export const MS = {
  readOnly: 0x1,
  noSuid: 0x2,
  noDev: 0x4,
  noExec: 0x8,
  remount: 0x20,
  bind: 0x1000,
  recursive: 0x4000,
} as const;

const MNT_DETACH = 2;
const MOUNT_ATTR_RDONLY = 1n;
const AT_FDCWD = -100;
const AT_RECURSIVE = 0x8000;
const CLOSE_RANGE_CLOEXEC = 4;
const WAIT = { all: 0, byPid: 1, noHang: 1, stopped: 2, exited: 4, noWait: 0x0100_0000 } as const;
/** siginfo_t of SIGCHLD on 64-bit Linux: three ints, padding, si_pid, si_uid, si_status. */
const SIGINFO = { bytes: 128, pid: 16, status: 24 } as const;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_SET_SECCOMP = 22;
const SECCOMP_MODE_FILTER = 2n;

/** asm/unistd.h; the last two are the same everywhere. */
const PIVOT_ROOT: Partial<Record<NodeJS.Architecture, bigint>> = { x64: 155n, arm64: 41n };
const CLOSE_RANGE = 436n;
const MOUNT_SETATTR = 442n;

const libc = ffi.dlopen(null, {
  mount: { arguments: ["string", "string", "string", "uint64", "string"], return: "int32" },
  setsockopt: { arguments: ["int32", "int32", "int32", "buffer", "uint32"], return: "int32" },
  umount2: { arguments: ["string", "int32"], return: "int32" },
  prctl: { arguments: ["int32", "uint64", "buffer", "uint64", "uint64"], return: "int32" },
  waitid: { arguments: ["int32", "uint32", "buffer", "int32"], return: "int32" },
  waitpid: { arguments: ["int32", "buffer", "int32"], return: "int32" },
  __errno_location: { arguments: [], return: "pointer" },
}).functions;
// One name has one signature a library, so each form of syscall(2) is a library of its own.
const { syscall: pivotRootCall } = ffi.dlopen(null, {
  syscall: { arguments: ["int64", "string", "string"], return: "int64" },
}).functions;
const { syscall: setAttributesCall } = ffi.dlopen(null, {
  syscall: { arguments: ["int64", "int32", "string", "uint32", "buffer", "uint64"], return: "int64" },
}).functions;
const { syscall: closeRangeCall } = ffi.dlopen(null, {
  syscall: { arguments: ["int64", "uint32", "uint32", "uint32"], return: "int64" },
}).functions;
/** Of this thread, fixed for its life; must be taken before the call whose error is read. */
// oxlint-disable-next-line no-underscore-dangle -- the C library calls it so
const errnoAt = libc.__errno_location();

function check(result: number | bigint, call: string): void {
  const errno = ffi.getInt32(errnoAt, 0);
  if (Number(result) < 0) throw new SystemCallError(call, errno);
}

export interface MountOptions {
  readonly source: string | null;
  readonly target: string;
  readonly type?: string;
  /** Bits of MS. */
  readonly flags?: number;
  readonly data?: string;
}

export function mount({ source, target, type, flags = 0, data }: MountOptions): void {
  const result = libc.mount(source, target, type ?? null, BigInt(flags), data ?? null);
  check(result, `mount ${type ?? "bind"} on ${target}`);
}

/** Takes a mount out of sight at once; what is still open on it lives on. */
export function detach(target: string): void {
  const result = libc.umount2(target, MNT_DETACH);
  check(result, `umount ${target}`);
}

/** Makes a mount read-only, and with `recursive` every mount below it (Linux 5.12). */
export function makeReadOnly(target: string, recursive: boolean): void {
  const attributes = Buffer.alloc(32); // struct mount_attr { u64 attr_set, attr_clr, propagation, userns_fd }
  attributes.writeBigUInt64LE(MOUNT_ATTR_RDONLY, 0);
  const result = setAttributesCall(MOUNT_SETATTR, AT_FDCWD, target, recursive ? AT_RECURSIVE : 0, attributes, 32n);
  check(result, `mount_setattr ${target}`);
}

export function pivotRoot(newRoot: string, putOld: string): void {
  const number = PIVOT_ROOT[process.arch];
  if (number === undefined) throw new Error(`pivot_root: not known on ${process.arch}`);
  const result = pivotRootCall(number, newRoot, putOld);
  check(result, "pivot_root");
}

/** No descriptor from `first` on survives an exec (Linux 5.11). */
export function closeOnExec(first: number): void {
  const result = closeRangeCall(CLOSE_RANGE, first, 0xffff_ffff, CLOSE_RANGE_CLOEXEC);
  check(result, "close_range");
}

/** Nobody else may bind this socket's address. libuv allows it on every datagram socket that it opens by descriptor. */
export function forbidReuse(fd: number): void {
  const off = Buffer.alloc(4);
  const result = libc.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, off, off.length);
  check(result, "setsockopt SO_REUSEADDR");
}

/** What this thread and its children start can never gain a privilege by exec. */
export function noNewPrivileges(): void {
  const result = libc.prctl(PR_SET_NO_NEW_PRIVS, 1n, null, 0n, 0n);
  check(result, "prctl PR_SET_NO_NEW_PRIVS");
}

/** `program`: an array of struct sock_filter. Binds this thread and all that it starts, for good. Wants noNewPrivileges() or CAP_SYS_ADMIN. */
export function installSeccomp(program: Buffer): void {
  const filter = Buffer.alloc(16); // struct sock_fprog { unsigned short len; struct sock_filter *filter }
  filter.writeUInt16LE(program.length / 8, 0);
  filter.writeBigUInt64LE(ffi.getRawPointer(program), 8);
  const result = libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter, 0n, 0n);
  check(result, "prctl PR_SET_SECCOMP");
}

/** Collects ended children that are not `except` (libuv's own): the orphans that PID 1 inherits. Never blocks. */
export function reapOrphans(except: number | undefined): void {
  const information = Buffer.alloc(SIGINFO.bytes);
  for (;;) {
    information.writeInt32LE(0, SIGINFO.pid);
    const found = libc.waitid(WAIT.all, 0, information, WAIT.exited | WAIT.noHang | WAIT.noWait);
    const pid = information.readInt32LE(SIGINFO.pid);
    if (found < 0 || pid === 0 || pid === except) return;
    libc.waitpid(pid, null, WAIT.noHang);
  }
}

/** The signal that stopped a child since we last asked; null when none did. */
export function stoppedBy(pid: number): number | null {
  const information = Buffer.alloc(SIGINFO.bytes);
  const found = libc.waitid(WAIT.byPid, pid, information, WAIT.stopped | WAIT.noHang);
  if (found < 0 || information.readInt32LE(SIGINFO.pid) !== pid) return null;
  return information.readInt32LE(SIGINFO.status);
}
