/**
 * The live probe: each property that the rules stand for, tried as a fact of this kernel, by the process that loaded them. It
 * cannot take on the proxy's uid (it has NET_ADMIN and nothing else), so it lets the rules take on its own for two stages: first
 * as the one who may go out, then as the one who may answer; the last stage has the real rules, and they stay. Where a mesh's proxy
 * may go out too, the rules take us for that one in a stage of its own.
 *
 * Errs towards failing: what cannot be tried is a failure, unless the kernel has no such thing at all (IPv6). Nothing here
 * waits for silence: where something must *not* arrive, a second packet sent later on the same way must be there first.
 */
import { readFileSync } from "node:fs";
import type { RulesetOptions } from "./model.ts";
import { NoRoute, ProbeSockets } from "./probe-listeners.ts";
import { EXEMPT, FINAL, MESH_EXEMPT, MESH_FINAL, REDIRECTED, type Trial } from "./probe-trials.ts";

export interface Property {
  readonly name: string;
  readonly holds: boolean;
  /** What was seen. */
  readonly detail: string;
}

export interface ProbeOptions {
  readonly rules: RulesetOptions & { readonly proxyUid: number };
  /** Of this process; not the proxy's. */
  readonly ownUid: number;
  readonly load: (rules: RulesetOptions) => void;
}

/** Leaves the real rules loaded. Never throws for a property that does not hold; throws what `load` throws. */
export async function probe({ rules, ownUid, load }: ProbeOptions): Promise<readonly Property[]> {
  if (ownUid === rules.proxyUid) throw new RangeError("the probe must not run with the proxy's uid");
  const { mesh } = rules;
  const stages: { readonly trials: readonly Trial[]; readonly rules: RulesetOptions }[] = [
    { trials: EXEMPT, rules: { ...rules, proxyUid: ownUid, listenerUid: ownUid } },
    ...(mesh
      ? [{ trials: MESH_EXEMPT, rules: { ...rules, listenerUid: ownUid, mesh: { ...mesh, uid: ownUid } } }]
      : []),
    { trials: REDIRECTED, rules: { ...rules, listenerUid: ownUid } },
    { trials: [...FINAL, ...(mesh ? MESH_FINAL(mesh.ports) : [])], rules },
  ];
  const seen: Property[] = [];
  for (const stage of stages) {
    load(stage.rules);
    for (const trial of stage.trials) seen.push(await attempt(trial, rules.ipv6 && hasIpv6Address()));
  }
  return seen;
}

/**
 * IPv6 may be there and switched off in this namespace (`disable_ipv6`, as Docker and some network plug-ins do it): then no interface
 * has an address, not even `::1`, and there is nothing to try. The rules for it are loaded all the same. Any address, also of an interface
 * that is down: all is tried. One line an address (net/ipv6/addrconf.c); read here, because Node lists running interfaces only.
 */
function hasIpv6Address(): boolean {
  return readFileSync("/proc/net/if_inet6", "utf8") !== "";
}

async function attempt({ name, families, run }: Trial, ipv6: boolean): Promise<Property> {
  const details: string[] = [];
  let tried = false;
  for (const family of families) {
    const sockets = new ProbeSockets(family);
    try {
      if (family === 6 && !ipv6) throw new NoRoute(family);
      details.push(`IPv${family} ${await run(sockets, family)}`);
      tried = true;
    } catch (fault) {
      const detail = fault instanceof Error ? fault.message : String(fault);
      if (!(fault instanceof NoRoute)) return { name, holds: false, detail: `IPv${family}: ${detail}` };
      details.push(detail);
    } finally {
      sockets.close();
    }
  }
  return { name, holds: tried, detail: details.join(", ") };
}
