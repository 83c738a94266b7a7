/**
 * Checkpoints: the log's size and Merkle root, signed with the collector's Ed25519 key. The key lies beside the store, readable
 * by its owner only; whoever keeps a checkpoint (or the public key) elsewhere can prove what the log said, even against the
 * collector's own disk.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { chmodSync, existsSync, linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";

export interface Checkpoint {
  readonly size: number;
  readonly root: Buffer;
  /** Wall time in milliseconds. */
  readonly at: number;
  readonly signature: Buffer;
}

export interface Signer {
  /** Names the log: from its public key. */
  readonly origin: string;
  readonly publicPem: string;
  sign(size: number, root: Buffer, at: number): Checkpoint;
}

/** What is signed: after C2SP tlog-checkpoint, with the time as an extension line. */
function checkpointText(origin: string, size: number, root: Buffer, at: number): Buffer {
  return Buffer.from(`${origin}\n${size}\n${root.toString("base64")}\n${at}\n`);
}

export function originOf(publicPem: string): string {
  const der = createPublicKey(publicPem).export({ type: "spki", format: "der" });
  return `sidegate/${createHash("sha256").update(der).digest("hex").slice(0, 16)}`;
}

export function createSigner(key: KeyObject): Signer {
  const publicPem = createPublicKey(key).export({ type: "spki", format: "pem" });
  const origin = originOf(publicPem);
  return {
    origin,
    publicPem,
    sign: (size, root, at) => ({ size, root, at, signature: sign(null, checkpointText(origin, size, root, at), key) }),
  };
}

export function verifyCheckpoint(publicPem: string, c: Checkpoint): boolean {
  return verify(
    null,
    checkpointText(originOf(publicPem), c.size, c.root, c.at),
    createPublicKey(publicPem),
    c.signature,
  );
}

/** Reads the signing key at `path`, or makes one there (0600). Two processes that make it at once end up with the same one. */
export function openSigner(path: string, nonce: string): Signer {
  if (!existsSync(path)) {
    const { privateKey } = generateKeyPairSync("ed25519");
    const mine = `${path}.${nonce}`;
    writeFileSync(mine, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600, flag: "wx" });
    try {
      linkSync(mine, path);
    } catch (fault) {
      if (!existsSync(path)) throw fault;
    } finally {
      rmSync(mine, { force: true });
    }
  }
  chmodSync(path, 0o600);
  return createSigner(createPrivateKey(readFileSync(path)));
}
