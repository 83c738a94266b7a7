/**
 * Real clients, unchanged, against a leaf of ours: each trusts it because of its environment alone, and each ClientHello is
 * read for what it is. Without that environment the same client refuses.
 */
import { type ExecFileException, execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import tls from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PATHS } from "../../src/contract/names.ts";
import { trustEnvironment, trustPaths } from "../../src/contract/trust-environment.ts";
import { systemClock } from "../../src/core/clock.ts";
import { planMounts } from "../../src/injection/mounts.ts";
import { createDetector } from "../../src/sidecar/detect/detector.ts";
import type { ClientHello, LeafSource } from "../../src/sidecar/seam/stages.ts";
import { loadAuthority } from "../../src/sidecar/tls/authority.ts";
import { leafCertificate, pem, spkiOf } from "../../src/sidecar/tls/certificate.ts";
import { createLeafSource } from "../../src/sidecar/tls/leaf-source.ts";
import { systemRoots, writeTrustFiles } from "../../src/sidecar/tls/trust.ts";

const folder = mkdtempSync(path.join(tmpdir(), "trust-clients-"));
const paths = trustPaths(folder);
const hellos: ClientHello[] = [];
let leaves: LeafSource;
let server: net.Server;
let port = 0;
/** Where the next connection was addressed to: the gateway knows it by the destination, not by what the client says. */
let addressed = "localhost";

const detect = createDetector([]);
const PAGE = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";

/** Peeks as the pipeline does, answers with a leaf for where it was addressed to, and says hello. */
function serve(socket: net.Socket): void {
  let head = Buffer.alloc(0);
  socket.on("error", () => socket.destroy());
  const peek = (bytes: Buffer): void => {
    head = Buffer.concat([head, bytes]);
    const detected = detect(head, false);
    if (detected.kind === "more") return;
    socket.off("data", peek);
    socket.pause();
    if (detected.kind !== "tls") return void socket.destroy();
    hellos.push(detected.hello);
    socket.unshift(head);
    const context = leaves.contextFor(addressed);
    const secure = new tls.TLSSocket(socket, { isServer: true, secureContext: context, ALPNProtocols: ["http/1.1"] });
    secure.on("error", () => secure.destroy());
    secure.once("data", () => secure.end(PAGE));
  };
  socket.on("data", peek);
}

