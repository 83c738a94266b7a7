/**
 * Finds the one pinned `opa`: the one given; the PATH's, if it is of the pinned version; the cache's; built with Go from tools/opa;
 * downloaded and checked against the pinned SHA-256 of tools/opa/CHECKSUMS.
 *
 * Errs towards the pinned version: another one may compile another decision. Nothing that was downloaded runs before its hash is right.
 */
import { execFile } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { access, chmod, constants, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export const OPA_VERSION = "1.22.2";

export interface OpaSearch {
  /** $SIDEGATE_OPA: taken as it is. */
  readonly given: string | undefined;
  /** $PATH. */
  readonly path: string | undefined;
  /** Outside the repository: $XDG_CACHE_HOME/sidegate or ~/.cache/sidegate. */
  readonly cacheDir: string;
  /** tools/opa with go.mod and CHECKSUMS; null where the package does not carry it. */
  readonly toolsDir: string | null;
  /** The environment for Go (HOME, GOPROXY, …). */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: string; // process.platform
  readonly arch: string; // process.arch
  /** Progress, one line each. */
  readonly say: (line: string) => void;
  /** False: no download (tests, air-gapped). */
  readonly download?: boolean;
}

/** No `opa` of the pinned version could be had; `message` says what was tried. */
export class OpaMissing extends Error {
  readonly code = "opa_missing";
}

/** Path of an `opa` program. Rejects with OpaMissing. */
export async function findOpa(search: OpaSearch): Promise<string> {
  const tried: string[] = [];
  if (search.given !== undefined && search.given !== "") {
    const version = await versionOf(search.given);
    if (version === null) throw new OpaMissing(`SIDEGATE_OPA=${search.given} is not a working opa`);
    if (version !== OPA_VERSION) search.say(`opa: SIDEGATE_OPA is version ${version}, not the pinned ${OPA_VERSION}`);
    return path.resolve(search.given);
  }
  const onPath = await findOnPath(search, tried);
  if (onPath !== null) return onPath;
  const cached = path.join(search.cacheDir, `opa-${OPA_VERSION}`);
  if ((await versionOf(cached)) === OPA_VERSION) return cached;
  await mkdir(search.cacheDir, { recursive: true });
  if ((await build(search, cached, tried)) || (await download(search, cached, tried))) return cached;
  throw new OpaMissing(
    `opa ${OPA_VERSION} is needed. Tried: ${tried.join("; ")}. Set SIDEGATE_OPA to one${search.toolsDir === null ? "" : ", or install Go"}`,
  );
}

async function versionOf(program: string): Promise<string | null> {
  try {
    await access(program, constants.X_OK);
    const { stdout } = await run(program, ["version"], { timeout: 10_000 });
    return /^Version: (\S+)/m.exec(stdout)?.[1] ?? null;
  } catch {
    return null;
  }
}

async function findOnPath(search: OpaSearch, tried: string[]): Promise<string | null> {
  for (const folder of (search.path ?? "").split(path.delimiter)) {
    if (!path.isAbsolute(folder)) continue;
    const program = path.join(folder, "opa");
    const version = await versionOf(program);
    if (version === OPA_VERSION) return program;
    if (version !== null) tried.push(`${program} is version ${version}`);
  }
  tried.push("no opa of this version on the PATH");
  return null;
}

async function build(search: OpaSearch, to: string, tried: string[]): Promise<boolean> {
  if (search.toolsDir === null) return false;
  try {
    await run("go", ["version"], { env: search.env, timeout: 10_000 });
  } catch {
    tried.push("no Go to build it with");
    return false;
  }
  search.say(`opa: building ${OPA_VERSION} with Go from ${search.toolsDir} (2 to 5 minutes, once)`);
  const part = `${to}.${randomUUID()}`;
  try {
    await run("go", ["build", "-trimpath", "-ldflags=-s -w", "-o", part, "github.com/open-policy-agent/opa"], {
      cwd: search.toolsDir,
      env: { ...search.env, CGO_ENABLED: "0" },
      timeout: 20 * 60_000,
      maxBuffer: 16 * 1024 * 1024,
    });
    await rename(part, to);
    search.say(`opa: built ${to}`);
    return true;
  } catch (fault) {
    await rm(part, { force: true });
    tried.push(
      `go build failed: ${String((fault as { stderr?: unknown }).stderr ?? fault)
        .trim()
        .slice(-500)}`,
    );
    return false;
  }
}

/** The official release's names for a platform. */
function assetOf(search: OpaSearch): string | null {
  const arch = search.arch === "x64" ? "amd64" : search.arch === "arm64" ? "arm64" : null;
  if (arch === null) return null;
  if (search.platform === "linux") return `opa_linux_${arch}_static`;
  if (search.platform === "darwin") return `opa_darwin_${arch}${arch === "arm64" ? "_static" : ""}`;
  return null;
}

const MAX_DOWNLOAD_BYTES = 200 * 1024 * 1024;

async function download(search: OpaSearch, to: string, tried: string[]): Promise<boolean> {
  const asset = assetOf(search);
  if (search.download === false || search.toolsDir === null || asset === null) return false;
  const expected = await checksumOf(path.join(search.toolsDir, "CHECKSUMS"), asset);
  if (expected === null) {
    tried.push(`tools/opa/CHECKSUMS has no line for ${asset}, so it is not downloaded`);
    return false;
  }
  const url = `https://github.com/open-policy-agent/opa/releases/download/v${OPA_VERSION}/${asset}`;
  search.say(`opa: downloading ${url}`);
  const folder = await mkdtemp(path.join(search.cacheDir, "download-"));
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5 * 60_000) });
    if (!answer.ok || answer.body === null) throw new Error(`answer ${answer.status}`);
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of answer.body) {
      bytes += chunk.length;
      if (bytes > MAX_DOWNLOAD_BYTES) throw new RangeError("too long");
      chunks.push(chunk);
    }
    const content = Buffer.concat(chunks);
    const hash = createHash("sha256").update(content).digest("hex");
    if (hash !== expected) throw new Error(`its SHA-256 is ${hash}, pinned is ${expected}`);
    const part = path.join(folder, "opa");
    await writeFile(part, content);
    await chmod(part, 0o755);
    await rename(part, to);
    return true;
  } catch (fault) {
    tried.push(`download of ${asset}: ${String(fault)}`);
    return false;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Lines as `sha256sum` writes them: hash, two spaces, name. */
async function checksumOf(file: string, asset: string): Promise<string | null> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch {
    return null;
  }
  for (const line of text.split("\n")) {
    const match = /^([0-9a-f]{64}) {2}(\S+)$/.exec(line);
    if (match?.[2] === asset) return match[1] ?? null;
  }
  return null;
}
