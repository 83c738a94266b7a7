/**
 * The control plane's own processes on a real API server, for tests: started, watched by their logs, ended; and `kubectl`.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { type ControlPlane, findControlPlane, startControlPlane, until } from "../support/control-plane.ts";

export const ROOT = path.join(import.meta.dirname, "../..");
const CACHE = path.join(process.env["XDG_CACHE_HOME"] ?? path.join(homedir(), ".cache"), "sidegate");
const OPA = process.env["SIDEGATE_OPA"] ?? path.join(CACHE, "opa-1.22.2");
const BIN = findControlPlane();
export const POSSIBLE = BIN !== null && existsSync(OPA);
export const NEEDED = "needs the cluster's programs (test/e2e/cluster/build.sh) and opa in the cache";

export interface Started {
  readonly child: ChildProcess;
  readonly port: Promise<number>;
  readonly lines: Record<string, unknown>[];
}

export interface Lab {
  readonly plane: ControlPlane;
  readonly running: readonly Started[];
  /** A process of `cmd/`, with what all of them need in its environment. */
  start(command: "controller" | "webhook", identity: string, environment?: Readonly<Record<string, string>>): Started;
  end(one: Started, signal: "SIGTERM" | "SIGKILL"): Promise<number | null>;
  kubectl(args: readonly string[], input?: string): { readonly ok: boolean; readonly text: string };
  /** Throws with kubectl's words where it is refused. */
  apply(object: object): void;
  get(target: string): Promise<Record<string, unknown>>;
  stop(): Promise<void>;
}

/** With our custom resources, and the namespaces `sidegate` and `team`, which has opted in. */
export async function startLab(): Promise<Lab> {
  if (BIN === null) throw new Error(NEEDED);
  const plane = await startControlPlane(BIN);
  let running: Started[] = [];

  const lab: Lab = {
    plane,
    get running() {
      return running;
    },
    start(command, identity, environment = {}) {
      const child = spawn(
        process.execPath,
        ["--disable-warning=ExperimentalWarning", path.join(ROOT, `cmd/${command}.ts`)],
        {
          cwd: ROOT,
          env: {
            PATH: process.env["PATH"],
            SIDEGATE_CONTROL_NAMESPACE: "sidegate",
            SIDEGATE_IDENTITY: identity,
            SIDEGATE_LISTEN_ADDRESS: "127.0.0.1",
            SIDEGATE_LISTEN_NUMBER: "0",
            SIDEGATE_KUBECONFIG: plane.kubeconfig,
            SIDEGATE_OPA: OPA,
            SIDEGATE_CERTIFICATE_NAMES: "localhost",
            ...environment,
          },
          stdio: ["ignore", "inherit", "pipe"],
        },
      );
      const lines: Record<string, unknown>[] = [];
      const port = new Promise<number>((resolve, reject) => {
        createInterface({ input: child.stderr }).on("line", (text) => {
          if (process.env["SHOW"] === "1") process.stdout.write(`${identity} ${text}\n`);
          const line = JSON.parse(text) as Record<string, unknown>;
          lines.push(line);
          if (line["event"] === "serving") resolve(Number(line["port"]));
        });
        child.on("exit", () => reject(new Error(`${identity} ended: ${JSON.stringify(lines.at(-1))}`)));
      });
      port.catch(() => undefined);
      const started = { child, port, lines };
      running.push(started);
      return started;
    },
    async end(one, signal) {
      running = running.filter((other) => other !== one);
      if (one.child.exitCode !== null) return one.child.exitCode;
      const ended = new Promise<number | null>((resolve) => {
        one.child.once("exit", resolve);
      });
      one.child.kill(signal);
      return ended;
    },
    kubectl(args, input = "") {
      const run = spawnSync(plane.kubectl, ["--kubeconfig", plane.kubeconfig, ...args], { input, encoding: "utf8" });
      return { ok: run.status === 0, text: run.stdout + run.stderr };
    },
    apply(object) {
      const { ok, text } = lab.kubectl(["apply", "-f", "-"], JSON.stringify(object));
      if (!ok) throw new Error(text);
    },
    get: async (target) => (await plane.call("GET", target)).body,
    async stop() {
      for (const one of running) await lab.end(one, "SIGKILL");
      await plane.stop();
    },
  };
  const crds = lab.kubectl(["apply", "-f", path.join(ROOT, "charts/gateway/crds")]);
  if (!crds.ok) throw new Error(crds.text);
  const optedIn = { "sidegate.dev/inject": "all" };
  for (const [name, labels] of [
    ["sidegate", {}],
    ["team", optedIn],
  ] as const)
    lab.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
  lab.apply({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: "team" } });
  await until(10_000, "the custom resources", async () => {
    const { status } = await plane.call("GET", "/apis/sidegate.dev/v1alpha1/egresstargets");
    return status === 200;
  });
  return lab;
}
