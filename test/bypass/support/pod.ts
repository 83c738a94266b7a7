/**
 * Two real network namespaces joined by a veth pair: the pod, with our rules in it, and the world, which sees every packet that
 * leaves the pod. Nobody's packets are waited for by the clock: a marker that the proxy sends last is seen after all others.
 *
 * Both are anonymous and end with the test's process, whatever happens to it.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { CAPTURE_PORT, DNS_PORT } from "#contract/names.ts";
import { iptablesText } from "#netfilter/iptables.ts";
import { type Chain, type RulesetOptions, ruleset } from "#netfilter/model.ts";
import { nftText } from "#netfilter/nft.ts";
import { ACTOR_FILE, Actor, PYTHON } from "./actor.ts";

export const PROXY_UID = 1_947_264_001;
export const AGENT_UID = 1_000_417;
export const RULES: RulesetOptions = {
  proxyUid: PROXY_UID,
  listenerUid: PROXY_UID,
  inbound: { tcp: [8080], udp: [8081] },
  ipv6: true,
};

export const BACKENDS = ["nft", "iptables", "iptables-legacy"] as const;
export type Backend = (typeof BACKENDS)[number];

export const POD = { 4: "10.9.0.2", 6: "fd09::2" } as const;
export const WORLD = { 4: "10.9.0.1", 6: "fd09::1" } as const;
/** Beyond the world: routed to it, and never answered. */
export const BEYOND = { 4: "198.51.100.7", 6: "2001:db8:7::7" } as const;
export const FAMILIES = [4, 6] as const;
export type Family = (typeof FAMILIES)[number];
export const INET = { 4: "inet", 6: "inet6" } as const;
export const LOOPBACK = { 4: "127.0.0.1", 6: "::1" } as const;

const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

export interface Around {
  readonly before?: string;
  readonly after?: string;
  readonly rules?: RulesetOptions;
}

export class Pod {
  readonly #pod: ChildProcess;
  readonly #world: ChildProcess;
  readonly #actors: Actor[] = [];
  readonly #rules: RulesetOptions;
  #marks = 0;

  private constructor(rules: RulesetOptions) {
    this.#rules = rules;
    this.#pod = hold();
    this.#world = hold();
  }

  /** `before`, `after`: nft text loaded into the pod around our rules, as a mesh's init container would. */
  static async make(backend: Backend | null, around: Around = {}): Promise<Pod> {
    const pod = new Pod(around.rules ?? RULES);
    try {
      await pod.#wire();
      if (around.before !== undefined) pod.inside(["nft", "-f", "-"], around.before);
      if (backend !== null) pod.load(backend);
      if (around.after !== undefined) pod.inside(["nft", "-f", "-"], around.after);
      return pod;
    } catch (fault) {
      await pod.close();
      throw fault;
    }
  }

