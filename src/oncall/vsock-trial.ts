/**
 * Whether an agent's container can ask its node's hypervisor by AF_VSOCK: no network namespace and no packet filter sees such a
 * socket, so the runtime's own seccomp profile has to refuse it (vsock(7)). Tried in a container as agents have it.
 *
 * Errs towards open: an answer that is not known is one.
 */
import { type Finding, fail, ok, warn } from "./finding.ts";

/** Run by the proxy image's Node. The host is address 2; nobody is expected at port 1024. */
export const VSOCK_TRIAL = `
const { functions: c } = process.getBuiltinModule("node:ffi").dlopen(null, {
  socket: { arguments: ["i32", "i32", "i32"], return: "i32" },
  connect: { arguments: ["i32", "buffer", "u32"], return: "i32" },
  __errno_location: { arguments: [], return: "pointer" },
});
const errno = () => process.getBuiltinModule("node:ffi").getInt32(c.__errno_location());
const made = c.socket(40, 1, 0);
const host = Buffer.alloc(16);
host.writeUInt16LE(40, 0);
host.writeUInt32LE(1024, 4);
host.writeUInt32LE(2, 8);
if (made < 0) console.log("vsock: refused " + errno());
else console.log("vsock: made " + (c.connect(made, host, 16) === 0 ? 0 : errno()));
`;

/** EPERM, ENODEV, EOPNOTSUPP, EADDRNOTAVAIL: a socket without anybody who could carry it. */
const NO_TRANSPORT: readonly number[] = [1, 19, 95, 99];

/** `log`: what the trial said. */
export function vsockFinding(where: string, log: string): Finding {
  const [, how, text] = /^vsock: (refused|made) (\d+)$/m.exec(log) ?? [];
  const says = `${where}: containers may make VSOCK sockets, past every rule`;
  const fix =
    "take a runtime whose default seccomp profile refuses AF_VSOCK (containerd from 1.7, Docker from 23.0, CRI-O only with a profile of 2026), or keep the kernel module vsock from loading on these nodes";
  if (how === undefined)
    return fail("node vsock", `${where}: not tried: ${log.trim().split("\n").at(-1) ?? ""}`, "run it again");
  if (how === "refused") return ok("node vsock", `${where}: the runtime refuses VSOCK sockets`);
  if (NO_TRANSPORT.includes(Number(text)))
    return warn("node vsock", `${says}; this machine has nothing that carries them`, fix);
  return fail("node vsock", `${says}: the hypervisor is asked`, fix);
}