beforeAll(async () => {
  const { authority } = await loadAuthority(folder, systemClock);
  leaves = createLeafSource(authority, systemClock);
  const roots = await systemRoots();
  await writeTrustFiles(paths, { caPem: authority.caPem, roots: [roots.pem], nowMs: Date.now() });
  server = net.createServer(serve).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  port = (server.address() as AddressInfo).port;
  writeFileSync(path.join(folder, "Fetch.java"), JAVA);
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

interface Ran {
  readonly code: number;
  readonly out: string;
}

/** With nothing in the environment but what is given. */
function run(command: readonly string[], environment: Readonly<Record<string, string>>): Promise<Ran> {
  const [file = "", ...args] = command;
  const env = { PATH: process.env["PATH"], HOME: process.env["HOME"], LANG: "C", ...environment };
  return new Promise((resolve, reject) => {
    const child = execFile(file, args, { env, timeout: 60_000 }, (fault: ExecFileException | null, stdout, stderr) => {
      if (fault?.code === "ENOENT") reject(fault);
      else
        resolve({ code: typeof fault?.code === "number" ? fault.code : fault === null ? 0 : -1, out: stdout + stderr });
    });
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(); // s_client ends with its input
  });
}

const JAVA = `
import java.net.URI;
public class Fetch {
  public static void main(String[] args) throws Exception {
    System.out.print(new String(URI.create(args[0]).toURL().openStream().readAllBytes()));
  }
}`;
const URLLIB = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())";
const REQUESTS = "import sys, requests; print(requests.get(sys.argv[1], timeout=20).text)";
const FETCH =
  "fetch(process.argv[1]).then((r) => r.text()).then(console.log, (e) => { console.log(e.cause ?? e); process.exit(1); })";

interface Client {
  readonly name: string;
  readonly command: (url: string) => readonly string[];
  /** A command that succeeds where the client is installed. */
  readonly present: readonly string[];
  /** Java asks for no name without a dot. */
  readonly sni: string | null;
  readonly alpn: readonly string[];
}

const CLIENTS: readonly Client[] = [
  {
    name: "curl",
    command: (url) => ["curl", "-sS", url],
    present: ["curl", "--version"],
    sni: "localhost",
    alpn: ["h2", "http/1.1"],
  },
  {
    name: "python urllib",
    command: (url) => ["python3", "-c", URLLIB, url],
    present: ["python3", "--version"],
    sni: "localhost",
    alpn: ["http/1.1"],
  },
  {
    name: "python requests",
    command: (url) => ["python3", "-c", REQUESTS, url],
    present: ["python3", "-c", "import requests"],
    sni: "localhost",
    alpn: ["http/1.1"],
  },
  {
    name: "node fetch",
    command: (url) => [process.execPath, "-e", FETCH, url],
    present: [process.execPath, "--version"],
    sni: "localhost",
    alpn: ["http/1.1", "h2"],
  },
  {
    name: "java",
    command: (url) => ["java", path.join(folder, "Fetch.java"), url],
    present: ["javac", "-version"],
    sni: null,
    alpn: [],
  },
];

async function installed(command: readonly string[]): Promise<boolean> {
  return run(command, {}).then(
    ({ code }) => code === 0,
    () => false,
  );
}

describe.each(CLIENTS)("$name", ({ name, command, present, sni, alpn }) => {
  test("trusts a name of ours by its environment, and is read rightly", async (context) => {
    if (!(await installed(present))) context.skip(`${name} is not installed`);
    hellos.length = 0;
    addressed = "localhost";
    const { out, code } = await run(command(`https://localhost:${port}/`), trustEnvironment(paths, {}).set);
    expect(out).toContain("hello");
    expect(code).toBe(0);
    expect(hellos.length).toBeGreaterThan(0);
    expect(hellos[0]).toEqual({ sni, alpn, ech: false });
  });

  test("trusts an address of ours", async (context) => {
    if (!(await installed(present))) context.skip(`${name} is not installed`);
    addressed = "127.0.0.1";
    const { out } = await run(command(`https://127.0.0.1:${port}/`), trustEnvironment(paths, {}).set);
    expect(out).toContain("hello");
  });

  test("refuses us without that environment", async (context) => {
    if (!(await installed(present))) context.skip(`${name} is not installed`);
    addressed = "localhost";
    const { out, code } = await run(command(`https://localhost:${port}/`), {});
    expect(out).not.toContain("hello\n");
    expect(code).not.toBe(0);
  });
});

/** As in a pod whose agent passes none of our variables on: the files are there, at the places where injection mounts them. */
function byMountsAlone(command: readonly string[]): readonly string[] {
  const files: Readonly<Record<string, string>> = { [PATHS.bundleFile]: paths.bundle, [PATHS.storeFile]: paths.store };
  const binds = planMounts({ name: "agent" }, "", [])
    .mounts.filter(({ mountPath, subPath = "" }) => files[subPath] !== undefined && existsSync(mountPath))
    .map(({ mountPath, subPath = "" }) => `mount --bind ${files[subPath] ?? ""} ${realpathSync(mountPath)}`);
  return ["unshare", "-rm", "sh", "-ec", `${binds.join("; ")}; exec "$@"`, "sh", ...command];
}

const GIT = (url: string): readonly string[] => ["git", "ls-remote", `${url}x.git`];
const WGET = (url: string): readonly string[] => ["wget", "-qO-", url];

describe("started by a parent that passes on none of our variables", () => {
  test.for([
    ["curl", CLIENTS.find(({ name }) => name === "curl")?.command, ["curl", "--version"], true],
    ["python urllib", CLIENTS.find(({ name }) => name === "python urllib")?.command, ["python3", "--version"], true],
    ["java", CLIENTS.find(({ name }) => name === "java")?.command, ["javac", "-version"], true],
    ["wget", WGET, ["wget", "--version"], true],
    // These bring authorities of their own and read no file of the system's: by the preloaded library only, never by a mount.
    ["node fetch", CLIENTS.find(({ name }) => name === "node fetch")?.command, ["true"], false],
  ] as const)("%s: what the mounted files alone bring", async ([name, command, present, trusts], context) => {
    if (command === undefined) throw new Error(`no client ${name}`);
    if (!(await installed(present))) context.skip(`${name} is not installed`);
    addressed = "localhost";
    const { out } = await run(byMountsAlone(command(`https://localhost:${port}/`)), {});
    expect({ name, trusts: out.includes("hello") }, out).toEqual({ name, trusts });
  });

  test("git trusts us: it asks, and is answered", async (context) => {
    if (!(await installed(["git", "--version"]))) context.skip("git is not installed");
    addressed = "localhost";
    const { out } = await run(byMountsAlone(GIT(`https://localhost:${port}/`)), {});
    expect(out).not.toMatch(/certificate|SSL/i);
  });
});

describe("openssl", () => {
  const key = spkiOf(generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey);

  test.each(["api.example.com", "10.0.0.7", "fd53::7", `${"a".repeat(60)}.example.com`])(
    "verifies a leaf for %s by its strict rules",
    async (name) => {
      const { authority } = await loadAuthority(folder, systemClock);
      const now = Date.now();
      const validity = { fromMs: now - 60_000, untilMs: now + 60_000 };
      const file = path.join(folder, "leaf.pem");
      writeFileSync(file, pem(leafCertificate(authority, name, key, validity)));
      const check = name.includes("example") ? ["-verify_hostname", name] : ["-verify_ip", name];
      const command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        ...check,
        "-CAfile",
        paths.authority,
        file,
      ];
      expect(await run(command, {})).toEqual({ code: 0, out: `${file}: OK\n` });
    },
  );

  test("s_client's hello is read rightly, with the protocols it was told to offer", async () => {
    hellos.length = 0;
    addressed = "api.example.com";
    const args = [
      "-connect",
      `127.0.0.1:${port}`,
      "-servername",
      "API.example.com",
      "-alpn",
      "postgresql,http/1.1",
      "-CAfile",
      paths.bundle,
    ];
    const { out } = await run(["openssl", "s_client", "-verify_return_error", ...args], {});
    expect(hellos).toEqual([{ sni: "api.example.com", alpn: ["postgresql", "http/1.1"], ech: false }]);
    expect(out).toContain("Sidegate pod CA");
  });
});

describe("keytool", () => {
  test("lists every certificate of the store as trusted", async (context) => {
    if (!(await installed(["keytool", "-help"]))) context.skip("keytool is not installed");
    const { out, code } = await run(["keytool", "-list", "-keystore", paths.store, "-storepass", "changeit"], {});
    expect(code).toBe(0);
    const bundle = (await run(["grep", "-c", "BEGIN CERTIFICATE", paths.bundle], {})).out.trim();
    expect(out).toContain(`Your keystore contains ${bundle} entries`);
    expect(out.match(/trustedCertEntry/g)).toHaveLength(Number(bundle));
    expect(out).toMatch(/sidegate-0, .*, trustedCertEntry/);
  });

  test("sees damage", async (context) => {
    if (!(await installed(["keytool", "-help"]))) context.skip("keytool is not installed");
    const { code } = await run(["keytool", "-list", "-keystore", paths.store, "-storepass", "wrong1"], {});
    expect(code).not.toBe(0);
  });
});