  /** With SIDEGATE_MUTATION=`CHAIN:INDEX,…` these rules are left out: a scenario that still passes then guards nothing. */
  load(backend: Backend): void {
    const chains = ruleset(this.#rules).map(mutated);
    if (backend === "nft") return void this.inside(["nft", "-f", "-"], nftText(chains));
    const six = backend === "iptables" ? "ip6tables-restore" : "ip6tables-legacy-restore";
    this.inside([six], iptablesText(chains, 6));
    this.inside([`${backend}-restore`], iptablesText(chains, 4));
  }

  /** Of a process in the pod's network, for nsenter. */
  get pid(): number {
    return this.#pod.pid ?? -1;
  }

  /** Runs a program in the pod's network as root. */
  inside(argv: readonly string[], input = "", env: NodeJS.ProcessEnv = {}): string {
    return execFileSync("nsenter", ["-t", String(this.#pod.pid), "-n", "--", ...argv], {
      input,
      encoding: "utf8",
      env: { PATH, ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
  }

  /** No capability, none to be gained: as a container of the pod. */
  agent(uid: number = AGENT_UID): Actor {
    return this.#act(this.#pod, uid);
  }

  proxy(): Actor {
    return this.#act(this.#pod, PROXY_UID);
  }

  world(): Actor {
    return this.#keep(new Actor(["nsenter", "-t", String(this.#world.pid), "-n", "--", PYTHON, ACTOR_FILE]));
  }

  /** What left the pod since `sniffer` began to sniff. */
  async left(sniffer: Actor, proxy: Actor): Promise<readonly string[]> {
    const name = `mark-${++this.#marks}`;
    await proxy.do("socket", { name, type: "datagram" });
    await proxy.do("sendto", { name, data: `${name}.`, address: [WORLD[4], 9] });
    await proxy.do("close", { name });
    return (await sniffer.do("sniffed", { name: "wire", until: `${name}.` })).packets ?? [];
  }

  async close(): Promise<void> {
    await Promise.all(this.#actors.map((actor) => actor.end()));
    for (const holder of [this.#pod, this.#world]) holder.kill("SIGKILL");
  }

  async #wire(): Promise<void> {
    for (const holder of [this.#pod, this.#world]) await ready(holder);
    // Made inside the pod's namespace, so that the host never has an interface of ours.
    const pair = `link add eth0 type veth peer name eth0 netns ${this.#world.pid}`;
    const routes = [`route add default via ${WORLD[4]}`, `-6 route add default via ${WORLD[6]}`];
    // A neighbour that takes packets for 127/8 from outside, as a node with route_localnet does.
    const localnet = "sysctl -qw net.ipv4.conf.all.route_localnet=1";
    configure(this.#pod, [pair]);
    configure(this.#world, side(1), localnet);
    configure(this.#pod, [...side(2), ...routes]);
  }

  #act(holder: ChildProcess, uid: number): Actor {
    const user = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
    const bare = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];
    const enter = ["nsenter", "-t", String(holder.pid), "-n", "--"];
    return this.#keep(new Actor([...enter, "setpriv", ...user, ...bare, "--", PYTHON, ACTOR_FILE]));
  }

  #keep(actor: Actor): Actor {
    this.#actors.push(actor);
    return actor;
  }
}

/** The proxy with its listeners: `tcp4`, `tcp6`, `dnsUdp4`, … as the sidecar has them. */
export async function listening(proxy: Actor): Promise<Actor> {
  for (const family of FAMILIES)
    for (const [kind, type, port] of [
      ["tcp", "stream", CAPTURE_PORT],
      ["dnsUdp", "datagram", DNS_PORT],
      ["dnsTcp", "stream", DNS_PORT],
    ] as const) {
      const name = `${kind}${family}`;
      await proxy.do("socket", { name, family: INET[family], type });
      if (type === "stream") await proxy.do("option", { name, level: 1, option: 2, value: 1 });
      await proxy.do("bind", { name, address: [LOOPBACK[family], port] });
      if (type === "stream") await proxy.do("listen", { name });
    }
  return proxy;
}

export async function sniffing(world: Actor): Promise<Actor> {
  await world.do("sniff", { name: "wire", device: "eth0" });
  return world;
}

const side = (n: 1 | 2): readonly string[] => [
  "link set lo up",
  `addr add 10.9.0.${n}/24 dev eth0`,
  `addr add fd09::${n}/64 dev eth0 nodad`,
  "link set eth0 up",
];

function configure(holder: ChildProcess, lines: readonly string[], extra = "true"): void {
  const script = [...lines.map((line) => `ip ${line}`), extra].join(" && ");
  execFileSync("nsenter", ["-t", String(holder.pid), "-n", "--", "sh", "-c", script], { env: { PATH } });
}

export function mutated(chain: Chain): Chain {
  const left = (process.env["SIDEGATE_MUTATION"] ?? "").split(",").map((each) => each.split(":"));
  const out = left.filter(([hook]) => hook === chain.hook).map(([, index]) => index);
  const rules = chain.rules.filter((_, i) => !out.includes(String(i)));
  return { ...chain, policy: out.includes("policy") ? "accept" : chain.policy, rules };
}

/** A process that does nothing but hold a network namespace, and dies with us. */
function hold(): ChildProcess {
  const argv = ["--pdeathsig", "KILL", "--", "unshare", "--net", "--", "sh", "-c", "echo ready; exec sleep infinity"];
  return spawn("setpriv", argv, { stdio: ["ignore", "pipe", "inherit"], env: { PATH } });
}

function ready(holder: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    holder.stdout?.once("data", () => resolve());
    holder.once("exit", () => reject(new Error("no network namespace could be made")));
  });
}
