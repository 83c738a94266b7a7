/**
 * Gets a secret's value from where `credentials.yaml` says: a variable of the caller, a file that only its owner can read, or what a
 * command prints (a password manager). It is read here, in the parent, and goes on by the channel to the sidecar alone.
 */
import { execFile } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import path from "node:path";
import { CredentialFault } from "#contract/credential.ts";
import type { SecretOrigin } from "./credential-file.ts";

export interface OriginSurroundings {
  /** The caller's environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Relative paths start here: the folder of the credentials file. */
  readonly folder: string;
  readonly home: string | null;
  readonly uid: number;
}

const MAX_BYTES = 65_536;
const COMMAND_MS = 30_000;

/** Where a path of the credentials file leads. */
export function filePath(written: string, { folder, home }: OriginSurroundings): string {
  if (written.startsWith("~/") && home !== null) return path.join(home, written.slice(2));
  return path.resolve(folder, written);
}

/** Rejects with a CredentialFault that never has the value in it. */
export async function readSecret(from: SecretOrigin, surroundings: OriginSurroundings): Promise<string> {
  const value = await valueOf(from, surroundings);
  // Editors and `echo` end a file with a line feed that nobody means.
  const plain = value.endsWith("\r\n") ? value.slice(0, -2) : value.endsWith("\n") ? value.slice(0, -1) : value;
  if (plain === "") throw new CredentialFault("unavailable", `${describe(from)} is empty`);
  return plain;
}

function valueOf(from: SecretOrigin, surroundings: OriginSurroundings): string | Promise<string> {
  if ("env" in from) {
    const value = surroundings.env[from.env];
    if (value === undefined) throw new CredentialFault("unavailable", `the variable ${from.env} is not set`);
    return value;
  }
  if ("file" in from) return readPrivateFile(filePath(from.file, surroundings), surroundings.uid);
  return runCommand(from.command, surroundings);
}

function readPrivateFile(file: string, uid: number): string {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat?.isFile() !== true) throw new CredentialFault("unavailable", `${file} is no file`);
  if (stat.uid !== uid && stat.uid !== 0) throw new CredentialFault("unavailable", `${file} belongs to somebody else`);
  if ((stat.mode & 0o077) !== 0)
    throw new CredentialFault("unavailable", `${file} can be read by others (chmod 600 ${file})`);
  if (stat.size > MAX_BYTES) throw new CredentialFault("unavailable", `${file} is too large`);
  return readFileSync(file, "utf8");
}

function runCommand([program = "", ...args]: readonly string[], { env, folder }: OriginSurroundings): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      cwd: folder,
      env: { ...env },
      timeout: COMMAND_MS,
      maxBuffer: MAX_BYTES,
      encoding: "utf8" as const,
    };
    execFile(program, args, options, (error, stdout) => {
      // What it printed may be the secret: of its failure only the exit code is told.
      if (error === null) resolve(stdout);
      else
        reject(
          new CredentialFault("unavailable", `${program} failed (${error.code ?? error.signal ?? "no exit code"})`),
        );
    });
  });
}

export function describe(from: SecretOrigin): string {
  if ("env" in from) return `the variable ${from.env}`;
  return "file" in from ? from.file : `what ${from.command[0] ?? ""} prints`;
}
