/**
 * One thing put in its place in the command's root: bound from the host, made private, frozen, hidden, or shown as a copy. Paths
 * are those of the command; the host's tree hangs at OLD meanwhile.
 */
import { chmodSync, lstatSync, mkdirSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { detach, MS, makeReadOnly, mount, SystemCallError } from "./libc.ts";

/** Where the host's tree hangs while we build. */
export const OLD = "/.old";

export function privateFolder(at: string): void {
  if (!exists(at)) {
    if (path.dirname(at) !== "/") return;
    mkdirSync(at);
  }
  if (lstatSync(at).isSymbolicLink()) return; // its end is private already, or read-only
  const mode = at === "/run" ? "0755" : "1777";
  mount({ source: "tmpfs", target: at, type: "tmpfs", flags: MS.noSuid | MS.noDev, data: `mode=${mode}` });
}

/** The host's file or folder at its own path. */
export function bind(at: string, readOnly: boolean): void {
  const source = OLD + at;
  if (!exists(at)) {
    mkdirSync(statSync(source).isDirectory() ? at : path.dirname(at), { recursive: true });
    if (!statSync(source).isDirectory()) writeFileSync(at, "");
  }
  mount({ source, target: at, flags: MS.bind | MS.recursive });
  if (readOnly) makeReadOnly(at, true);
}

export function bindFile(source: string, target: string): void {
  writeFileSync(target, "");
  mount({ source, target, flags: MS.bind });
}

export function freeze(at: string): void {
  mount({ source: at, target: at, flags: MS.bind | MS.recursive });
  makeReadOnly(at, true);
}

export function hide(at: string): void {
  if (!exists(at)) return;
  if (!statSync(at).isDirectory()) return mount({ source: "/dev/null", target: at, flags: MS.bind });
  const flags = MS.noSuid | MS.noDev | MS.noExec | MS.readOnly;
  mount({ source: "tmpfs", target: at, type: "tmpfs", flags, data: "mode=0555,size=4k" });
}

export function exists(at: string): boolean {
  try {
    statSync(at);
    return true;
  } catch {
    return false;
  }
}

/** False where the kernel refuses (older than 5.11, other mounts below, a file system that cannot be a lower layer). */
export function copyOnWrite(folder: string): boolean {
  const layers = "/run-layers";
  mkdirSync(layers, { recursive: true });
  mount({ source: "tmpfs", target: layers, type: "tmpfs", flags: MS.noSuid | MS.noDev, data: "mode=0700" });
  try {
    // The top of the view has the owner and mode of `upper`.
    const { mode } = statSync(OLD + folder);
    mkdirSync(`${layers}/upper`);
    chmodSync(`${layers}/upper`, mode & 0o7777);
    mkdirSync(`${layers}/work`);
    const data = `lowerdir=${escaped(OLD + folder)},upperdir=${layers}/upper,workdir=${layers}/work,userxattr`;
    mount({ source: "overlay", target: folder, type: "overlay", flags: MS.noSuid | MS.noDev, data });
    return true;
  } catch (fault) {
    if (fault instanceof SystemCallError) return false;
    throw fault;
  } finally {
    detach(layers);
    rmdirSync(layers);
  }
}

/** As a layer in the options of an overlay. */
export const escaped = (text: string): string => text.replace(/[\\:,]/g, (c) => `\\${c}`);
