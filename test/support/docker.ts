/**
 * A Docker daemon of the test's own: its own socket, its own bridge, no rules of its own in the machine's firewall; ended by its pid.
 * Built layers stay in the cache, so that a second build takes seconds. Not where somebody else's daemon runs: that one is left alone.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

const CACHE = path.join(process.env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache"), "sidegate");
/** The first docker on the PATH may be another program; Debian's is this one. */
const DOCKER = "/usr/bin/docker";
const BRIDGE = "sg-images";
const BASE = "debian:bookworm-slim";

export interface Docker {
  /** For DOCKER_HOST. */
  readonly host: string;
  /** Throws with what docker said. */
  run(args: readonly string[], env?: Readonly<Record<string, string>>): string;
  stop(): Promise<void>;
}

/** `subnet`: a /24 that the bridge has, as `10.213.77`. Needs root. Resolves when the daemon answers; rejects with its log. */
export async function startDocker(subnet: string): Promise<Docker> {
  const work = mkdtempSync(path.join(os.tmpdir(), "sidegate-docker-"));
  const data = dataRoot(work);
  const log = path.join(work, "dockerd.log");
  const host = `unix://${path.join(work, "docker.sock")}`;
  execFileSync("ip", ["link", "add", BRIDGE, "type", "bridge"]);
  let daemon: ChildProcess | null = null;

  const docker: Docker = {
    host,
    run(args, env = {}) {
      const done = spawnSync(DOCKER, args, {
        env: { ...process.env, DOCKER_HOST: host, DOCKER_BUILDKIT: "1", ...env },
        encoding: "utf8",
        maxBuffer: 64 * 1024 * 1024,
      });
      if (done.status !== 0) throw new Error(`docker ${args[0]}: ${(done.stderr + done.stdout).slice(-4_000)}`);
      return done.stdout;
    },
    async stop() {
      if (daemon !== null && daemon.exitCode === null) {
        const ended = new Promise((resolve) => daemon?.once("exit", resolve));
        daemon.kill("SIGTERM");
        await ended;
      }
      spawnSync("ip", ["link", "del", BRIDGE]);
      rmSync(path.join(data, "sidegate.pid"), { force: true });
      rmSync(work, { recursive: true, force: true });
    },
  };
  try {
    execFileSync("ip", ["address", "add", `${subnet}.1/24`, "dev", BRIDGE]);
    execFileSync("ip", ["link", "set", BRIDGE, "up"]);
    const out = openSync(log, "w");
    const places = ["--data-root", data, "--exec-root", path.join(work, "exec"), "--pidfile", path.join(work, "pid")];
    const network = [
      "--bridge",
      BRIDGE,
      "--iptables=false",
      "--ip6tables=false",
      "--ip-masq=false",
      "--ip-forward=false",
    ];
    daemon = spawn("dockerd", ["-H", host, ...places, ...network], { stdio: ["ignore", out, out] });
    const end = performance.now() + 60_000;
    for (;;) {
      if (spawnSync(DOCKER, ["version"], { env: { ...process.env, DOCKER_HOST: host } }).status === 0) return docker;
      if (daemon.exitCode !== null || performance.now() > end)
        throw new Error(`dockerd does not answer: ${readFileSync(log, "utf8").slice(-2_000)}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  } catch (fault) {
    await docker.stop();
    throw fault;
  }
}

/** The cached one, unless another test uses it now. */
function dataRoot(work: string): string {
  const cached = path.join(CACHE, "docker");
  const owner = path.join(cached, "sidegate.pid");
  const other = existsSync(owner) ? readFileSync(owner, "utf8") : "";
  if (other !== "" && existsSync(`/proc/${other}`)) return path.join(work, "data");
  mkdirSync(cached, { recursive: true });
  writeFileSync(owner, String(process.pid));
  return cached;
}

/** What the Dockerfile builds on: pulled, or where nothing can be pulled, made from Debian's packages (half a minute). */
export function ensureBase(docker: Docker): void {
  try {
    docker.run(["image", "inspect", BASE]);
    return;
  } catch {
    // not there yet
  }
  const made = spawnSync(
    "sh",
    [
      "-c",
      `mmdebstrap --quiet --variant=minbase --include=ca-certificates bookworm - | ${DOCKER} import --change 'CMD ["bash"]' - ${BASE}`,
    ],
    { env: { ...process.env, DOCKER_HOST: docker.host }, encoding: "utf8" },
  );
  if (made.status !== 0) docker.run(["pull", "--quiet", BASE]);
}

/** One target of deploy/images/Dockerfile, out of this working tree. */
export function buildImage(docker: Docker, target: string): void {
  // Behind a proxy with an authority of its own; the Dockerfile takes it as a secret.
  const authority = [process.env["npm_config_cafile"], process.env["SSL_CERT_FILE"]].find(
    (file) => file !== undefined && existsSync(file),
  );
  const secret = authority === undefined ? [] : ["--secret", `id=npm-ca,src=${authority}`];
  const what = ["-f", "deploy/images/Dockerfile", "--target", target, "-t", `${target}:test`];
  docker.run(["build", "--network", "host", "--quiet", ...what, ...secret, "."]);
}
