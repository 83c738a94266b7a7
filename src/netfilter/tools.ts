/**
 * Runs the kernel's own rule tools. They live in /usr/sbin, which is not on an ordinary user's PATH, and a PATH is not to be
 * believed by a process that holds NET_ADMIN: so absolute paths, from a fixed list.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";

export type IptablesFlavour = "iptables" | "iptables-legacy";
export type ToolName =
  | "nft"
  | `${IptablesFlavour}-restore`
  | `${IptablesFlavour}-save`
  | "ip6tables-restore"
  | "ip6tables-legacy-restore"
  | "ip"
  | "unshare"
  | "setpriv";

const PLACES = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"] as const;

/** Debian's and Alpine's package of each tool, for the message. */
const PACKAGES: Partial<Record<ToolName, string>> = {
  nft: "nftables",
  ip: "iproute2",
  unshare: "util-linux",
  setpriv: "util-linux",
};

const TIMEOUT_MS = 20_000;
/** iptables-legacy wants one, and /run is read-only in our container. */
const LOCK_FILE = "/dev/shm/sidegate-xtables.lock";

export class ToolError extends Error {
  readonly code: "tool_missing" | "tool_failed" | "not_ahead";
  constructor(code: ToolError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ToolError";
    this.code = code;
  }
}

/** The absolute path of a tool, or null where it is not installed. */
export function findTool(name: ToolName): string | null {
  for (const place of PLACES) {
    const path = `${place}/${name}`;
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not here
    }
  }
  return null;
}

/** As `findTool`; throws ToolError `tool_missing` naming the package. */
export function requireTool(name: ToolName): string {
  const path = findTool(name);
  if (path === null)
    throw new ToolError(
      "tool_missing",
      `${name} is not installed (package ${PACKAGES[name] ?? "iptables"}); looked in ${PLACES.join(", ")}`,
    );
  return path;
}

/** Runs a tool to its end, at most 20 s, input on stdin, nothing of our environment. Throws ToolError with what it wrote to stderr. */
export function runTool(name: ToolName, args: readonly string[], input = ""): string {
  const path = requireTool(name);
  const done = spawnSync(path, args, {
    input,
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    maxBuffer: 16 * 1024 * 1024,
    env: { PATH: PLACES.join(":"), LC_ALL: "C", XTABLES_LOCKFILE: LOCK_FILE },
  });
  if (done.error !== undefined) throw new ToolError("tool_failed", `${path}: ${done.error.message}`);
  if (done.status !== 0) {
    const why = done.stderr.trim() || (done.signal === null ? `exit code ${done.status}` : `killed by ${done.signal}`);
    throw new ToolError("tool_failed", `${path} ${args.join(" ")}: ${why}`);
  }
  return done.stdout;
}
