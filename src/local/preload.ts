/**
 * Lets a program that is started without any variable of ours trust the run's authority, as in a pod (docs/adr/0012): the list in
 * /etc/ld.so.preload names a library that sets the variables which are missing. What the host has in that list stays, in front.
 *
 * Nothing depends on it. Where the list cannot be put there, or the library could not be mapped, clients need the variables, and
 * without them they fail loudly and on record.
 */
import { chmodSync, mkdirSync, readFileSync, realpathSync, rmdirSync, writeFileSync } from "node:fs";
import { PATHS } from "#contract/names.ts";
import { detach, MS, makeReadOnly, mount, SystemCallError } from "./libc.ts";
import { bind, escaped, exists, OLD } from "./place.ts";
import { isWithin } from "./view.ts";

const LIST = "/etc/ld.so.preload";
const OWN = "/run/sidegate/ld.so.preload";
const LAYERS = "/run-layers";

interface Mounted {
  readonly at: string;
  readonly options: readonly string[];
}

/** `trust`: the host's folder with what writePreload wrote. After /proc and /run, before anything is mounted into /etc. */
export function makePreload(trust: string | null): void {
  if (trust === null) return;
  const ours = read(`${OLD}${trust}/${PATHS.preloadList}`);
  if (ours === "") return;
  const mounts = readMounts(readFileSync("/proc/self/mountinfo", "utf8"));
  // Each program would say that the library cannot be mapped.
  if (holding(OLD + trust, mounts)?.options.includes("noexec") !== false) return;
  const theirs = read(OLD + LIST);
  const list = `${theirs}${theirs === "" || theirs.endsWith("\n") ? "" : "\n"}${ours}`;
  if (exists(LIST)) return cover(list);
  try {
    writeFileSync(LIST, list, { mode: 0o444, flag: "wx" }); // root's /etc is a copy
  } catch {
    lay(
      list,
      mounts.map(({ at }) => at).filter((at) => at !== "/etc" && isWithin(at, "/etc")),
    );
  }
}

function cover(list: string): void {
  const target = realpathSync(LIST);
  mkdirSync("/run/sidegate", { recursive: true });
  writeFileSync(OWN, list, { mode: 0o444 });
  mount({ source: OWN, target, flags: MS.bind });
  makeReadOnly(target, false);
}

/** The file over the host's /etc, read-only, in a layer that nobody else can reach. `below`: what is mounted there comes back. */
function lay(list: string, below: readonly string[]): void {
  const flags = MS.noSuid | MS.noDev;
  mkdirSync(LAYERS, { recursive: true });
  mount({ source: "tmpfs", target: LAYERS, type: "tmpfs", flags, data: "mode=0700,size=256k" });
  try {
    mkdirSync(`${LAYERS}/etc`);
    chmodSync(`${LAYERS}/etc`, 0o755);
    writeFileSync(`${LAYERS}/etc/ld.so.preload`, list, { mode: 0o444 });
    const data = `lowerdir=${LAYERS}/etc:${escaped(`${OLD}/etc`)},userxattr`;
    mount({ source: "overlay", target: "/etc", type: "overlay", flags: flags | MS.readOnly, data });
  } catch (fault) {
    if (fault instanceof SystemCallError) return; // older than 5.11, or no file system for a lower layer
    throw fault;
  } finally {
    detach(LAYERS);
    rmdirSync(LAYERS);
  }
  for (const at of below) if (exists(OLD + at) && exists(at)) bind(at, true);
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** proc(5): `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS …`. */
function readMounts(mountinfo: string): readonly Mounted[] {
  return mountinfo.split("\n").flatMap((line) => {
    const [, , , , at, options] = line.split(" ");
    if (at === undefined || options === undefined) return [];
    const unescaped = at.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));
    return [{ at: unescaped, options: options.split(",") }];
  });
}

/** The last of those with the longest name: later ones lie over earlier ones. */
function holding(file: string, mounts: readonly Mounted[]): Mounted | null {
  let found: Mounted | null = null;
  for (const one of mounts)
    if (isWithin(file, one.at) && (found === null || one.at.length >= found.at.length)) found = one;
  return found;
}
