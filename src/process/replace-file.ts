/**
 * Puts a file in place at once: a reader sees the old contents or the new, never a part, also when we are killed in between.
 *
 * Fails by rejecting, with nothing left behind; the old file is then still there.
 */
import { constants } from "node:fs";
import { open, rename, unlink } from "node:fs/promises";
import path from "node:path";

/** `mode`: what the new file gets, whatever the umask. The folder must exist. */
export async function replaceFile(file: string, contents: string | Uint8Array, mode: number): Promise<void> {
  const draft = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}`);
  await unlink(draft).catch(ignoreAbsent); // left by a process of the same id that was killed
  const handle = await open(
    draft,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    mode,
  );
  try {
    await handle.chmod(mode);
    await handle.writeFile(contents);
    await handle.sync();
  } catch (fault) {
    await handle.close();
    await unlink(draft).catch(ignoreAbsent);
    throw fault;
  }
  await handle.close();
  try {
    await rename(draft, file);
  } catch (fault) {
    await unlink(draft).catch(ignoreAbsent);
    throw fault;
  }
}

function ignoreAbsent(fault: unknown): void {
  if ((fault as NodeJS.ErrnoException).code !== "ENOENT") throw fault;
}
