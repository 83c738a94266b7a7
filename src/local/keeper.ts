/**
 * PID 1 of the namespace: makes the network, gives the sockets away, starts the command without any capability, and ends with
 * it. When it ends, for whatever reason, the kernel ends everything that is left inside; so does the loss of the channel to
 * the command line.
 *
 * The command has our uid, but sits in a user namespace below ours: the kernel lets it neither trace us nor read our memory.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { assertNever } from "#core/assert-never.ts";
import { requireTool } from "#netfilter/tools.ts";
import { makeListeners } from "./listeners.ts";
import { makeNetwork } from "./network.ts";
import type { Command, ExitStatus, FromKeeper, Identity, ToKeeper } from "./protocol.ts";

/** The process that it runs in, as a parameter. */
export interface Channel {
  send(message: FromKeeper, handle?: unknown): Promise<void>;
  onMessage(listener: (message: ToKeeper) => void): void;
  onLost(listener: () => void): void;
  exit(code: number): void;
}

export function keep(channel: Channel): void {
  let identity: Identity | null = null;
  let command: ChildProcess | null = null;
  const fail = (fault: unknown): void => {
    const message = fault instanceof Error ? fault.message : String(fault);
    void channel.send({ kind: "failed", message }).finally(() => channel.exit(1));
  };
  channel.onLost(() => channel.exit(1));
  channel.onMessage((message) => {
    switch (message.kind) {
      case "open":
        identity = message.identity;
        open(channel).catch(fail);
        return;
      case "start":
        if (identity === null) return fail(new Error("start before open"));
        command = launch(message.command, identity, fail, (status) => {
          void channel.send({ kind: "exit", status }).finally(() => channel.exit(0));
        });
        return;
      case "signal":
        command?.kill(message.signal);
        return;
      default:
        assertNever(message);
    }
  });
}

async function open(channel: Channel): Promise<void> {
  const { ipv6 } = makeNetwork();
  await makeListeners(ipv6, (name, handle) => channel.send({ kind: "socket", name }, handle));
  await channel.send({ kind: "opened" });
}

function launch(
  command: Command,
  identity: Identity,
  fail: (fault: unknown) => void,
  ended: (status: ExitStatus) => void,
): ChildProcess {
  const [file = "", ...args] = bare(identity);
  const child = spawn(file, [...args, ...command.argv], { stdio: [0, 1, 4], cwd: command.cwd, env: command.env });
  child.once("error", fail);
  child.once("exit", (code, signal) => {
    ended({ code: code ?? 128 + (signal === null ? 0 : constants.signals[signal]), signal });
  });
  return child;
}

/** The way down: own uid again, in a user namespace below; no capability, and none to be gained. */
function bare({ uid, gid, mode }: Identity): readonly string[] {
  const below =
    mode === "user" ? [requireTool("unshare"), "--user", `--map-user=${uid}`, `--map-group=${gid}`, "--"] : [];
  const drop = uid === 0 ? ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"] : [];
  return [...below, requireTool("setpriv"), "--no-new-privs", ...drop, "--"];
}
