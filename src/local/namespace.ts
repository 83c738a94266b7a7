/**
 * `sidegate run`, seen from outside: a namespace whose network is nothing but a loopback, the sockets on which its connections
 * arrive, and a command started in it. The sockets come out as file descriptors that nobody reads here: give them to a child
 * by `stdio`, as often as it has to be started anew.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { requireTool } from "#netfilter/tools.ts";
import type { Command, ExitStatus, FromKeeper, Identity, SocketName, ToKeeper } from "./protocol.ts";
import { catchSignals } from "./signals.ts";
import type { Furnished, View } from "./view.ts";

export interface NamespaceOptions {
  /** The keeper's program: a Node 26 and the entry file (cmd/run-inner). */
  readonly node: string;
  readonly entry: string;
  readonly uid: number;
  readonly gid: number;
}

export type Sockets = { readonly [N in SocketName]: number | null };

export interface Namespace {
  /** File descriptors of this process, listening; null where the kernel has no IPv6. */
  readonly sockets: Sockets;
  /** Builds what the command sees. Once, before `start`; the trust files must exist by now. */
  furnish(view: View): Promise<Furnished>;
  /**
   * Runs the command to its end, and until nothing of it is left. Signals of this process are passed on to it meanwhile.
   * stdin, stdout and stderr are this process's own.
   */
  start(command: Command): Promise<ExitStatus>;
  /** Ends everything inside and closes the sockets. Idempotent. */
  close(): void;
}

const OPEN_TIMEOUT_MS = 30_000;

export async function openNamespace(options: NamespaceOptions): Promise<Namespace> {
  const identity: Identity = { uid: options.uid, gid: options.gid, mode: "user" };
  const keeper = new Keeper(spawnKeeper(options, identity));
  await keeper.open(identity);
  return keeper;
}

function spawnKeeper({ node, entry }: NamespaceOptions, { mode }: Identity): ChildProcess {
  const user = mode === "user" ? ["--user", "--map-root-user"] : [];
  const kinds = ["--net", "--mount", "--propagation", "private", "--pid", "--ipc"];
  const program = [node, "--disable-warning=ExperimentalWarning", "--disable-sigusr1", entry];
  const make = [requireTool("unshare"), ...user, ...kinds, "--fork", "--kill-child=SIGKILL", "--", ...program];
  const args = ["--pdeathsig", "KILL", "--", ...make];
  return spawn(requireTool("setpriv"), args, {
    // 2 is for what unshare and the keeper have to say; the command's own stderr travels as 4.
    stdio: ["inherit", "inherit", "pipe", "ipc", 2],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
}

interface Handle {
  readonly fd: number;
  close(): void;
}

class Keeper implements Namespace {
  readonly #process: ChildProcess;
  readonly #handles = new Map<SocketName, Handle>();
  #settle: { readonly resolve: (m: FromKeeper) => void; readonly reject: (e: Error) => void } | null = null;
  #stderr = "";
  #gone = false;
  readonly #exited: Promise<void>;

  constructor(child: ChildProcess) {
    this.#process = child;
    child.on("message", (message, handle) => this.#received(message as FromKeeper, handle));
    this.#exited = new Promise((resolve) => child.once("exit", () => resolve()));
    child.once("error", (e) => this.#ended(e.message));
    child.once("close", (code, signal) => this.#ended(this.#stderr.trim() || `ended early (${signal ?? code})`));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4096);
    });
  }

  get sockets(): Sockets {
    const fd = (name: SocketName): number | null => this.#handles.get(name)?.fd ?? null;
    return {
      tcp4: fd("tcp4"),
      tcp6: fd("tcp6"),
      dnsUdp4: fd("dnsUdp4"),
      dnsUdp6: fd("dnsUdp6"),
      dnsTcp4: fd("dnsTcp4"),
      dnsTcp6: fd("dnsTcp6"),
    };
  }

  async open(identity: Identity): Promise<void> {
    const timer = setTimeout(() => this.#ended("did not open in time"), OPEN_TIMEOUT_MS);
    try {
      await this.#ask({ kind: "open", identity });
    } finally {
      clearTimeout(timer);
    }
  }

  async furnish(view: View): Promise<Furnished> {
    const answer = await this.#ask({ kind: "furnish", view });
    if (answer.kind !== "furnished") throw new Error(`unexpected answer: ${answer.kind}`);
    return answer.furnished;
  }

  async start(command: Command): Promise<ExitStatus> {
    const release = catchSignals(
      (signal, total, sent) => this.#send({ kind: "signal", signal, total }, sent),
      (signal) => process.kill(process.pid, signal),
    );
    try {
      const answer = await this.#ask({ kind: "start", command });
      if (answer.kind !== "exit") throw new Error(`unexpected answer: ${answer.kind}`);
      await this.#exited;
      return answer.status;
    } finally {
      release();
    }
  }

  close(): void {
    if (!this.#gone) this.#process.kill("SIGKILL");
    for (const handle of this.#handles.values()) handle.close();
    this.#handles.clear();
  }

  #send(message: ToKeeper, sent: () => void = () => undefined): void {
    if (this.#process.connected) this.#process.send(message, sent);
    else sent();
  }

  #ask(message: ToKeeper): Promise<FromKeeper> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      if (this.#gone) this.#ended("is gone");
      else this.#send(message);
    });
  }

  #received(message: FromKeeper, handle: unknown): void {
    if (message.kind === "socket") this.#handles.set(message.name, handle as Handle);
    else if (message.kind === "failed") this.#ended(message.message);
    else {
      this.#settle?.resolve(message);
      this.#settle = null;
    }
  }

  #ended(why: string): void {
    this.#gone = true;
    this.#settle?.reject(new Error(`the namespace ${why}`));
    this.#settle = null;
  }
}
