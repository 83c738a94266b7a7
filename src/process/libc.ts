/**
 * The few calls of the C library that Node does not offer, by node:ffi. 64-bit Linux only: the widths below are that ABI's
 * (x86-64 and arm64 pass prctl's variadic arguments in registers, like fixed ones).
 *
 * Errs towards null: where anything is missing, nothing is called, and the caller says that it is open.
 */
export interface Libc {
  /** 0 or a value; -1 on a fault. */
  prctl(option: number, argument: number): number;
  /** 0, or -1 on a fault. */
  setrlimit(resource: number, soft: bigint, hard: bigint): number;
}

export function loadLibc(): Libc | null {
  if (process.platform !== "linux" || (process.arch !== "x64" && process.arch !== "arm64")) return null;
  try {
    // At run time: an older Node must get as far as saying what is open.
    const ffi = process.getBuiltinModule("node:ffi");
    const { functions } = ffi.dlopen(null, {
      prctl: { arguments: ["i32", "u64", "u64", "u64", "u64"], return: "i32" },
      setrlimit: { arguments: ["i32", "buffer"], return: "i32" },
    });
    return {
      prctl: (option, argument) => functions.prctl(option, BigInt(argument), 0n, 0n, 0n),
      setrlimit(resource, soft, hard) {
        const limits = new BigUint64Array([soft, hard]); // struct rlimit
        return functions.setrlimit(resource, Buffer.from(limits.buffer));
      },
    };
  } catch {
    return null;
  }
}
