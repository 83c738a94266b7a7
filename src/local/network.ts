/**
 * The network of the namespace: nothing but `lo`, an address of its own and a default route through `lo`, so that every packet
 * to anywhere is made, meets our rules, and can go nowhere else.
 *
 * Without an address of its own IPv4 connects die and UDP answers are not translated back (measured).
 */
import { existsSync } from "node:fs";
import { ruleset } from "#netfilter/model.ts";
import { nftText } from "#netfilter/nft.ts";
import { runTool } from "#netfilter/tools.ts";

/** From ranges that are never routed: TEST-NET-1 (RFC 5737), a unique local address (RFC 4193). */
export const OWN_ADDRESS = { v4: "192.0.2.1", v6: "fd5a:6467::1" } as const;

/** Sets the network up and loads the rules. Returns whether IPv6 is there. Throws ToolError. */
export function makeNetwork(): { readonly ipv6: boolean } {
  const batch = [
    "link set lo up",
    `addr add ${OWN_ADDRESS.v4}/32 dev lo`,
    `route add default dev lo src ${OWN_ADDRESS.v4}`,
  ];
  runTool("ip", ["-batch", "-"], `${batch.join("\n")}\n`);
  const ipv6 = existsSync("/proc/sys/net/ipv6") && makeIpv6();
  runTool(
    "nft",
    ["-f", "-"],
    nftText(ruleset({ proxyUid: null, listenerUid: null, inbound: { tcp: [], udp: [] }, ipv6 })),
  );
  return { ipv6 };
}

/** IPv6 may be compiled in and switched off: then there is no address, no route, and no way out either. */
function makeIpv6(): boolean {
  const batch = [`addr add ${OWN_ADDRESS.v6}/128 dev lo nodad`, `route add default dev lo src ${OWN_ADDRESS.v6}`];
  try {
    runTool("ip", ["-6", "-batch", "-"], `${batch.join("\n")}\n`);
    return true;
  } catch {
    return false;
  }
}
