/**
 * A pod as a cluster has it, without one: the network of pod.ts, init's rules in it, the real sidecar under its own uid, the real
 * collector, and an agent's container around a command: its own processes, mounts, no capability, no new privileges. What a
 * container runtime adds besides (seccomp, a root folder of its own) is not here, so what holds here holds without it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { build } from "esbuild";
import { PROXY_ENV } from "#contract/proxy-environment.ts";
import { BUNDLE_OPTIONS } from "../../../tools/bundle-options.ts";
import { compileTexts, pack, TEST_TRUST, type Texts } from "../../support/policy-texts.ts";
import { ISTIO, type Redirects, redirectByMesh } from "./istio.ts";
import { type Backend, POD, Pod, PROXY_UID, RULES, WORLD } from "./pod.ts";

const READY_MS = 30_000;
const ENV = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
/** What a container's mounts hide of this machine, then the command, without a capability. `$1`: uid; `$2`: the trust folder. */
const CONTAINER = `
mount --make-rprivate / && mount -t tmpfs none /var/lib && mount -t tmpfs none /run && mkdir -p /run/sidegate/trust &&
mount --bind "$2" /run/sidegate/trust && mount -o remount,bind,ro /run/sidegate/trust &&
mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys &&
{ [ ! -e /proc/sysrq-trigger ] || mount --bind -o ro /proc/sysrq-trigger /proc/sysrq-trigger; } &&
mount -t tmpfs -o size=1m none /sys && mount -o remount,ro /sys &&
mount -t tmpfs -o size=1m,mode=755 none /dev && mknod -m 666 /dev/null c 1 3 && mount -o remount,ro /dev || exit 99
uid=$1; shift 2
exec setpriv --reuid=$uid --regid=$uid --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"`;

