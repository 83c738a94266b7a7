/**
 * PID 1 of the namespace: makes the network, gives the sockets away, builds the command's view of the file system, starts the
 * command without any capability, and ends with it. When it ends, for whatever reason, the kernel ends everything that is left
 * inside; so does the loss of the channel to the command line.
 *
 * The command has our uid, but sits in a user namespace below ours: the kernel lets it neither trace us nor read our memory.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { assertNever } from "#core/assert-never.ts";
import { escapeForTerminal } from "#core/escape.ts";
import { requireTool } from "#netfilter/tools.ts";
import { isThere } from "./command-path.ts";
import { furnish } from "./furnish.ts";
import { closeOnExec, installSeccomp, noNewPrivileges, reapOrphans, stoppedBy } from "./libc.ts";
import { makeListeners } from "./listeners.ts";
import { makeNetwork } from "./network.ts";
import type { Command, ExitStatus, FromKeeper, Identity, ToKeeper } from "./protocol.ts";
import { seccompFilter } from "./seccomp.ts";
import { goesToGroup } from "./signals.ts";
import { leadGroup, openTerminal, takeForeground } from "./tty.ts";
import type { Furnished, View } from "./view.ts";

/** The process that it runs in, as a parameter. */
export interface Channel {
  send(message: FromKeeper, handle?: unknown): Promise<void>;
  onMessage(listener: (message: ToKeeper) => void): void;
  onLost(listener: () => void): void;
  onChild(listener: () => void): void;
  exit(code: number): void;
}

/** 0 to 2 as ours, 3 the channel, 4 the command's stderr. */
const FIRST_FOREIGN_DESCRIPTOR = 3;
const COMMAND_STDERR = 4;

export function keep(channel: Channel): void {
  const keeper = new Keeper(channel);
  channel.onLost(() => channel.exit(1));
  channel.onMessage((message) => {
    keeper.handle(message).catch((fault: unknown) => {
      const text = fault instanceof Error ? fault.message : String(fault);
      void channel.send({ kind: "failed", message: text }).finally(() => channel.exit(1));
    });
  });
}

class Keeper {
  readonly #channel: Channel;
  /** Opened while we still have the host's /dev. */
  readonly #terminal = openTerminal();
  #identity: Identity | null = null;
  #furnished = false;
  #command: ChildProcess | null = null;

  constructor(channel: Channel) {
    this.#channel = channel;
    channel.onChild(() => this.#childChanged());
  }

  async handle(message: ToKeeper): Promise<void> {
    switch (message.kind) {
      case "open":
        return this.#open(message.identity);
      case "furnish":
        return this.#channel.send({ kind: "furnished", furnished: this.#furnish(message.view) });
      case "start":
        return this.#start(message.command, message.foreground);
      case "signal":
        // Signal 0 of kill(2) is our own group: the command's, with us in it, whom no signal from inside ends.
        return void (goesToGroup(message.signal)
          ? process.kill(0, message.signal)
          : this.#command?.kill(message.signal));
      case "resume":
        return this.#resume(message.foreground);
      default:
        return assertNever(message);
    }
  }

  async #open(identity: Identity): Promise<void> {
    this.#identity = identity;
    const { ipv6 } = makeNetwork();
    await makeListeners(ipv6, (name, handle) => this.#channel.send({ kind: "socket", name }, handle));
    await this.#channel.send({ kind: "opened" });
  }

  #furnish(view: View): Furnished {
    if (this.#identity === null || this.#furnished) throw new Error("furnish: out of order");
    const furnished = furnish(view, this.#identity.uid === 0);
    const open = [...furnished.open, ...closeKernelDoors()];
    this.#furnished = true;
    return { ...furnished, open };
  }

  async #start(command: Command, foreground: boolean): Promise<void> {
    if (this.#identity === null || !this.#furnished || this.#command !== null) throw new Error("start: out of order");
    closeOnExec(FIRST_FOREIGN_DESCRIPTOR);
    leadGroup();
    if (foreground) this.#takeTerminal();
    const identity = this.#identity;
    const status = isThere(command, existsSync)
      ? await new Promise<ExitStatus>((resolve, reject) => {
          this.#command = launch(command, identity, reject, resolve);
        })
      : notThere(command);
    await this.#channel.send({ kind: "exit", status });
    this.#channel.exit(0);
  }

  #childChanged(): void {
    const pid = this.#command?.pid;
    reapOrphans(pid);
    if (pid === undefined) return;
    const signal = stoppedBy(pid);
    if (signal !== null) void this.#channel.send({ kind: "stopped", signal: signalName(signal) });
  }

  #resume(foreground: boolean): void {
    if (foreground) this.#takeTerminal();
    process.kill(0, "SIGCONT");
  }

  #takeTerminal(): void {
    if (this.#terminal !== null) takeForeground(this.#terminal);
  }
}

const signalName = (number: number): string =>
  Object.entries(constants.signals).find(([, n]) => n === number)?.[0] ?? `signal ${number}`;

/** From here on, this thread and all that it starts. Returns what stays open. */
function closeKernelDoors(): readonly string[] {
  noNewPrivileges();
  const filter = seccompFilter(process.arch);
  if (filter !== null) {
    installSeccomp(filter);
    return [];
  }
  const open = [`no system call filter on ${process.arch}: VSOCK sockets and the user's keyrings can be reached`];
  if (terminalTakesInput()) open.push("the command can type into this terminal (TIOCSTI)");
  return open;
}

function terminalTakesInput(): boolean {
  try {
    return readFileSync("/proc/sys/dev/tty/legacy_tiocsti", "utf8").trim() !== "0";
  } catch {
    return true; // older than 6.2
  }
}

function launch(
  command: Command,
  identity: Identity,
  failed: (fault: unknown) => void,
  ended: (status: ExitStatus) => void,
): ChildProcess {
  const [file = "", ...args] = wayDown(identity);
  const stdio = [0, 1, COMMAND_STDERR];
  const child = spawn(file, [...args, ...command.argv], { stdio, cwd: command.cwd, env: command.env });
  child.once("error", failed);
  child.once("exit", (code, signal) => {
    ended({ code: code ?? 128 + (signal === null ? 0 : constants.signals[signal]), signal });
  });
  return child;
}

/** What a shell does about it, and says. */
function notThere({ argv }: Command): ExitStatus {
  writeSync(COMMAND_STDERR, `sidegate: ${escapeForTerminal(argv[0] ?? "")}: there is no such command inside\n`);
  return { code: NO_SUCH_COMMAND, signal: null };
}

const NO_SUCH_COMMAND = 127;

/** Own uid again, in a user namespace below; no capability, and none to be gained. */
function wayDown({ uid, gid, mode }: Identity): readonly string[] {
  const below =
    mode === "user" ? [requireTool("unshare"), "--user", `--map-user=${uid}`, `--map-group=${gid}`, "--"] : [];
  const drop = uid === 0 ? ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"] : [];
  const groups = mode === "root" && maySetGroups() ? ["--clear-groups"] : [];
  return [...below, requireTool("setpriv"), "--no-new-privs", ...groups, ...drop, "--"];
}

/** Not in a user namespace that was made without that right (user_namespaces(7)). */
const maySetGroups = (): boolean => readFileSync("/proc/self/setgroups", "utf8").trim() === "allow";
