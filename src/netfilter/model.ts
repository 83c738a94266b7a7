/**
 * What the kernel must do with an agent's packets, once, in our own words (docs/architecture.md, interception). Two renderers
 * turn it into nft and iptables texts, so neither back end can have a rule that the other lacks.
 *
 * Errs towards silence: each chain that can let a packet out ends in a drop or a refusal, and exemptions are positive. An
 * established flow alone never lets a packet out: a stale conntrack entry would become a tunnel.
 */
import { ADMIN_PORT, CAPTURE_PORT, DNS_PORT } from "#contract/names.ts";

/** Marks flows that the proxy opened, so that what the kernel still sends for them after the socket is gone may leave. */
export const FLOW_MARK = 0x5347;

export interface InboundPorts {
  readonly tcp: readonly number[];
  readonly udp: readonly number[];
}

/** A mesh's proxy in the same pod, through which the gateway's own connections go on their way (docs/adr/0013-mesh-in-the-same-pod.md). */
export interface MeshExemption {
  /** Its proxy's, which goes out un-judged: admission sees to it that nothing else in the pod runs as it. */
  readonly uid: number;
  /** All that its proxy listens on: open to nobody but itself, and to what it redirected to itself. */
  readonly ports: readonly number[];
}

export interface RulesetOptions {
  /** Who may go out. Null: nobody, because the namespace holds nothing but `lo` (`sidegate run`). */
  readonly proxyUid: number | null;
  /** Who may answer on the capture ports. The proxy, but while init's probe stands in for it. */
  readonly listenerUid: number | null;
  /** Ports on which new connections may come in. */
  readonly inbound: InboundPorts;
  /** False where the kernel has no IPv6: nothing of it is then let through. */
  readonly ipv6: boolean;
  /** Null or absent: no mesh in this pod, and no uid but the proxy's goes out. */
  readonly mesh?: MeshExemption | null;
}

export type Protocol = "tcp" | "udp";

export type Condition =
  /** `is: false`: the packet has an owner, and it is another. A packet without a socket meets neither. */
  | { readonly kind: "owner"; readonly uid: number; readonly is: boolean }
  | {
      readonly kind: "transport";
      readonly protocols: readonly Protocol[];
      readonly from?: readonly number[];
      readonly to?: readonly number[];
    }
  | { readonly kind: "out-by-loopback" }
  | { readonly kind: "in-by-loopback" }
  /** To an address of this namespace's own. */
  | { readonly kind: "to-own-address" }
  /** 127.0.0.0/8; the kernel itself drops ::1 from outside. */
  | { readonly kind: "to-loopback" }
  /** TCP to a port that the flow was opened to, before whatever redirected it since. */
  | { readonly kind: "asked-port"; readonly ports: readonly number[] }
  /** In the direction of who opened the flow. */
  | { readonly kind: "opens" }
  /** The flow's destination was rewritten: by a mesh, where the proxy opened it, because ours leave the proxy alone. */
  | { readonly kind: "redirected" }
  /** In the answering direction of an established flow. */
  | { readonly kind: "answer" }
  | { readonly kind: "established" }
  /** The flow carries FLOW_MARK, or does not. */
  | { readonly kind: "proxy-flow"; readonly is: boolean }
  /** IPv6 neighbour solicitation and advertisement. */
  | { readonly kind: "neighbour-discovery" }
  /** ICMP errors about a known flow (path MTU, unreachable); never an ICMP redirect, which would move our routes. */
  | { readonly kind: "flow-error"; readonly family: 4 | 6 };

export type Action =
  | { readonly kind: "accept" }
  | { readonly kind: "drop" }
  /** Refused with an error at once, so that a client falls back instead of waiting. */
  | { readonly kind: "reject" }
  /** Leaves the nat chain: not redirected by us. */
  | { readonly kind: "skip" }
  | { readonly kind: "redirect"; readonly port: number }
  | { readonly kind: "mark-and-accept" };

export interface Rule {
  readonly when: readonly Condition[];
  readonly do: Action;
  readonly why: string;
}

export type Hook = "arrival" | "redirect" | "output" | "exit" | "input";

export interface Chain {
  readonly hook: Hook;
  readonly policy: "accept" | "drop";
  readonly why: string;
  readonly rules: readonly Rule[];
  /** What a rule here skips, another program's chain of the same hook still sees. */
  readonly passesOn?: boolean;
}

const ACCEPT: Action = { kind: "accept" };
const DROP: Action = { kind: "drop" };
const TCP: Condition = { kind: "transport", protocols: ["tcp"] };
const OWN_ADDRESS: Condition = { kind: "to-own-address" };