/** With a mesh's redirects behind ours; whoever stands in for its proxy, the test starts. */
export interface Chained {
  readonly ours: Backend;
  readonly theirs: Redirects;
}

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export class GatedPod {
  readonly folder = mkdtempSync(path.join(tmpdir(), "sidegate-gated-"));
  readonly pod: Pod;
  readonly #children: ChildProcess[] = [];

  private constructor(pod: Pod) {
    this.pod = pod;
  }

  /** `gated` false: neither rules nor a sidecar, so that attempts can be seen to work where nothing stops them. */
  static async make(gated: boolean, policy: Texts, chained: Chained | null = null): Promise<GatedPod> {
    const rules = chained === null ? RULES : { ...RULES, mesh: ISTIO };
    const made = new GatedPod(await Pod.make(gated ? (chained?.ours ?? "nft") : null, { rules }));
    try {
      if (chained !== null) redirectByMesh(made.pod, chained.theirs);
      chmodSync(made.folder, 0o755);
      mkdirSync(made.#at("trust"), { mode: 0o755 });
      if (gated) await made.#serve(policy);
      return made;
    } catch (fault) {
      await made.close();
      throw fault;
    }
  }

  /** A command in the agent's container, to its end. `shared`: it sees the processes of the pod, as with shareProcessNamespace. */
  run(uid: number, argv: readonly string[], { input = "", shared = false } = {}): Promise<Ran> {
    const own = shared ? ["--mount"] : ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const script = ["sh", "-c", CONTAINER, "sh", String(uid), this.#at("trust"), ...argv];
    const child = this.#start(["unshare", ...own, "--", ...script], ["pipe", "pipe", "pipe"], {});
    let [out, err] = ["", ""];
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (err += text));
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
    return new Promise((resolve) => child.once("close", (code) => resolve({ code, out, err })));
  }

  /** At the other end of the wire: answers whoever reaches it at this port, by TCP and by UDP. */
  async witness(port: number): Promise<void> {
    const world = this.pod.world();
    await world.do("python", { text: witnessText(port) });
  }

  /** The collector's store, as `sidegate audit` reads it. */
  get database(): string {
    return this.#at("audit.db");
  }

  async close(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    await this.pod.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #at(name: string): string {
    return path.join(this.folder, name);
  }

  #start(argv: readonly string[], stdio: ("pipe" | "ignore" | "ipc")[], env: NodeJS.ProcessEnv): ChildProcess {
    const child = spawn("nsenter", ["-t", String(this.pod.pid), "-n", "--", ...argv], {
      stdio,
      cwd: "/",
      env: { ...ENV, ...env },
    });
    this.#children.push(child);
    return child;
  }

  async #serve(policy: Texts): Promise<void> {
    const root = path.resolve(import.meta.dirname, "../../..");
    const entryPoints = [path.join(root, "cmd/sidecar.ts"), path.join(root, "cmd/collector.ts")];
    await build({ ...BUNDLE_OPTIONS, entryPoints, outdir: this.folder, outExtension: { ".js": ".mjs" } });
    copyFileSync(process.execPath, this.#at("node"));
    chmodSync(this.#at("node"), 0o755);
    for (const name of ["state", "spool", "trust"]) {
      mkdirSync(this.#at(name), { recursive: true, mode: name === "trust" ? 0o755 : 0o700 });
      chownSync(this.#at(name), PROXY_UID, PROXY_UID);
    }
    chownSync(this.folder, PROXY_UID, PROXY_UID);
    const { parts } = await compileTexts(policy);
    writeFileSync(this.#at("bundle.tar.gz"), pack(parts, 1));
    await this.#process("collector", {
      SIDEGATE_AUDIT_DB: this.#at("audit.db"),
      SIDEGATE_COLLECTOR_SOCKET: this.#at("collector.sock"),
    });
    const [key] = TEST_TRUST.keys;
    if (key === undefined) throw new Error("no key");
    await this.#process("sidecar", {
      [PROXY_ENV.pod]: "gated",
      [PROXY_ENV.state]: this.#at("state"),
      [PROXY_ENV.spool]: this.#at("spool"),
      [PROXY_ENV.trust]: this.#at("trust"),
      [PROXY_ENV.bundle]: this.#at("bundle.tar.gz"),
      [PROXY_ENV.bundleKey]: key.publicKey.export({ type: "spki", format: "pem" }),
      [PROXY_ENV.bundleKeyId]: key.id,
      [PROXY_ENV.bundleScope]: TEST_TRUST.scope,
      [PROXY_ENV.collector]: `unix:${this.#at("collector.sock")}`,
      [PROXY_ENV.podAddresses]: `${POD[4]},${POD[6]}`,
      [PROXY_ENV.resolvers]: WORLD[4],
      [PROXY_ENV.listen]: "ports",
    });
  }

  /** Started as the proxy's uid without a capability; resolves when it says on its channel that it is ready. */
  #process(name: "sidecar" | "collector", env: Readonly<Record<string, string>>): Promise<void> {
    const user = [`--reuid=${PROXY_UID}`, `--regid=${PROXY_UID}`, "--clear-groups", "--bounding-set=-all"];
    const node = [this.#at("node"), "--disable-sigusr1", "--disable-warning=ExperimentalWarning"];
    const argv = ["setpriv", ...user, "--inh-caps=-all", "--no-new-privs", "--", ...node, this.#at(`${name}.mjs`)];
    const child = this.#start(argv, ["ignore", "ignore", "pipe", "ipc"], env);
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (said += text));
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${name} is not ready: ${said}`)), READY_MS);
      child.once("message", () => {
        clearTimeout(late);
        resolve();
      });
      child.once("exit", (code) => reject(new Error(`${name} ended with ${code}: ${said}`)));
    });
  }
}

const witnessText = (port: number): string => `
import socket, threading
def greet(server):
  while True:
    peer, _ = server.accept()
    peer.sendall(b"witness: reached\\n")
    peer.close()
def echo(server):
  while True:
    data, peer = server.recvfrom(65536)
    server.sendto(b"witness: reached", peer)
for family, host in ((socket.AF_INET, "${WORLD[4]}"), (socket.AF_INET6, "${WORLD[6]}")):
  tcp = socket.socket(family, socket.SOCK_STREAM)
  tcp.setsockopt(1, 2, 1)
  tcp.bind((host, ${port}))
  tcp.listen(16)
  udp = socket.socket(family, socket.SOCK_DGRAM)
  udp.bind((host, ${port}))
  threading.Thread(target=greet, args=(tcp,), daemon=True).start()
  threading.Thread(target=echo, args=(udp,), daemon=True).start()
`;
