/**
 * The rule model as nft text: one table `inet sidegate`, for IPv4 and IPv6 at once, in one transaction that also removes an
 * earlier table of ours. So a second run replaces, and there is no moment without rules.
 *
 * Wire format: nft(8). `meta l4proto`, never `ip6 nexthdr`: an extension header would hide the protocol.
 */
import { assertNever } from "#core/assert-never.ts";
import { type Action, type Chain, type Condition, FLOW_MARK, type Hook, type Rule } from "./model.ts";

export const NFT_TABLE = "inet sidegate";

/** nat at -150: ahead of a mesh's -100, whichever was loaded later. */
const BASE: Record<Hook, { readonly name: string; readonly base: string }> = {
  arrival: { name: "nat_in", base: "type nat hook prerouting priority -150" },
  redirect: { name: "nat_out", base: "type nat hook output priority -150" },
  output: { name: "filter_out", base: "type filter hook output priority 0" },
  exit: { name: "exit", base: "type filter hook postrouting priority 200" },
  input: { name: "filter_in", base: "type filter hook input priority 0" },
};

/** The text for `nft -f -`. */
export function nftText(chains: readonly Chain[]): string {
  const lines = [`table ${NFT_TABLE}`, `delete table ${NFT_TABLE}`, `table ${NFT_TABLE} {`];
  for (const chain of chains) {
    const { name, base } = BASE[chain.hook];
    lines.push(`  # ${chain.why}`, `  chain ${name} {`, `    ${base}; policy ${chain.policy};`);
    for (const rule of chain.rules) lines.push(`    ${ruleText(rule)}  # ${rule.why}`);
    lines.push("  }");
  }
  return `${[...lines, "}"].join("\n")}\n`;
}

function ruleText({ when, do: action }: Rule): string {
  return [...when.map(conditionText), actionText(action)].join(" ");
}

function conditionText(condition: Condition): string {
  switch (condition.kind) {
    case "owner":
      return `meta skuid ${condition.is ? "" : "!= "}${condition.uid}`;
    case "transport":
      return transportText(condition);
    case "out-by-loopback":
      return 'oifname "lo"';
    case "in-by-loopback":
      return 'iifname "lo"';
    case "to-own-address":
      return "fib daddr type local";
    case "to-loopback":
      return "ip daddr 127.0.0.0/8";
    case "asked-port":
      return `meta l4proto tcp ct original proto-dst { ${condition.ports.join(", ")} }`;
    case "opens":
      return "ct direction original";
    case "redirected":
      return "ct status dnat";
    case "answer":
      return "ct direction reply ct state established";
    case "established":
      return "ct state established";
    case "proxy-flow":
      return `ct mark ${condition.is ? "" : "!= "}0x${FLOW_MARK.toString(16)}`;
    case "neighbour-discovery":
      return "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }";
    case "flow-error":
      return condition.family === 4
        ? "ct state related icmp type { destination-unreachable, time-exceeded, parameter-problem }"
        : "ct state related icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }";
    default:
      return assertNever(condition);
  }
}

function transportText({ protocols, from, to }: Condition & { readonly kind: "transport" }): string {
  const one = protocols.length === 1;
  const parts = [`meta l4proto ${one ? protocols[0] : `{ ${protocols.join(", ")} }`}`];
  if (from !== undefined) parts.push(`th sport { ${from.join(", ")} }`);
  if (to !== undefined) parts.push(to.length === 1 ? `th dport ${to[0]}` : `th dport { ${to.join(", ")} }`);
  return parts.join(" ");
}

function actionText(action: Action): string {
  switch (action.kind) {
    case "accept":
      return "counter accept";
    case "drop":
      return "counter drop";
    case "reject":
      return "counter reject with icmpx admin-prohibited";
    case "skip":
      return "return";
    case "redirect":
      return `redirect to :${action.port}`;
    case "mark-and-accept":
      return `ct mark set 0x${FLOW_MARK.toString(16)} accept`;
    default:
      return assertNever(action);
  }
}
