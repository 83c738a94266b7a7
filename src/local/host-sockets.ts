/**
 * Which sockets of this machine can be reached by a path: a network namespace does not close those. Read outside, where they
 * are listed.
 *
 * Format: /proc/net/unix, `Num RefCount Protocol Flags Type St Inode Path`, hexadecimal; a bound socket has a path, an abstract
 * one starts with `@` (and is closed by the namespace), one bound by a relative path cannot be placed and is left out: the view
 * of the home folder refuses all sockets anyway.
 */

const MAX_SOCKETS = 4096;
const LISTENING = 0x0001_0000; // __SO_ACCEPTCON
const STREAM = 1;

/** Absolute paths, each once, at most 4,096. `text`: /proc/net/unix. */
export function listeningSockets(text: string): readonly string[] {
  const found = new Set<string>();
  for (const line of text.split("\n").slice(1)) {
    const match = /^\S+ \S+ \S+ ([0-9A-Fa-f]{8}) ([0-9A-Fa-f]{4}) \S+ +\d+ (\/.*)$/.exec(line);
    if (match === null) continue;
    const [, flags = "", type = "", path = ""] = match;
    const listens = (Number.parseInt(flags, 16) & LISTENING) !== 0;
    // A datagram socket takes messages without listening.
    if (listens || Number.parseInt(type, 16) !== STREAM) found.add(path);
    if (found.size >= MAX_SOCKETS) break;
  }
  return [...found];
}
