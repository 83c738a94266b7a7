/**
 * Loads the rules into the kernel of this network namespace. nft loads all or nothing; iptables table by table, the refusing
 * ones first, IPv6 before IPv4. A failure therefore leaves less open than before, never more.
 */
import { existsSync } from "node:fs";
import { iptablesText, OWN_CHAIN } from "./iptables.ts";
import { type RulesetOptions, ruleset } from "./model.ts";
import { nftText } from "./nft.ts";
import { type IptablesFlavour, runTool, ToolError } from "./tools.ts";

export const DATAPLANES = ["auto", "nft", "iptables"] as const;
export type Dataplane = (typeof DATAPLANES)[number];
export type Backend = Exclude<Dataplane, "auto">;

export interface Applied {
  readonly backend: Backend;
  /** Why not nft, where `auto` had to take iptables. */
  readonly why: string | null;
}

/** Whether this kernel speaks IPv6 at all. */
export const hasIpv6 = (): boolean => existsSync("/proc/net/if_inet6");

/** `auto` takes nft where tool and kernel have it. Throws ToolError with what the tools said; wants CAP_NET_ADMIN. */
export function applyRules(options: RulesetOptions, dataplane: Dataplane): Applied {
  if (dataplane === "iptables") return applyIptables(options, null);
  try {
    runTool("nft", ["-f", "-"], nftText(ruleset(options)));
    return { backend: "nft", why: null };
  } catch (fault) {
    if (dataplane === "nft" || !(fault instanceof ToolError)) throw fault;
    try {
      return applyIptables(options, fault.message);
    } catch (second) {
      const both = `no way to load rules here. nft: ${fault.message}. iptables: ${(second as Error).message}`;
      throw new ToolError("tool_failed", both, { cause: second });
    }
  }
}

/** The nf_tables flavour where it works: a legacy kernel or sandbox has only the other. */
function applyIptables(options: RulesetOptions, why: string | null): Applied {
  const faults: string[] = [];
  for (const flavour of ["iptables", "iptables-legacy"] as const) {
    try {
      applyFlavour(flavour, options);
      return { backend: "iptables", why };
    } catch (fault) {
      if (!(fault instanceof ToolError) || fault.code === "not_ahead") throw fault;
      faults.push(fault.message);
    }
  }
  throw new ToolError("tool_failed", faults.join("; "));
}

/** Throws ToolError. Exported for the tests: every flavour passes the same scenarios. */
export function applyFlavour(flavour: IptablesFlavour, options: RulesetOptions): void {
  const chains = ruleset(options);
  refuseForeignRedirects(flavour);
  const six = flavour === "iptables" ? "ip6tables-restore" : "ip6tables-legacy-restore";
  if (options.ipv6) runTool(six, [], iptablesText(chains, 6));
  runTool(`${flavour}-restore`, [], iptablesText(chains, 4));
}

/**
 * A mesh hangs its redirects into chains of its own; at the same priority, who wins depends on who came last. Also one that may
 * follow ours must not have come first: these texts replace the table whole, and its redirects would be gone.
 */
function refuseForeignRedirects(flavour: IptablesFlavour): void {
  const chains = runTool(`${flavour}-save`, ["-t", "nat"])
    .split("\n")
    .flatMap((line) => /^:(\S+) -/.exec(line)?.[1] ?? [])
    .filter((name) => name !== OWN_CHAIN);
  if (chains.length === 0) return;
  const names = chains.join(", ");
  throw new ToolError(
    "not_ahead",
    `another program redirects in this network namespace (nat chains ${names}); only the nft back end goes ahead of it`,
  );
}
