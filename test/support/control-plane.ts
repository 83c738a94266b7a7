/**
 * A real API server and its etcd, on loopback ports of their own, without a node: for everything that admission decides. They are
 * children of the test's process and end with it (`setpriv --pdeathsig`). The programs are those of `test/e2e/cluster/build.sh`.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { createServer } from "node:net";
import os from "node:os";
import path from "node:path";

const CACHE = path.join(process.env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache"), "sidegate");
const SCRIPTS = path.resolve("test/e2e/cluster");

/** The folder with kube-apiserver and etcd, or null where they were never built. */
export function findControlPlane(): string | null {
  const version = /^KUBERNETES=([\d.]+)/m.exec(readFileSync(path.join(SCRIPTS, "env.sh"), "utf8"))?.[1] ?? "";
  const folder = path.join(CACHE, `kube-${version}`);
  return existsSync(path.join(folder, ".stamp")) ? folder : null;
}

export interface Answer {
  readonly status: number;
  readonly body: { readonly message?: string; readonly [member: string]: unknown };
}

export interface As {
  readonly user: string;
  readonly groups?: readonly string[];
}

export interface ControlPlane {
  readonly url: string;
  /** PEM files: the authority, and the administrator's certificate and key. */
  readonly pki: string;
  readonly kubeconfig: string;
  readonly kubectl: string;
  /** `as`: impersonated by the administrator. Bodies are JSON; a PATCH is a merge patch. */
  call(method: string, path: string, body?: unknown, as?: As): Promise<Answer>;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** `bin`: what `findControlPlane` found. Resolves when the API server is ready: some 5 s. */
export async function startControlPlane(bin: string): Promise<ControlPlane> {
  const home = mkdtempSync(path.join(os.tmpdir(), "sidegate-control-"));
  const pki = path.join(home, "pki");
  mkdirSync(path.join(home, "run"));
  execFileSync("bash", [path.join(SCRIPTS, "pki.sh")], {
    env: { ...process.env, SIDEGATE_CLUSTER: home },
    stdio: "ignore",
  });
  const [client, peer, secure] = [await freePort(), await freePort(), await freePort()];
  const children: ChildProcess[] = [];
  const start = (name: string, args: readonly string[]): void => {
    const out = openSync(path.join(home, "run", `${name}.log`), "w");
    children.push(
      spawn("setpriv", ["--pdeathsig", "KILL", path.join(bin, name), ...args], { stdio: ["ignore", out, out] }),
    );
  };
  const etcd = `http://127.0.0.1:${client}`;
  start("etcd", [
    "--data-dir",
    path.join(home, "etcd"),
    "--unsafe-no-fsync",
    "--log-level",
    "warn",
    "--listen-client-urls",
    etcd,
    "--advertise-client-urls",
    etcd,
    "--listen-peer-urls",
    `http://127.0.0.1:${peer}`,
    "--initial-advertise-peer-urls",
    `http://127.0.0.1:${peer}`,
    "--initial-cluster",
    `default=http://127.0.0.1:${peer}`,
  ]);
  const file = (name: string): string => path.join(pki, name);
  start("kube-apiserver", [
    "--etcd-servers",
    etcd,
    "--bind-address",
    "127.0.0.1",
    "--secure-port",
    String(secure),
    "--tls-cert-file",
    file("server.crt"),
    "--tls-private-key-file",
    file("server.key"),
    "--client-ca-file",
    file("ca.crt"),
    "--endpoint-reconciler-type",
    "none",
    "--service-account-issuer",
    "https://kubernetes.default.svc.cluster.local",
    "--service-account-key-file",
    file("sa.pub"),
    "--service-account-signing-key-file",
    file("sa.key"),
    "--service-cluster-ip-range",
    "10.96.0.0/16",
    "--authorization-mode",
    "Node,RBAC",
    "--enable-admission-plugins",
    "NodeRestriction",
    "--allow-privileged",
  ]);
  const url = `https://127.0.0.1:${secure}`;
  const kubeconfig = path.join(home, "admin.conf");
  writeFileSync(kubeconfig, readFileSync(file("admin.conf"), "utf8").replace(/server: "[^"]*"/, `server: "${url}"`));
  const agent = new Agent({
    keepAlive: true,
    ca: readFileSync(file("ca.crt")),
    cert: readFileSync(file("admin.crt")),
    key: readFileSync(file("admin.key")),
  });
  const plane: ControlPlane = {
    url,
    pki,
    kubeconfig,
    kubectl: path.join(bin, "kubectl"),
    call: (method, target, body, as) => callApi(agent, `${url}${target}`, { method, body, as }),
    async stop() {
      agent.destroy();
      const ends = children.map((child) => new Promise((resolve) => child.once("exit", resolve)));
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(ends);
      rmSync(home, { recursive: true, force: true });
    },
  };
  try {
    await until(60_000, "the API server", async () => (await plane.call("GET", "/readyz")).status === 200);
  } catch (fault) {
    await plane.stop();
    throw fault;
  }
  return plane;
}

interface Call {
  readonly method: string;
  readonly body: unknown;
  readonly as: As | undefined;
}

function callApi(agent: Agent, url: string, { method, body, as }: Call): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      {
        agent,
        method,
        headers: {
          "content-type": method === "PATCH" ? "application/merge-patch+json" : "application/json",
          ...(as !== undefined && { "impersonate-user": as.user, "impersonate-group": [...(as.groups ?? [])] }),
        },
        timeout: 30_000,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          resolve({
            status: response.statusCode ?? 0,
            body: text.startsWith("{") ? (JSON.parse(text) as Answer["body"]) : { message: text },
          });
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Asks again every 100 ms; a rejection counts as "not yet". */
export async function until(limitMs: number, what: string, ask: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + limitMs;
  for (;;) {
    if (await ask().catch(() => false)) return;
    if (performance.now() > end) throw new Error(`timed out: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
