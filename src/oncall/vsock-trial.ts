/**
 * Whether an agent's container can ask its node's hypervisor by AF_VSOCK: no network namespace and no packet filter sees such a
 * socket, so the container's seccomp profile has to refuse it (vsock(7)): the runtime's own, or ours where it is set. Tried in a
 * container as agents have it, which also says whether a profile of ours is on the node at all.
 *
 * Errs towards open: an answer that is not known is one.
 */
import type { InjectionOptions } from "#injection/options.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

/**
 * An ELF64 program for x86-64 that makes the socket by socketcall(2) of the i386 ABI, whose arguments no filter sees; every runtime's
 * default profile lets that pass. It ends with the errno of the socket, or with 128 + the errno of asking host 2. Written out, command by
 * command, in test/bypass/pod/attempts.py (`by_socketcall`); a test compares.
 */
export const SOCKETCALL_PROGRAM =
  "7f454c4602010100000000000000000002003e0001000000780040000000000040000000000000000000000000000000000000004000380001000000000000" +
  "000100000005000000000000000000000000004000000000000000400000000000d300000000000000d3000000000000000010000000000000" +
  "b866000000bb01000000b9c7004000cd8085c07906f7d889c7eb1d89c7488d351b000000ba10000000b82a0000000f05f7d88db880000000b8e70000000f05" +
  "28000000000400000200000000000000280000000100000000000000";

/**
 * Run by the proxy image's Node. The host is address 2; nobody is expected at port 1024. The second try has a number of which the
 * kernel reads the lower half: a profile that forbids "40" has not seen it. The third is a program of one page, in memory.
 */
export const VSOCK_TRIAL = `
const { functions: c } = process.getBuiltinModule("node:ffi").dlopen(null, {
  syscall: { arguments: ["i64", "i64", "i64", "i64"], return: "i64" },
  connect: { arguments: ["i32", "buffer", "u32"], return: "i32" },
  memfd_create: { arguments: ["buffer", "u32"], return: "i32" },
  __errno_location: { arguments: [], return: "pointer" },
});
const errno = () => process.getBuiltinModule("node:ffi").getInt32(c.__errno_location());
const host = Buffer.alloc(16);
host.writeUInt16LE(40, 0);
host.writeUInt32LE(1024, 4);
host.writeUInt32LE(2, 8);
const number = process.arch === "arm64" ? 198n : 41n;
let said = "";
for (const family of [40n, 40n + (1n << 32n)]) {
  const made = Number(c.syscall(number, family, 1n, 0n));
  said = made < 0 ? "refused " + errno() : "made " + (c.connect(made, host, 16) === 0 ? 0 : errno());
  if (made >= 0) break;
}
if (said.startsWith("refused") && process.arch === "x64") {
  const page = c.memfd_create(Buffer.from("vsock\\0"), 0);
  process.getBuiltinModule("node:fs").writeSync(page, Buffer.from("${SOCKETCALL_PROGRAM}", "hex"));
  const path = "/proc/" + process.pid + "/fd/" + page;
  const { status, error } = process.getBuiltinModule("node:child_process").spawnSync(path, { timeout: 5000 });
  if (error !== undefined) throw error;
  if (status >= 128) said = "made " + (status - 128) + " by a 32-bit program";
}
console.log("vsock: " + said);
`;

/** EPERM, ENODEV, EOPNOTSUPP, EADDRNOTAVAIL: a socket without anybody who could carry it. */
const NO_TRANSPORT: readonly number[] = [1, 19, 95, 99];

type Profile = Pick<InjectionOptions, "seccomp">;

/** `log`: what the trial said. */
export function vsockFinding(where: string, log: string, { seccomp }: Profile): Finding {
  const [, how, text, by = ""] = /^vsock: (refused|made) (\d+)( by a 32-bit program)?$/m.exec(log) ?? [];
  const says = `${where}: containers may make VSOCK sockets${by}, past every rule`;
  const fix =
    seccomp.type === "Localhost"
      ? `the file ${seccomp.localhostProfile} on these nodes is not the profile of this release: seccompInstaller.enabled: true, or charts/gateway/files/seccomp-agent.json`
      : "set injection.seccomp.type: Localhost (with seccompInstaller.enabled: true its profile is laid on the nodes), or keep the kernel module vsock from loading on these nodes; a newer runtime alone refuses the plain call only";
  if (how === undefined)
    return fail("node vsock", `${where}: not tried: ${log.trim().split("\n").at(-1) ?? ""}`, "run it again");
  if (how === "refused") {
    const who = seccomp.type === "Localhost" ? `profile ${seccomp.localhostProfile}` : "the runtime";
    return ok("node vsock", `${where}: ${who} refuses VSOCK sockets`);
  }
  if (NO_TRANSPORT.includes(Number(text)))
    return warn("node vsock", `${says}; this machine has nothing that carries them`, fix);
  return fail("node vsock", `${says}: the hypervisor is asked`, fix);
}

/** `why`: what the runtime said of the trial's container, which it could not make. */
export function noContainerFinding(where: string, why: string, { seccomp }: Profile): Finding {
  if (seccomp.type !== "Localhost" || !/seccomp/i.test(why))
    return fail("node vsock", `${where}: not tried: ${why}`, "run it again");
  return fail(
    "node seccomp",
    `${where}: no profile ${seccomp.localhostProfile}, so no agent's container starts (CreateContainerError): ${why}`,
    "seccompInstaller.enabled: true lays it there (is kubeletFolder this kubelet's?); by hand: docs/operations.md, Seccomp profile",
  );
}
