/**
 * `sidegate run`, seen from outside: a namespace whose network is nothing but a loopback, the sockets on which its connections
 * arrive, and a command started in it. The sockets come out as file descriptors that nobody reads here: give them to a child
 * by `stdio`, as often as it has to be started anew.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { findTool, requireTool } from "#netfilter/tools.ts";
import { FACT_FILES, howToOpen } from "./closed.ts";
import { KeeperLink, type Namespace } from "./keeper-link.ts";
import type { Identity } from "./protocol.ts";

export interface NamespaceOptions {
  /** The keeper's program: a Node 26 and the entry file (cmd/run-inner). */
  readonly node: string;
  readonly entry: string;
  readonly uid: number;
  readonly gid: number;
  /** `user`: by a user namespace. `root`: without one, for root only. Default: `user`, and for root `root` where that is refused. */
  readonly mode?: Identity["mode"];
}

export type { Namespace, Sockets } from "./keeper-link.ts";

export class NamespaceError extends Error {
  /** `tools`: something is not installed. `closed`: the system does not permit it; the message has the line that does. */
  readonly code: "tools" | "closed" | "failed";
  constructor(code: NamespaceError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "NamespaceError";
    this.code = code;
  }
}

/** Throws NamespaceError. */
export async function openNamespace(options: NamespaceOptions): Promise<Namespace> {
  checkTools();
  const modes: readonly Identity["mode"][] =
    options.mode !== undefined ? [options.mode] : options.uid === 0 ? ["user", "root"] : ["user"];
  const faults: string[] = [];
  for (const mode of modes) {
    const identity: Identity = { uid: options.uid, gid: options.gid, mode };
    const link = new KeeperLink(spawnKeeper(options, identity), identity, programFolders(options));
    try {
      await link.open();
      return link;
    } catch (fault) {
      link.close();
      faults.push((fault as Error).message);
    }
  }
  const said = faults.join("; ");
  const way = howToOpen({ said, ...readFacts() });
  throw new NamespaceError(way === null ? "failed" : "closed", way === null ? said : `${way} (${said})`);
}

function checkTools(): void {
  const needed = { unshare: "util-linux", setpriv: "util-linux", ip: "iproute2", nft: "nftables" } as const;
  const missing = (["unshare", "setpriv", "ip", "nft"] as const).filter((name) => findTool(name) === null);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((name) => needed[name]))].join(" ");
  throw new NamespaceError(
    "tools",
    `${missing.join(", ")}: not installed; for example: sudo apt-get install ${packages}`,
  );
}

function spawnKeeper({ node, entry }: NamespaceOptions, { mode }: Identity): ChildProcess {
  const user = mode === "user" ? ["--user", "--map-root-user"] : [];
  const kinds = ["--net", "--mount", "--propagation", "private", "--pid", "--ipc"];
  const program = [node, "--disable-warning=ExperimentalWarning", "--disable-sigusr1", entry];
  const make = [requireTool("unshare"), ...user, ...kinds, "--fork", "--kill-child=SIGKILL", "--", ...program];
  // Should we be killed, so is unshare, and with it PID 1 and all that is inside. Keys that are meant for the command must not end it.
  const script = 'trap "" HUP QUIT USR1 USR2 && exec "$@"';
  const args = ["-c", script, "sh", requireTool("setpriv"), "--pdeathsig", "KILL", "--", ...make];
  return spawn("/bin/sh", args, {
    // 2 is for what unshare and the keeper have to say; the command's own stderr travels as 4.
    stdio: ["inherit", "inherit", "pipe", "ipc", 2],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
}

/** Our own program, which the next run would start: never writable, even where it lies in the working folder. */
function programFolders({ node, entry }: NamespaceOptions): readonly string[] {
  const folder = path.dirname(entry);
  const beside = ["src", "bin", "node_modules"].map((name) => path.join(path.dirname(folder), name));
  return [node, folder, ...beside].filter((each) => existsSync(each));
}

function readFacts(): {
  [F in keyof typeof FACT_FILES]: string | null;
} & { inContainer: boolean } {
  const read = (file: string): string | null => (existsSync(file) ? readFileSync(file, "utf8").trim() : null);
  return {
    unprivilegedUsernsClone: read(FACT_FILES.unprivilegedUsernsClone),
    apparmorRestrict: read(FACT_FILES.apparmorRestrict),
    maxUserNamespaces: read(FACT_FILES.maxUserNamespaces),
    inContainer: existsSync("/.dockerenv") || existsSync("/run/.containerenv"),
  };
}
