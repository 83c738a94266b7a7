/**
 * What every sub-command does about its streams: a reader that left (`… | head -1`) is no error, and what an error quotes (a path, a
 * cluster's answer) drives no terminal.
 */
import { escapeForTerminal } from "../../src/core/escape.ts";

/** 128 + SIGPIPE: what a shell shows for a program whose reader left. */
const READER_LEFT = 141;

/**
 * Where nobody reads our output any more, the command ends: as by Ctrl-C where it has something to take down first, else at once. Where only
 * stderr is closed it goes on, because a command under `sidegate run` has not ended.
 */
export function endWithReader(): void {
  process.stderr.on("error", () => {});
  process.stdout.on("error", (fault: NodeJS.ErrnoException) => {
    if (fault.code !== "EPIPE") throw fault;
    if (process.listenerCount("SIGINT") === 0) process.exit(READER_LEFT);
    if (left) return;
    left = true;
    process.kill(process.pid, "SIGINT");
  });
}

let left = false;

/** One fault, with its lines as they are and everything else visible. */
export function sayFault(text: string, command = ""): void {
  const lines = text.split("\n").map(escapeForTerminal).join("\n");
  process.stderr.write(`sidegate${command === "" ? "" : ` ${command}`}: ${lines}\n`);
}

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or folder",
  ENOTDIR: "it is no folder, or lies in what is none",
  EISDIR: "it is a folder",
  EEXIST: "it is a file, not a folder",
  EACCES: "permission denied",
  EPERM: "not permitted",
  EROFS: "the file system is read-only",
  ELOOP: "too many links",
  ENAMETOOLONG: "the name is too long",
};

/** What the system said, in words; its own where we have none. */
export function systemWords(fault: unknown): string {
  const { code = "", message } = fault as NodeJS.ErrnoException;
  return WORDS[code] ?? message;
}
