/** The keeper of `sidegate run`: PID 1 of the agent's namespace. Started by the command line only, and bundled as a file of its own. */
import type { SendHandle } from "node:child_process";
import { keep } from "#local/keeper.ts";
import type { ToKeeper } from "#local/protocol.ts";

if (process.send === undefined) {
  process.stderr.write("run-inner is a part of `sidegate run` and is not started by hand\n");
  process.exit(2);
}

keep({
  send: (message, handle) =>
    new Promise((resolve, reject) => {
      const done = (e: Error | null): void => (e === null ? resolve() : reject(e));
      process.send?.(message, handle as SendHandle | undefined, {}, done);
    }),
  onMessage: (listener) => process.on("message", (message) => listener(message as ToKeeper)),
  onLost: (listener) => process.on("disconnect", listener),
  onChild: (listener) => process.on("SIGCHLD", listener),
  exit: (code) => process.exit(code),
});
