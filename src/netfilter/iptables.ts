/**
 * The rule model as texts for iptables-restore and ip6tables-restore, for kernels and sandboxes without nf_tables. They replace
 * the tables nat, mangle and filter of the network namespace whole, so a second run changes nothing and no rule of ours is
 * there twice. The filter table comes first: until the redirects are in, everything is refused.
 *
 * Weaker than nft in one thing: the nat hook's priority is fixed at -100, so another redirecting table there may win. `apply`
 * refuses where it sees one.
 */
import { assertNever } from "#core/assert-never.ts";
import { type Action, type Chain, type Condition, FLOW_MARK, type Hook, type Rule } from "./model.ts";

type Family = 4 | 6;
/** The ways to say one condition in one family; none: the rule does not apply there. */
type Alternatives = readonly string[];

interface Place {
  readonly table: "filter" | "mangle" | "nat";
  readonly chain: "PREROUTING" | "OUTPUT" | "POSTROUTING" | "INPUT";
}

const PLACES: Record<Hook, Place> = {
  arrival: { table: "nat", chain: "PREROUTING" },
  redirect: { table: "nat", chain: "OUTPUT" },
  output: { table: "filter", chain: "OUTPUT" },
  exit: { table: "mangle", chain: "POSTROUTING" },
  input: { table: "filter", chain: "INPUT" },
};

const BUILT_IN: Record<Place["table"], readonly string[]> = {
  filter: ["INPUT", "FORWARD", "OUTPUT"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
};

/** Where something follows that must still see what we skip, our redirects stand apart: RETURN in a built-in chain ends the table. */
export const OWN_CHAIN = "SIDEGATE_OUTPUT";

/** xt_multiport takes 15 ports. */
const MAX_PORTS = 15;
const MARK = `0x${FLOW_MARK.toString(16)}`;

export function iptablesText(chains: readonly Chain[], family: Family): string {
  return (["filter", "mangle", "nat"] as const).map((table) => tableText(table, chains, family)).join("");
}

function tableText(table: Place["table"], chains: readonly Chain[], family: Family): string {
  const ours = chains.filter((c) => PLACES[c.hook].table === table);
  const policies = BUILT_IN[table].map((name) => {
    const chain = ours.find((c) => PLACES[c.hook].chain === name);
    const forward = name === "FORWARD" && table === "filter";
    return `:${name} ${forward ? "DROP" : (chain?.policy.toUpperCase() ?? "ACCEPT")} [0:0]`;
  });
  const apart = ours.some((c) => c.passesOn === true);
  const lines = [`*${table}`, ...policies, ...(apart ? [`:${OWN_CHAIN} - [0:0]`] : [])];
  for (const chain of ours) {
    const place = PLACES[chain.hook].chain;
    lines.push(`# ${chain.why}`, ...(chain.passesOn ? [`-A ${place} -j ${OWN_CHAIN}`] : []));
    for (const rule of chain.rules) lines.push(...ruleLines(chain.passesOn ? OWN_CHAIN : place, rule, family));
  }
  return `${[...lines, "COMMIT"].join("\n")}\n`;
}

function ruleLines(chain: string, rule: Rule, family: Family): readonly string[] {
  let matches: readonly string[] = [""];
  for (const condition of rule.when) {
    const ways = alternatives(condition, family);
    matches = matches.flatMap((sofar) => ways.map((way) => `${sofar} ${way}`));
  }
  const lines = matches.flatMap((match) =>
    targets(rule.do, family).map((target) => `-A ${chain}${match} -j ${target}`),
  );
  return lines.length === 0 ? [] : [`# ${rule.why}`, ...lines];
}

function alternatives(condition: Condition, family: Family): Alternatives {
  switch (condition.kind) {
    case "owner":
      // "Another owner" alone would also match a packet that has none.
      return condition.is
        ? [`-m owner --uid-owner ${condition.uid}`]
        : [`-m owner ! --uid-owner ${condition.uid} --socket-exists`];
    case "transport":
      return condition.protocols.flatMap((protocol) => transport(protocol, condition.from, condition.to));
    case "out-by-loopback":
      return ["-o lo"];
    case "in-by-loopback":
      return ["-i lo"];
    case "to-own-address":
      return ["-m addrtype --dst-type LOCAL"];
    case "to-loopback":
      return family === 4 ? ["-d 127.0.0.0/8"] : [];
    case "asked-port":
      return condition.ports.map((port) => `-p tcp -m conntrack --ctorigdstport ${port}`);
    case "opens":
      return ["-m conntrack --ctdir ORIGINAL"];
    case "redirected":
      return ["-m conntrack --ctstate DNAT"];
    case "answer":
      return ["-m conntrack --ctstate ESTABLISHED --ctdir REPLY"];
    case "established":
      return ["-m conntrack --ctstate ESTABLISHED"];
    case "proxy-flow":
      return [`-m connmark ${condition.is ? "" : "! "}--mark ${MARK}`];
    case "neighbour-discovery":
      return family === 6 ? icmp6([135, 136]) : [];
    case "flow-error":
      if (condition.family !== family) return [];
      return (family === 4 ? icmp4([3, 11, 12]) : icmp6([1, 2, 3, 4])).map(
        (m) => `${m} -m conntrack --ctstate RELATED`,
      );
    default:
      return assertNever(condition);
  }
}

const icmp4 = (types: readonly number[]): Alternatives => types.map((t) => `-p icmp -m icmp --icmp-type ${t}`);
const icmp6 = (types: readonly number[]): Alternatives => types.map((t) => `-p ipv6-icmp -m icmp6 --icmpv6-type ${t}`);

function transport(protocol: string, from?: readonly number[], to?: readonly number[]): Alternatives {
  return chunks(from).flatMap((f) =>
    chunks(to).map((t) =>
      [`-p ${protocol}`, ports("source", protocol, f), ports("destination", protocol, t)].filter(Boolean).join(" "),
    ),
  );
}

function ports(end: "source" | "destination", protocol: string, list: readonly number[]): string {
  if (list.length === 0) return "";
  if (list.length === 1) return `-m ${protocol} --${end[0]}port ${list[0]}`;
  return `-m multiport --${end[0]}ports ${list.join(",")}`;
}

/** At most MAX_PORTS each; absent: one empty list, which means any. */
function chunks(list: readonly number[] | undefined): readonly (readonly number[])[] {
  if (list === undefined) return [[]];
  const out: (readonly number[])[] = [];
  for (let i = 0; i < list.length; i += MAX_PORTS) out.push(list.slice(i, i + MAX_PORTS));
  return out;
}

function targets(action: Action, family: Family): readonly string[] {
  switch (action.kind) {
    case "accept":
      return ["ACCEPT"];
    case "drop":
      return ["DROP"];
    case "reject":
      return [`REJECT --reject-with ${family === 4 ? "icmp-admin-prohibited" : "icmp6-adm-prohibited"}`];
    case "skip":
      return ["RETURN"];
    case "redirect":
      return [`REDIRECT --to-ports ${action.port}`];
    case "mark-and-accept":
      return [`CONNMARK --set-mark ${MARK}`, "ACCEPT"];
    default:
      return assertNever(action);
  }
}