/** The chains, in the order in which a packet meets them: four, and with a mesh one for what arrives. Throws RangeError on a uid or port that no kernel has. */
export function ruleset(options: RulesetOptions): readonly Chain[] {
  check(options);
  const chains = [
    ...arrivalChains(options),
    redirectChain(options),
    outputChain(options),
    exitChain(options),
    inputChain(options),
  ];
  return options.ipv6 ? chains : chains.map((chain) => ({ ...chain, rules: chain.rules.filter((r) => !needsIpv6(r)) }));
}

const needsIpv6 = ({ when }: Rule): boolean =>
  when.some((c) => c.kind === "neighbour-discovery" || (c.kind === "flow-error" && c.family === 6));

/** The kubelet asks our own listener, also while the mesh's proxy is not up, or takes nothing but its own peers. */
function arrivalChains({ mesh }: RulesetOptions): readonly Chain[] {
  if (!mesh) return [];
  const rule: Rule = {
    when: [{ kind: "transport", protocols: ["tcp"], to: [ADMIN_PORT] }],
    do: { kind: "redirect", port: ADMIN_PORT },
    why: "to itself: a flow has one mapping, and then the mesh makes none",
  };
  return [{ hook: "arrival", policy: "accept", why: "what is ours and not the mesh's", rules: [rule] }];
}

function redirectChain({ proxyUid, mesh }: RulesetOptions): Chain {
  const rules: Rule[] = [];
  if (proxyUid !== null) rules.push({ when: [isOwner(proxyUid)], do: { kind: "skip" }, why: "the proxy's own" });
  if (mesh) rules.push({ when: [isOwner(mesh.uid)], do: { kind: "skip" }, why: "the mesh's own" });
  rules.push(
    {
      when: [{ kind: "transport", protocols: ["tcp", "udp"], to: [53] }],
      do: { kind: "redirect", port: DNS_PORT },
      why: "wherever it goes, also to 127.0.0.53",
    },
    {
      when: [{ kind: "out-by-loopback" }, OWN_ADDRESS],
      do: { kind: "skip" },
      why: "the agent talks to itself",
    },
    { when: [TCP], do: { kind: "redirect", port: CAPTURE_PORT }, why: "everything else" },
  );
  const chain: Chain = { hook: "redirect", policy: "accept", why: "who the agent meets", rules };
  return mesh ? { ...chain, passesOn: true } : chain;
}

function outputChain({ proxyUid, listenerUid, mesh }: RulesetOptions): Chain {
  const rules: Rule[] = [];
  if (listenerUid !== null)
    rules.push({
      when: [
        { kind: "transport", protocols: ["tcp", "udp"], from: [CAPTURE_PORT, DNS_PORT] },
        { kind: "owner", uid: listenerUid, is: false },
      ],
      do: DROP,
      why: "nobody else answers on our ports: a SYN-ACK carries its listener's uid",
    });
  if (proxyUid !== null && mesh) rules.push(...aroundTheMesh(proxyUid, mesh));
  rules.push({ when: [OWN_ADDRESS], do: ACCEPT, why: "redirected, or to ourselves; the exit decides what leaves" });
  if (proxyUid !== null) rules.push({ when: [isOwner(proxyUid)], do: { kind: "mark-and-accept" }, why: "the proxy" });
  if (mesh) rules.push({ when: [isOwner(mesh.uid)], do: { kind: "mark-and-accept" }, why: "the mesh" });
  rules.push(ANSWER, NEIGHBOURS);
  if (proxyUid !== null)
    rules.push({ when: nobodyOf(proxyUid, mesh), do: { kind: "reject" }, why: whyNobody(mesh) }, REMAINDER);
  rules.push({ when: [], do: { kind: "reject" }, why: "the rest is refused at once" });
  return { hook: "output", policy: "drop", why: "refuses with an error", rules };
}

/**
 * Inside the pod, the mesh's proxy talks to nobody but itself, the gateway and whoever it calls: its listeners would carry anything
 * out un-judged. By port, so that a refusal is told at once and no datagram arrives; and by the uid that answers, so that a
 * listener which nobody listed is as good as absent.
 */
function aroundTheMesh(proxyUid: number, { uid, ports }: MeshExemption): readonly Rule[] {
  return [
    {
      when: [{ kind: "transport", protocols: ["tcp", "udp"], from: sorted(ports) }, isOther(uid)],
      do: DROP,
      why: "nobody else answers on the mesh's ports",
    },
    {
      when: [OWN_ADDRESS, isOwner(proxyUid), { kind: "opens" }, { kind: "redirected" }],
      do: { kind: "mark-and-accept" },
      why: "the proxy's, redirected by the mesh",
    },
    {
      when: [OWN_ADDRESS, isOwner(uid), { kind: "opens" }],
      do: { kind: "mark-and-accept" },
      why: "what the mesh opens: to itself, to the agent",
    },
    {
      when: [{ kind: "transport", protocols: ["tcp", "udp"], to: sorted(ports) }, OWN_ADDRESS, isOther(uid)],
      do: { kind: "reject" },
      why: "nobody else talks to the mesh",
    },
    {
      when: [OWN_ADDRESS, isOwner(uid), { kind: "answer" }, { kind: "proxy-flow", is: false }],
      do: DROP,
      why: "nor on a port that nobody listed: a SYN-ACK carries its listener's uid",
    },
  ];
}

