/**
 * A whole gateway for a test: a network namespace with the rules of `sidegate run`, the real sidecar and the real collector as
 * processes of their own, started (and started again) as `sidegate run` does. The test is the agent: `connect` opens a connection
 * inside the namespace, which the kernel redirects to the sidecar.
 */
import { type ChildProcess, spawn } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import tls from "node:tls";
import { PATHS } from "#contract/names.ts";
import { PROXY_ENV } from "#contract/proxy-environment.ts";
import { type Child, descriptorOf, startChild } from "#local/children.ts";
import type { SocketName } from "#local/protocol.ts";
import type { Shown } from "#local/terminal.ts";
import { findTool } from "#netfilter/tools.ts";
import { type AuditEvent, toEvent } from "../../src/collector/event.ts";
import type { Filter } from "../../src/collector/store/port.ts";
import { openSqlite } from "../../src/collector/store/sqlite.ts";
import { compileTexts, pack, TEST_TRUST, type Texts } from "./policy-texts.ts";
import type { FromInside, ToInside } from "./sidecar-inside.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const NODE = process.execPath;
const READY_MS = 30_000;
const LIMIT_MS = 20_000;

export interface GatewayPlan {
  /** What it starts with; null: no bundle at all. */
  readonly policy: Texts | null;
  /** Further variables of the sidecar (PROXY_ENV). */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Dialled {
  readonly host: string;
  readonly port: number;
  readonly family?: 4 | 6;
}

export class Gateway {
  readonly folder = mkdtempSync(path.join(tmpdir(), "sidegate-gateway-"));
  readonly decisions: Shown[] = [];
  #inside: ChildProcess | null = null;
  #sidecar: Child | null = null;
  #collector: Child | null = null;
  #adminPort = 0;
  #env: Readonly<Record<string, string>> = {};
  #sequence = 0;
  #ids = 0;
  #lines = "";
  readonly #sockets = new Map<SocketName, { readonly fd: number; close(): void }>();
  readonly #waiting = new Map<number, { resolve(socket: net.Socket): void; reject(fault: Error): void }>();
  readonly #connections = new Set<net.Socket>();

  /** Ready to be connected to. Take it down with `close`, also when it fails. */
  async start(plan: GatewayPlan): Promise<void> {
    this.#env = plan.env ?? {};
    for (const name of ["state", "spool", "trust"]) mkdirSync(this.at(name), { mode: 0o700 });
    if (plan.policy !== null) await this.enforce(plan.policy);
    await this.#openNamespace();
    this.#adminPort = await freePort();
    this.#startCollector();
    await this.#collector?.ready;
    this.#startSidecar();
    await this.#sidecar?.ready;
  }

  at(name: string): string {
    return path.join(this.folder, name);
  }

  get sidecarPid(): number {
    return this.#sidecar?.pid() ?? -1;
  }

  /** Of the metrics and probes listener, on 127.0.0.1. */
  get adminPort(): number {
    return this.#adminPort;
  }

  get collectorPid(): number {
    return this.#collector?.pid() ?? -1;
  }

  /** The authority that the sidecar made: what an agent trusts. */
  get caPem(): string {
    return readFileSync(path.join(this.at("trust"), PATHS.caFile), "utf8");
  }

  // --- policy ---------------------------------------------------------------------------------------------------------

