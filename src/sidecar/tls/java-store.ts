/**
 * Writes certificates as a Java key store in the old JKS format: the one that every JVM since 1.2 reads. (A PKCS#12 needs a
 * private attribute of Oracle's before Java counts a certificate as trusted.)
 *
 * Format (big endian): `magic(4)=FEEDFEED version(4)=2 count(4)`, for each certificate `tag(4)=2 alias(utf) created(8)
 * type(utf)="X.509" length(4) DER`, then SHA-1 over the password in UTF-16, a fixed phrase, and everything before.
 * `utf` = `length(2)` and bytes. The digest only finds damage; it keeps nobody out.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";

const MAGIC = 0xfeedfeed;
const VERSION = 2;
const TRUSTED_CERTIFICATE = 2;
const PHRASE = "Mighty Aphrodite";

/** `alias`: ASCII, lower case (Java folds it), unique. */
export interface StoreEntry {
  readonly alias: string;
  readonly der: Uint8Array;
}

export function javaStore(entries: readonly StoreEntry[], createdMs: number, password: string): Buffer {
  const parts = [u32(MAGIC), u32(VERSION), u32(entries.length)];
  for (const { alias, der } of entries)
    parts.push(u32(TRUSTED_CERTIFICATE), utf(alias), u64(createdMs), utf("X.509"), u32(der.length), Buffer.from(der));
  const body = Buffer.concat(parts);
  const digest = createHash("sha1").update(utf16(password)).update(PHRASE, "latin1").update(body).digest();
  return Buffer.concat([body, digest]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

function utf(ascii: string): Buffer {
  if (!/^[\x20-\x7e]{1,255}$/.test(ascii)) throw new RangeError("alias is not ASCII");
  const bytes = Buffer.alloc(2 + ascii.length);
  bytes.writeUInt16BE(ascii.length);
  bytes.write(ascii, 2, "latin1");
  return bytes;
}

function utf16(text: string): Buffer {
  return Buffer.from(text, "utf16le").swap16();
}