function exitChain({ proxyUid, mesh }: RulesetOptions): Chain {
  const rules: Rule[] = [{ when: [{ kind: "out-by-loopback" }], do: ACCEPT, why: "stays here" }];
  if (proxyUid === null) return { hook: "exit", policy: "drop", why: EXIT, rules };
  rules.push({ when: [isOwner(proxyUid)], do: ACCEPT, why: "the proxy" });
  if (mesh) rules.push({ when: [isOwner(mesh.uid)], do: ACCEPT, why: "the mesh" });
  rules.push(ANSWER, NEIGHBOURS, { when: nobodyOf(proxyUid, mesh), do: DROP, why: whyNobody(mesh) }, REMAINDER);
  return { hook: "exit", policy: "drop", why: EXIT, rules };
}

const isOwner = (uid: number): Condition => ({ kind: "owner", uid, is: true });
const isOther = (uid: number): Condition => ({ kind: "owner", uid, is: false });
const nobodyOf = (proxyUid: number, mesh: RulesetOptions["mesh"]): readonly Condition[] =>
  mesh ? [isOther(proxyUid), isOther(mesh.uid)] : [isOther(proxyUid)];
const whyNobody = (mesh: RulesetOptions["mesh"]): string =>
  mesh ? "has an owner, and it is neither the proxy nor the mesh" : "has an owner, and it is not the proxy";

function inputChain({ inbound, mesh }: RulesetOptions): Chain {
  const rules: Rule[] = [
    { when: [{ kind: "in-by-loopback" }], do: ACCEPT, why: "from here" },
    { when: [{ kind: "to-loopback" }], do: DROP, why: "a neighbour with route_localnet" },
    { when: [{ kind: "established" }], do: ACCEPT, why: "answers to the proxy, and known inbound flows" },
    { when: [{ kind: "flow-error", family: 4 }], do: ACCEPT, why: "path MTU and the like" },
    { when: [{ kind: "flow-error", family: 6 }], do: ACCEPT, why: "path MTU and the like" },
    NEIGHBOURS,
  ];
  for (const protocol of ["tcp", "udp"] as const)
    if (inbound[protocol].length > 0) {
      const to = sorted(inbound[protocol]);
      const redirected = protocol === "tcp" && mesh;
      rules.push({
        when: [redirected ? { kind: "asked-port", ports: to } : { kind: "transport", protocols: [protocol], to }],
        do: ACCEPT,
        why: redirected ? "declared inbound ports, wherever the mesh redirects them" : "declared inbound ports",
      });
    }
  return { hook: "input", policy: "drop", why: "who may come in", rules };
}

const EXIT = "the gate: only here is the real interface known";
const ANSWER: Rule = { when: [{ kind: "answer" }], do: ACCEPT, why: "answers of inbound connections only" };
const NEIGHBOURS: Rule = { when: [{ kind: "neighbour-discovery" }], do: ACCEPT, why: "IPv6 link layer" };
/** Without it, what the proxy had queued when it closed a socket is lost: 2 MB arrived as 4 KB. */
const REMAINDER: Rule = {
  when: [TCP, { kind: "proxy-flow", is: true }, { kind: "established" }],
  do: ACCEPT,
  why: "no owner: data, FIN, RST of a socket that the proxy has closed",
};

const sorted = (ports: readonly number[]): readonly number[] => [...new Set(ports)].toSorted((a, b) => a - b);

function check({ proxyUid, listenerUid, inbound, mesh }: RulesetOptions): void {
  for (const uid of [proxyUid, listenerUid, mesh?.uid ?? null])
    if (uid !== null && !(Number.isInteger(uid) && uid >= 0 && uid < 0xffff_ffff)) throw new RangeError(`uid: ${uid}`);
  for (const port of [...inbound.tcp, ...inbound.udp])
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new RangeError(`inbound port: ${port}`);
  if (mesh) checkMesh(mesh, proxyUid, listenerUid);
  if (proxyUid !== null && listenerUid === null) throw new RangeError("listenerUid: missing");
}

function checkMesh(mesh: MeshExemption, ...others: readonly (number | null)[]): void {
  const [proxyUid] = others;
  if (mesh.uid === proxyUid) throw new RangeError("mesh.uid: is the proxy's");
  if (others.includes(null)) throw new RangeError("mesh: without a proxy of our own there is nothing to chain");
  if (mesh.ports.length === 0) throw new RangeError("mesh.ports: none");
  for (const port of mesh.ports)
    if (!Number.isInteger(port) || port < 1 || port > 65_535 || port === CAPTURE_PORT || port === DNS_PORT)
      throw new RangeError(`mesh port: ${port}`);
}
