/**
 * The seccomp filter of the command: doors of the kernel that a network namespace does not close. Sockets of families that are
 * not namespaced (VSOCK reaches the hypervisor, TIPC and RDS their own networks), the keyrings of the user, pushing characters
 * into the terminal, and io_uring, which could open any of them without a system call to filter.
 *
 * Errs towards refusal for a foreign ABI (a 32-bit program, x32): its numbers mean other calls, so none of them runs.
 * Format: struct sock_filter, linux/filter.h; struct seccomp_data, linux/seccomp.h.
 */

interface Abi {
  /** linux/audit.h */
  readonly audit: number;
  /** Numbers from here on belong to another ABI; null: none. */
  readonly foreignFrom: number | null;
  readonly socket: number;
  readonly ioctl: number;
  /** Refused with EPERM: add_key, request_key, keyctl, bpf, perf_event_open, userfaultfd, open_by_handle_at. */
  readonly refused: readonly number[];
}

const ABIS: Partial<Record<NodeJS.Architecture, Abi>> = {
  x64: {
    audit: 0xc000_003e,
    foreignFrom: 0x4000_0000,
    socket: 41,
    ioctl: 16,
    refused: [248, 249, 250, 321, 298, 323, 304],
  },
  arm64: {
    audit: 0xc000_00b7,
    foreignFrom: null,
    socket: 198,
    ioctl: 29,
    refused: [217, 218, 219, 280, 241, 282, 265],
  },
};

/** io_uring_setup, _enter, _register: the same everywhere. */
const IO_URING = [425, 426, 427];
const FAMILIES = { unix: 1, inet: 2, inet6: 10, netlink: 16 } as const;
/** asm-generic/ioctls.h: both put characters into a terminal's input. */
const TERMINAL_INPUT = { TIOCSTI: 0x5412, TIOCLINUX: 0x541c } as const;
const ERRNO = { EPERM: 1, ENOSYS: 38, EAFNOSUPPORT: 97 } as const;

const LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const IF_EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_AT_LEAST = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN = 0x06; // BPF_RET | BPF_K
const ALLOW = 0x7fff_0000;
const REFUSE = 0x0005_0000; // SECCOMP_RET_ERRNO, errno in the low 16 bits
/** Offsets in struct seccomp_data { int nr; __u32 arch; __u64 ip; __u64 args[6] }, little endian: the low half comes first. */
const AT = { number: 0, arch: 4, arg0: 16, arg1: 24 } as const;

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, k: number];

/** The filter for an architecture, or null where we do not know its numbers. */
export function seccompFilter(arch: NodeJS.Architecture): Buffer | null {
  const abi = ABIS[arch];
  return abi === undefined ? null : assemble(program(abi));
}

function program(abi: Abi): readonly Instruction[] {
  const families = Object.values(FAMILIES).flatMap((f) => onEqual(f, ALLOW));
  const inputs = Object.values(TERMINAL_INPUT).flatMap((i) => onEqual(i, REFUSE | ERRNO.EPERM));
  return [
    [LOAD, 0, 0, AT.arch],
    [IF_EQUAL, 1, 0, abi.audit],
    [RETURN, 0, 0, REFUSE | ERRNO.ENOSYS],
    [LOAD, 0, 0, AT.number],
    ...(abi.foreignFrom === null ? [] : foreign(abi.foreignFrom)),
    ...IO_URING.flatMap((n) => onEqual(n, REFUSE | ERRNO.ENOSYS)),
    ...abi.refused.flatMap((n) => onEqual(n, REFUSE | ERRNO.EPERM)),
    ...block(abi.socket, [[LOAD, 0, 0, AT.arg0], ...families, [RETURN, 0, 0, REFUSE | ERRNO.EAFNOSUPPORT]]),
    ...block(abi.ioctl, [[LOAD, 0, 0, AT.arg1], ...inputs, [RETURN, 0, 0, ALLOW]]),
    [RETURN, 0, 0, ALLOW],
  ];
}

const onEqual = (k: number, result: number): readonly Instruction[] => [
  [IF_EQUAL, 0, 1, k],
  [RETURN, 0, 0, result],
];

const foreign = (from: number): readonly Instruction[] => [
  [IF_AT_LEAST, 0, 1, from],
  [RETURN, 0, 0, REFUSE | ERRNO.ENOSYS],
];

/** `body` ends in a return, so it is skipped whole or left for good. */
const block = (number: number, body: readonly Instruction[]): readonly Instruction[] => [
  [IF_EQUAL, 0, body.length, number],
  ...body,
];

function assemble(instructions: readonly Instruction[]): Buffer {
  const out = Buffer.alloc(instructions.length * 8);
  for (const [i, [code, ifTrue, ifFalse, k]] of instructions.entries()) {
    out.writeUInt16LE(code, i * 8);
    out.writeUInt8(ifTrue, i * 8 + 2);
    out.writeUInt8(ifFalse, i * 8 + 3);
    out.writeUInt32LE(k >>> 0, i * 8 + 4);
  }
  return out;
}
