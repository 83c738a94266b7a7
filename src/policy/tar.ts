/**
 * Reads and writes the archive of a bundle: a gzip'd POSIX ustar of a few regular files, as OPA makes it.
 *
 * Errs towards refusal: whatever a bundle does not need (links, folders that climb, long-name extensions, duplicate names,
 * a second gzip member's surprise size) is an error, and nothing is ever written to a path that an archive names. Sizes are
 * checked before anything is kept.
 *
 * Header block (512 bytes): name[100] mode[8] uid[8] gid[8] size[12, octal] mtime[12] chksum[8] typeflag[1] linkname[100]
 * magic[6] version[2] uname[32] gname[32] devmajor[8] devminor[8] prefix[155]. A file's bytes follow, padded to 512.
 */
import { gunzipSync, gzipSync } from "node:zlib";

const BLOCK = 512;
const NAME = /^\/?[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/;

export interface ArchiveLimits {
  readonly maxCompressedBytes: number;
  readonly maxBytes: number;
  readonly maxFiles: number;
}

export const ARCHIVE_LIMITS: ArchiveLimits = {
  maxCompressedBytes: 16 * 1024 * 1024,
  maxBytes: 64 * 1024 * 1024,
  maxFiles: 1_000,
};

/** Not an archive, or not one that a bundle may be. */
export class ArchiveError extends Error {
  readonly code = "bundle_malformed";
}

/** Name → content, without the leading slash. The views share one buffer. Throws ArchiveError. */
export function readArchive(archive: Uint8Array, limits: ArchiveLimits = ARCHIVE_LIMITS): Map<string, Uint8Array> {
  if (archive.length > limits.maxCompressedBytes)
    throw new ArchiveError(`archive is over ${limits.maxCompressedBytes} bytes`);
  let tar: Buffer;
  try {
    tar = gunzipSync(archive, { maxOutputLength: limits.maxBytes });
  } catch (fault) {
    throw new ArchiveError(`not a gzip archive within ${limits.maxBytes} bytes: ${String(fault)}`);
  }
  const files = new Map<string, Uint8Array>();
  let at = 0;
  for (;;) {
    if (at + BLOCK > tar.length) throw new ArchiveError("archive ends without its end mark");
    const header = tar.subarray(at, at + BLOCK);
    at += BLOCK;
    if (header.every((byte) => byte === 0)) return files;
    const { name, size, kind } = readHeader(header);
    if (kind === "folder") continue;
    if (files.size >= limits.maxFiles) throw new ArchiveError(`more than ${limits.maxFiles} files`);
    if (files.has(name)) throw new ArchiveError(`file twice: ${name}`);
    if (size > tar.length - at) throw new ArchiveError(`file is cut short: ${name}`);
    files.set(name, tar.subarray(at, at + size));
    at += Math.ceil(size / BLOCK) * BLOCK;
  }
}

function readHeader(header: Buffer): { name: string; size: number; kind: "file" | "folder" } {
  if (header.toString("latin1", 257, 262) !== "ustar") throw new ArchiveError("not a ustar header");
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 0x20 : (header[i] ?? 0);
  if (octal(header, 148, 8) !== sum) throw new ArchiveError("header checksum is wrong");
  const prefix = text(header, 345, 155);
  const raw = prefix === "" ? text(header, 0, 100) : `${prefix}/${text(header, 0, 100)}`;
  const flag = header[156];
  const folder = flag === 0x35;
  if (!folder && flag !== 0x30 && flag !== 0) throw new ArchiveError(`neither a file nor a folder: ${raw}`);
  const path = folder && raw.endsWith("/") ? raw.slice(0, -1) : raw;
  if (!NAME.test(path) || path.split("/").some((part) => part === "." || part === ".."))
    throw new ArchiveError(`file name is not allowed: ${JSON.stringify(raw)}`);
  return {
    name: path.startsWith("/") ? path.slice(1) : path,
    size: octal(header, 124, 12),
    kind: folder ? "folder" : "file",
  };
}

function text(header: Buffer, from: number, length: number): string {
  const field = header.subarray(from, from + length);
  const end = field.indexOf(0);
  return field.toString("latin1", 0, end === -1 ? length : end);
}

function octal(header: Buffer, from: number, length: number): number {
  const digits = text(header, from, length).trim();
  if (!/^[0-7]{1,11}$/.test(digits)) throw new ArchiveError("a number in the header is not octal");
  return Number.parseInt(digits, 8);
}

/** The same files give the same bytes: no times, no owners. Names get a leading slash, as OPA's have. */
export function writeArchive(files: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (const [name, content] of files) {
    blocks.push(writeHeader(`/${name}`, content.length), content);
    const rest = content.length % BLOCK;
    if (rest > 0) blocks.push(new Uint8Array(BLOCK - rest));
  }
  blocks.push(new Uint8Array(2 * BLOCK));
  return gzipSync(Buffer.concat(blocks));
}

function writeHeader(name: string, size: number): Buffer {
  if (name.length > 100 || !NAME.test(name)) throw new ArchiveError(`file name is not allowed: ${name}`);
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, "latin1");
  header.write("0000600\0", 100, "latin1");
  header.write("0000000\0", 108, "latin1");
  header.write("0000000\0", 116, "latin1");
  header.write(`${size.toString(8).padStart(11, "0")}\0`, 124, "latin1");
  header.write("00000000000\0", 136, "latin1");
  header.write("        ", 148, "latin1");
  header.write("0", 156, "latin1");
  header.write("ustar\x0000", 257, "latin1");
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}