  /** Of the newest bundle that `enforce` made. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Compiles, signs with the next sequence, and puts it in the sidecar's place for bundles. */
  async enforce(texts: Texts): Promise<Uint8Array> {
    const { parts } = await compileTexts(texts);
    const archive = pack(parts, ++this.#sequence);
    this.offer(archive);
    return archive;
  }

  /** Any bytes as the newest bundle. */
  offer(archive: Uint8Array): void {
    writeFileSync(this.at("bundle.new"), archive);
    renameSync(this.at("bundle.new"), this.at("bundle.tar.gz"));
  }

  // --- the agent ------------------------------------------------------------------------------------------------------

  /** A connection from inside, redirected by the kernel. Rejects where the name does not resolve. Half-open allowed. */
  connect({ host, port, family }: Dialled): Promise<net.Socket> {
    const id = ++this.#ids;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#inside?.send({ id, host, port, family: family ?? 4 } satisfies ToInside, (fault) => {
        if (fault !== null) reject(fault);
      });
    });
  }

  /** The same, with TLS that trusts the sidecar's authority. */
  async secure(to: Dialled, options: tls.ConnectionOptions = {}): Promise<tls.TLSSocket> {
    const socket = await this.connect(to);
    const secured = tls.connect({ socket, servername: to.host, ca: this.caPem, ...options });
    secured.on("error", () => {});
    await new Promise<void>((resolve, reject) => {
      secured.once("secureConnect", resolve);
      secured.once("error", reject);
      secured.once("close", () => reject(new Error("closed during the handshake")));
    });
    return secured;
  }

  // --- what an admin sees ---------------------------------------------------------------------------------------------

  async metrics(): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${this.#adminPort}/metrics`);
    return response.text();
  }

  /** The value of one series, by its text before the value; 0 where it is not there. */
  async metric(series: string): Promise<number> {
    const line = (await this.metrics()).split("\n").find((text) => text.startsWith(`${series} `));
    return line === undefined ? 0 : Number(line.slice(series.length + 1));
  }

  log(name: "sidecar" | "collector" = "sidecar"): string {
    try {
      return readFileSync(this.at(`${name}.log`), "utf8");
    } catch {
      return "";
    }
  }

  /** Records in the collector's store, oldest first. */
  async records(filter: Partial<Filter> = {}): Promise<AuditEvent[]> {
    const store = openSqlite(this.at("audit.db"), "read");
    try {
      return (await store.find({ limit: 100_000, ...filter })).map(toEvent).toReversed();
    } finally {
      await store.close();
    }
  }

  /** The records as soon as they are what is waited for; fails with the last ones after a while. */
  async recordsUntil(
    enough: (events: readonly AuditEvent[]) => boolean,
    filter: Partial<Filter> = {},
  ): Promise<AuditEvent[]> {
    const end = Date.now() + LIMIT_MS;
    for (;;) {
      const events = await this.records(filter).catch(() => []);
      if (enough(events)) return events;
      if (Date.now() > end)
        throw new Error(
          `the record is not as expected:\n${events.map((e) => `${e.verdict} ${e.code} ${e.summary}`).join("\n")}`,
        );
      await pause();
    }
  }

  /** Resolves when the sidecar's log holds this. */
  async logged(pattern: RegExp): Promise<void> {
    await eventually(
      () => pattern.test(this.log()),
      () => `${String(pattern)} in the log:\n${this.log()}`,
    );
  }

  /** Resolves when a decision line like this came. */
  async judged(is: (decision: Shown) => boolean): Promise<void> {
    await eventually(
      () => this.decisions.some(is),
      () => "a decision",
    );
  }

  /** Every file that outlives a moment: spool, record, log, state. */
  files(): string[] {
    return readdirSync(this.folder, { recursive: true })
      .map((name) => this.at(String(name)))
      .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true);
  }

  // --- life -----------------------------------------------------------------------------------------------------------

  /** kill -9; as under `sidegate run` it is started again at once, with the same sockets. */
  kill(name: "sidecar" | "collector"): void {
    process.kill(name === "sidecar" ? this.sidecarPid : this.collectorPid, "SIGKILL");
  }

  /** SIGTERM, and nothing starts it again. Resolves when it has ended; killed where it does not. */
  stop(name: "sidecar" | "collector"): Promise<void> {
    const child = name === "sidecar" ? this.#sidecar : this.#collector;
    return child?.stop(LIMIT_MS) ?? Promise.resolve();
  }

  /** A new one in the place of one that was stopped. */
  async restart(name: "sidecar" | "collector"): Promise<void> {
    if (name === "sidecar") this.#startSidecar();
    else this.#startCollector();
    await (name === "sidecar" ? this.#sidecar : this.#collector)?.ready;
  }

  async close(): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    await this.#sidecar?.stop(LIMIT_MS);
    await this.#collector?.stop(LIMIT_MS);
    for (const handle of this.#sockets.values()) handle.close();
    this.#inside?.disconnect();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #openNamespace(): Promise<void> {
    const faults: string[] = [];
    // Root may make namespaces where nobody else may.
    for (const user of process.getuid?.() === 0 ? [true, false] : [true]) {
      try {
        await this.#unshare(user);
        return;
      } catch (fault) {
        faults.push(String(fault));
      }
    }
    throw new Error(`no network namespace: ${faults.join("; ")}`);
  }

  async #unshare(user: boolean): Promise<void> {
    const own = user ? ["--user", "--map-root-user"] : [];
    const program = [
      NODE,
      "--disable-warning=ExperimentalWarning",
      path.join(import.meta.dirname, "sidecar-inside.ts"),
    ];
    const inside = spawn(findTool("unshare") ?? "unshare", ["--net", ...own, "--", ...program], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    });
    await new Promise<void>((resolve, reject) => {
      inside.on("message", (message: FromInside, handle: unknown) => {
        switch (message.kind) {
          case "socket":
            this.#sockets.set(message.name, handle as { fd: number; close(): void });
            return;
          case "opened":
            resolve();
            return;
          case "connected":
            this.#waiting.get(message.id)?.resolve(this.#received(handle));
            this.#waiting.delete(message.id);
            return;
          case "failed":
            this.#waiting.get(message.id)?.reject(new Error(message.message));
            this.#waiting.delete(message.id);
        }
      });
      inside.once("error", reject);
      inside.once("exit", (code, signal) => reject(new Error(`unshare ended (${signal ?? code})`)));
    });
    this.#inside = inside;
  }

  #received(handle: unknown): net.Socket {
    const socket = new net.Socket({
      handle,
      allowHalfOpen: true,
      readable: true,
      writable: true,
    } as net.SocketConstructorOpts);
    socket.on("error", () => {});
    this.#connections.add(socket);
    socket.once("close", () => this.#connections.delete(socket));
    return socket;
  }

  #startCollector(): void {
    this.#collector = startChild({
      name: "collector",
      node: NODE,
      entry: path.join(ROOT, "cmd/collector.ts"),
      env: {
        PATH: "/usr/bin:/bin",
        SIDEGATE_AUDIT_DB: this.at("audit.db"),
        SIDEGATE_COLLECTOR_SOCKET: this.at("collector.sock"),
      },
      log: this.at("collector.log"),
      descriptors: [],
      onLines: null,
    });
  }

  #startSidecar(): void {
    const handed = [...this.#sockets];
    const [key] = TEST_TRUST.keys;
    if (key === undefined) throw new Error("no key");
    this.#sidecar = startChild({
      name: "sidecar",
      node: NODE,
      entry: path.join(ROOT, "cmd/sidecar.ts"),
      env: {
        PATH: "/usr/bin:/bin",
        [PROXY_ENV.pod]: "gateway-under-test",
        [PROXY_ENV.state]: this.at("state"),
        [PROXY_ENV.spool]: this.at("spool"),
        [PROXY_ENV.trust]: this.at("trust"),
        [PROXY_ENV.bundle]: this.at("bundle.tar.gz"),
        [PROXY_ENV.bundleKey]: key.publicKey.export({ type: "spki", format: "pem" }),
        [PROXY_ENV.bundleKeyId]: key.id,
        [PROXY_ENV.bundleScope]: TEST_TRUST.scope,
        [PROXY_ENV.collector]: `unix:${this.at("collector.sock")}`,
        [PROXY_ENV.loopback]: "true",
        [PROXY_ENV.admin]: `127.0.0.1:${this.#adminPort}`,
        [PROXY_ENV.listen]: handed.map(([name], index) => `${name}=${descriptorOf(index)}`).join(","),
        [PROXY_ENV.decisions]: String(descriptorOf(handed.length)),
        ...this.#env,
      },
      log: this.at("sidecar.log"),
      descriptors: handed.map(([, handle]) => handle.fd),
      onLines: (text) => this.#decided(text),
    });
  }

  #decided(text: string): void {
    const lines = (this.#lines + text).split("\n");
    this.#lines = lines.pop() ?? "";
    for (const line of lines) this.decisions.push(JSON.parse(line) as Shown);
  }
}

/** A started gateway; `close` it in any case. */
export async function startGateway(plan: GatewayPlan): Promise<Gateway> {
  const gateway = new Gateway();
  try {
    const late = AbortSignal.timeout(READY_MS);
    await Promise.race([
      gateway.start(plan),
      new Promise<never>((_resolve, reject) => {
        late.addEventListener("abort", () => reject(new Error(`not ready in time\n${gateway.log()}`)));
      }),
    ]);
    return gateway;
  } catch (fault) {
    const log = gateway.log();
    await gateway.close();
    throw new Error(`the gateway did not start\n${log}`, { cause: fault });
  }
}

/** Something that another process does: looked at until it is so. */
export async function eventually(is: () => boolean | Promise<boolean>, what: () => string): Promise<void> {
  const end = Date.now() + LIMIT_MS;
  while (!(await is())) {
    if (Date.now() > end) throw new Error(`not seen in time: ${what()}`);
    await pause();
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10));
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
