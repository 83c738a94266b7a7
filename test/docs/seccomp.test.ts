/** The profile of agents' containers: what the file says is what its generator says, and what it lets a program ask of the kernel. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { SECCOMP_PROFILE_FILE, type SeccompJson, seccompProfileText } from "../../tools/seccomp.ts";

const profile = JSON.parse(readFileSync(SECCOMP_PROFILE_FILE, "utf8")) as SeccompJson;

/** As libseccomp joins rules: any that matches, all of its arguments, 64 bits wide. "allowed", or the errno. */
function answer(name: string, ...registers: readonly bigint[]): "allowed" | number {
  for (const { names, action, errnoRet, args = [] } of profile.syscalls) {
    const matches = args.every(({ index, value, valueTwo, op }) =>
      op === "SCMP_CMP_EQ"
        ? registers[index] === BigInt(value)
        : ((registers[index] ?? 0n) & BigInt(value)) === BigInt(valueTwo ?? 0),
    );
    if (names.includes(name) && matches) return action === "SCMP_ACT_ALLOW" ? "allowed" : (errnoRet ?? 1);
  }
  return profile.defaultErrnoRet;
}

test("the chart's seccomp profile is what tools/seccomp.ts writes", () => {
  expect(readFileSync(SECCOMP_PROFILE_FILE, "utf8")).toBe(seccompProfileText());
  expect(profile.defaultAction).toBe("SCMP_ACT_ERRNO");
});

describe("under the profile, a program", () => {
  test("makes sockets of the pod's network and its own, and of no other family, however the number is written", () => {
    const made = Array.from({ length: 64 }, (_, family) => family).filter(
      (family) => answer("socket", BigInt(family), 1n, 0n) === "allowed",
    );
    expect(made).toEqual([1, 2, 10, 16]);
    // The kernel reads 32 bits of it, and so does the rule.
    for (const family of [40n, 38n, 17n, 30n]) expect(answer("socket", (1n << 32n) + family, 1n, 0n)).toBe(1);
    expect(answer("socket", (0xdeadn << 32n) + 2n, 1n, 0n)).toBe("allowed");
    expect(answer("socketpair", 1n, 1n, 0n)).toBe("allowed");
    for (const family of [2n, 30n, 40n]) expect(answer("socketpair", family, 1n, 0n)).toBe(1);
  });

  test("makes none where no filter sees the family: through io_uring, socketcall, or a foreign ABI", () => {
    for (const call of ["io_uring_setup", "io_uring_enter", "io_uring_register"]) expect(answer(call)).toBe(38);
    expect(answer("socketcall", 1n)).toBe(1);
    for (const foreign of ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"])
      expect(profile.architectures).not.toContain(foreign);
  });

  test("makes no namespace, in which it would have every capability", () => {
    const thread = 0x3d_0f00n;
    expect(answer("clone", thread)).toBe("allowed");
    for (const bit of [17n, 25n, 26n, 27n, 28n, 29n, 30n]) expect(answer("clone", thread | (1n << bit))).toBe(1);
    // Its flags lie in memory; the C libraries take clone instead.
    expect(answer("clone3")).toBe(38);
    for (const call of ["unshare", "setns"]) expect(answer(call)).toBe(1);
  });

  test("gets at nothing that wants a capability, and at no keyring, trace or module of the kernel", () => {
    for (const call of [
      ["add_key", "request_key", "keyctl", "bpf", "perf_event_open", "userfaultfd", "open_by_handle_at"],
      ["mount", "umount2", "move_mount", "open_tree", "fsopen", "pivot_root", "chroot", "swapon", "quotactl"],
      ["init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "acct"],
      ["settimeofday", "clock_settime", "sethostname", "setdomainname", "syslog", "iopl", "ioperm", "vhangup"],
      ["pidfd_getfd", "process_madvise", "kcmp", "mbind", "set_mempolicy", "move_pages", "fanotify_init", "modify_ldt"],
    ].flat())
      expect(answer(call), call).toBe(1);
    expect(answer("personality", 0xffff_ffffn)).toBe("allowed");
    expect(answer("personality", 0x0040_0000n)).toBe(1);
  });

  test("has what every language's runtime starts with", () => {
    for (const call of [
      ["execve", "mmap", "mprotect", "brk", "openat", "read", "write", "close", "newfstatat", "statx", "getrandom"],
      ["futex", "rseq", "set_tid_address", "set_robust_list", "prlimit64", "arch_prctl", "sched_getaffinity", "clone"],
      [
        "epoll_create1",
        "epoll_pwait",
        "eventfd2",
        "timerfd_create",
        "pipe2",
        "dup3",
        "wait4",
        "rt_sigaction",
        "tgkill",
      ],
      ["connect", "accept4", "bind", "listen", "sendto", "recvmsg", "getsockopt", "setsockopt", "shutdown"],
      ["membarrier", "memfd_create", "madvise", "mlock", "pkey_alloc", "fchmodat2", "close_range", "copy_file_range"],
    ].flat())
      expect(answer(call, 0n), call).toBe("allowed");
  });
});
