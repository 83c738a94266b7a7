/**
 * Our end of the channel to the keeper. One question is open at a time; whatever ends the keeper rejects it, so nobody waits for
 * a process that is gone.
 */
import type { ChildProcess } from "node:child_process";
import { forbidReuse } from "./libc.ts";
import { TerminalLoan } from "./loan.ts";
import type { Command, ExitStatus, FromKeeper, Identity, SocketName, ToKeeper } from "./protocol.ts";
import { catchSignals } from "./signals.ts";
import { type Furnished, isWithin, type View, writableFolders } from "./view.ts";

const ANSWER_TIMEOUT_MS = 30_000;
const MAX_STDERR = 4096;

export type Sockets = { readonly [N in SocketName]: number | null };

export interface Namespace {
  readonly mode: Identity["mode"];
  /** File descriptors of this process, listening; null where the kernel has no IPv6. */
  readonly sockets: Sockets;
  /** Builds what the command sees. Once, before `start`; the trust files must exist by now. */
  furnish(view: View): Promise<Furnished>;
  /**
   * Runs the command to its end, and until nothing of it is left. Signals of this process are passed on to it meanwhile.
   * Whoever answers on the sockets has them by now.
   * stdin, stdout and stderr are this process's own. Rejects when the namespace ended before the command did.
   */
  start(command: Command): Promise<ExitStatus>;
  /** Ends everything inside and closes the sockets. Idempotent. */
  close(): void;
}

interface Handle {
  readonly fd: number;
  close(): void;
}

export class KeeperLink implements Namespace {
  readonly mode: Identity["mode"];
  readonly #process: ChildProcess;
  readonly #identity: Identity;
  readonly #program: readonly string[];
  readonly #handles = new Map<SocketName, Handle>();
  readonly #exited: Promise<void>;
  #settle: { readonly resolve: (m: FromKeeper) => void; readonly reject: (e: Error) => void } | null = null;
  #stopped: (signal: string) => void = () => undefined;
  #stderr = "";
  #gone: string | null = null;

  /** `program`: folders of our own that must not be writable inside. */
  constructor(child: ChildProcess, identity: Identity, program: readonly string[]) {
    this.#process = child;
    this.#identity = identity;
    this.#program = program;
    this.mode = identity.mode;
    child.on("message", (message, handle) => this.#received(message as FromKeeper, handle));
    this.#exited = new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.once("error", () => resolve());
    });
    child.once("error", (fault) => this.#ended(fault.message));
    child.once("close", (code, signal) => this.#ended(this.#stderr.trim() || `it ended (${signal ?? code})`));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-MAX_STDERR);
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

  async open(): Promise<void> {
    await this.#within(this.#ask({ kind: "open", identity: this.#identity }));
  }

  async furnish(view: View): Promise<Furnished> {
    const { granted } = writableFolders(view);
    const own = this.#program.filter((folder) => granted.some((g) => isWithin(folder, g)));
    const whole = { ...view, readOnly: [...view.readOnly, ...own] };
    const answer = await this.#within(this.#ask({ kind: "furnish", view: whole }));
    if (answer.kind !== "furnished") throw new Error(`unexpected answer: ${answer.kind}`);
    return answer.furnished;
  }

  async start(command: Command): Promise<ExitStatus> {
    for (const fd of [this.sockets.dnsUdp4, this.sockets.dnsUdp6]) if (fd !== null) forbidReuse(fd);
    const loan = new TerminalLoan(() => process.kill(0, "SIGSTOP"));
    const borrower = { resume: (foreground: boolean) => this.#send({ kind: "resume", foreground }) };
    this.#stopped = (signal) => loan.stopped(signal, borrower);
    const release = catchSignals(
      (signal) => this.#send({ kind: "signal", signal }),
      () => loan.continued(borrower),
    );
    try {
      const answer = await this.#ask({ kind: "start", command, foreground: loan.lendAtStart() });
      if (answer.kind !== "exit") throw new Error(`unexpected answer: ${answer.kind}`);
      await this.#exited;
      return answer.status;
    } finally {
      release();
      loan.end();
    }
  }

  close(): void {
    if (this.#gone === null) this.#process.kill("SIGKILL");
    for (const handle of this.#handles.values()) handle.close();
    this.#handles.clear();
  }

  #send(message: ToKeeper): void {
    if (this.#process.connected) this.#process.send(message);
  }

  #ask(message: ToKeeper): Promise<FromKeeper> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      if (this.#gone === null) this.#send(message);
      else this.#ended(this.#gone);
    });
  }

  async #within(answer: Promise<FromKeeper>): Promise<FromKeeper> {
    const timer = setTimeout(() => this.#ended("no answer in time"), ANSWER_TIMEOUT_MS);
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
    }
  }

  #received(message: FromKeeper, handle: unknown): void {
    if (message.kind === "socket") this.#handles.set(message.name, handle as Handle);
    else if (message.kind === "stopped") this.#stopped(message.signal);
    else if (message.kind === "failed") this.#reject(message.message);
    else {
      this.#settle?.resolve(message);
      this.#settle = null;
    }
  }

  #ended(why: string): void {
    this.#gone ??= why;
    this.#reject(why);
  }

  #reject(why: string): void {
    this.#settle?.reject(new Error(`the namespace could not be kept: ${why}`));
    this.#settle = null;
  }
}
