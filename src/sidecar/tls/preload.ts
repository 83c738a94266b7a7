/**
 * Writes what lets a client trust the pod's authority although its parent passed on no variable of ours (a tool server started with
 * HOME, PATH, SHELL, TERM and USER only): a small library that the agent's dynamic loader reads first, and the variables it sets
 * where they are missing (deploy/preload/trust.c).
 *
 * The list is always written, empty where there is no library: it is mounted over /etc/ld.so.preload, and a file that is not there
 * would become a folder. Fails by rejecting, as the other trust files do.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { PATHS } from "#contract/names.ts";
import { trustEnvironment, trustPaths } from "#contract/trust-environment.ts";
import { replaceFile } from "#process/replace-file.ts";

/** The library reads no more of it. */
const MAX_ENVIRONMENT_BYTES = 8191;

/**
 * `folder`: where the files go; it exists. `inside`: the same folder, as the agent sees it. `library`: the built library; one that
 * is not there is none. Resolves to whether agents get it.
 */
export async function writePreload(folder: string, inside: string, library: string): Promise<boolean> {
  const code = await readFile(library).catch((fault: NodeJS.ErrnoException) => {
    if (fault.code !== "ENOENT") throw fault;
    return null;
  });
  const { set } = trustEnvironment(trustPaths(inside), {});
  const environment = Object.entries(set)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
  if (environment.length > MAX_ENVIRONMENT_BYTES) throw new Error("trust variables are longer than the library reads");
  await replaceFile(path.join(folder, PATHS.preloadEnvironment), environment, 0o644);
  if (code !== null) await replaceFile(path.join(folder, PATHS.preloadLibrary), code, 0o644);
  // Last: what it names is there.
  const list = code === null ? "" : `${inside}/${PATHS.preloadLibrary}\n`;
  await replaceFile(path.join(folder, PATHS.preloadList), list, 0o644);
  return code !== null;
}
