/**
 * Whether there is a program of that name, looked for as execvp(3) does. Errs towards "there is": what then cannot be started is told by
 * whoever tries.
 */
import path from "node:path";
import type { Command } from "./protocol.ts";

/** Where execvp looks without a PATH: confstr(_CS_PATH). */
const WITHOUT_PATH = "/bin:/usr/bin";

export function isThere({ argv, env, cwd }: Command, exists: (at: string) => boolean): boolean {
  const name = argv[0] ?? "";
  if (name.includes("/")) return exists(path.resolve(cwd, name));
  // An empty entry is the working folder.
  return (env["PATH"] ?? WITHOUT_PATH).split(":").some((folder) => exists(path.resolve(cwd, folder, name)));
}
