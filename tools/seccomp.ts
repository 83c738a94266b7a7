/**
 * Writes charts/gateway/files/seccomp-agent.json: the seccomp profile of agents' containers where `injection.seccomp.type` is Localhost.
 * An allow-list, no wider than what containerd and Docker allow a container without capabilities, and narrower where a door leads past
 * the pod's network, which no packet filter sees:
 *
 * - socket(2) makes AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK only; not AF_VSOCK (the hypervisor), AF_ALG, AF_PACKET, AF_TIPC, …
 *   A filter sees the whole register, the kernel reads the lower half of it: that half is compared, with what is allowed. A rule
 *   "any but 40" lets 40 + 2^32 pass.
 * - io_uring makes sockets without a system call that a filter could see.
 * - Of each machine the 64-bit ABI only: a 32-bit program's socketcall(2) has its arguments behind a pointer, and x32 other numbers. A
 *   call of another ABI ends the process (libseccomp's answer to a foreign architecture).
 *
 * Fails closed: a call that is not named is refused with EPERM, as the runtimes do. Format: OCI runtime specification, linux.seccomp,
 * which containerd, CRI-O and Docker read.
 */
import { writeFileSync } from "node:fs";

export const SECCOMP_PROFILE_FILE = "charts/gateway/files/seccomp-agent.json";

export interface SeccompArgument {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: "SCMP_CMP_EQ" | "SCMP_CMP_MASKED_EQ";
}

export interface SeccompRule {
  readonly names: readonly string[];
  readonly action: "SCMP_ACT_ALLOW" | "SCMP_ACT_ERRNO";
  readonly errnoRet?: number;
  readonly args?: readonly SeccompArgument[];
}

export interface SeccompJson {
  readonly defaultAction: "SCMP_ACT_ERRNO";
  readonly defaultErrnoRet: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly SeccompRule[];
}

/** errno-base.h, errno.h */
const ERRNO = { EPERM: 1, ENOSYS: 38 } as const;

/** socket.h. NETLINK: getifaddrs(3) and every resolver that sorts addresses. */
const FAMILIES = { unix: 1, inet: 2, inet6: 10, netlink: 16 } as const;

/** sched.h: CLONE_NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWNS. */
const NEW_NAMESPACES = 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000 | 0x0002_0000;

/** personality.h: Linux, Linux for 32-bit programs (which setarch asks for), and the question which it is. */
const PERSONALITIES = [0, 8, 0xffff_ffff] as const;

/** What an ordinary program needs, by what it is for. Names of one machine only are passed over on the other. */
const CALLS: Readonly<Record<string, string>> = {
  files:
    "access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fallocate " +
    "fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync flock fstat fstatfs fsync ftruncate futimesat getcwd " +
    "getdents getdents64 ioctl lchown link linkat lseek lstat mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open " +
    "openat openat2 readahead readlink readlinkat rename renameat renameat2 rmdir stat statfs statx symlink symlinkat sync " +
    "sync_file_range syncfs truncate umask unlink unlinkat utime utimensat utimes listmount statmount",
  attributes:
    "fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr lremovexattr " +
    "lsetxattr removexattr removexattrat setxattr setxattrat",
  transfer:
    "pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readv sendfile splice tee vmsplice write writev " +
    "io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit",
  sockets:
    "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto " +
    "setsockopt shutdown",
  waiting:
    "epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 inotify_add_watch inotify_init " +
    "inotify_init1 inotify_rm_watch pause pipe pipe2 poll ppoll pselect6 select signalfd signalfd4 timerfd_create " +
    "timerfd_gettime timerfd_settime",
  memory:
    "brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mprotect " +
    "mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages",
  processes:
    "arch_prctl execve execveat exit exit_group fork getpgid getrandom getpgrp getpid getppid getpriority getrlimit getrusage gettid " +
    "kill pidfd_open pidfd_send_signal prctl prlimit64 process_vm_readv process_vm_writev ptrace rseq setpgid setpriority " +
    "setrlimit setsid set_tid_address sysinfo tgkill times tkill uname vfork wait4 waitid",
  threads:
    "futex futex_requeue futex_wait futex_waitv futex_wake get_robust_list getcpu ioprio_get ioprio_set sched_getaffinity " +
    "sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval " +
    "sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield set_robust_list",
  signals:
    "alarm restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend " +
    "rt_sigtimedwait rt_tgsigqueueinfo sigaltstack",
  time:
    "adjtimex clock_adjtime clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep setitimer time " +
    "timer_create timer_delete timer_getoverrun timer_gettime timer_settime",
  // Without a capability they change nothing that was not the container's.
  identity:
    "capget capset getegid geteuid getgid getgroups getresgid getresuid getsid getuid setfsgid setfsuid setgid setgroups " +
    "setregid setresgid setresuid setreuid setuid",
  messages:
    "mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop " +
    "semtimedop shmat shmctl shmdt shmget",
  // What a program lays on itself.
  confinement: "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp",
};

export function seccompProfile(): SeccompJson {
  const allow = (name: string, ...args: readonly SeccompArgument[]): SeccompRule => ({
    names: [name],
    action: "SCMP_ACT_ALLOW",
    args,
  });
  const reads = (int: number): SeccompArgument => ({
    index: 0,
    value: 0xffff_ffff,
    valueTwo: int,
    op: "SCMP_CMP_MASKED_EQ",
  });
  const is = (value: number): SeccompArgument => ({ index: 0, value, op: "SCMP_CMP_EQ" });
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: ERRNO.EPERM,
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
    syscalls: [
      ...Object.values(CALLS).map((calls) => ({ names: calls.split(" "), action: "SCMP_ACT_ALLOW" as const })),
      ...Object.values(FAMILIES).map((family) => allow("socket", reads(family))),
      // AF_TIPC knows it, too.
      allow("socketpair", reads(FAMILIES.unix)),
      ...PERSONALITIES.map((personality) => allow("personality", is(personality))),
      allow("clone", { index: 0, value: NEW_NAMESPACES, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }),
      // "Not there" is what their callers know another way for: clone3's flags lie behind a pointer, io_uring's calls in memory.
      {
        names: ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"],
        action: "SCMP_ACT_ERRNO",
        errnoRet: ERRNO.ENOSYS,
      },
    ],
  };
}

export function seccompProfileText(): string {
  return `${JSON.stringify(seccompProfile(), null, 2)}\n`;
}

if (import.meta.main) writeFileSync(SECCOMP_PROFILE_FILE, seccompProfileText());
