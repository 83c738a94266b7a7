/**
 * What `init` does in a pod: load the rules, prove them, say what was seen. Its exit code is the pod's: anything but 0 keeps
 * the agent from starting.
 */
import { readFileSync } from "node:fs";
import { type Applied, applyRules, hasIpv6 } from "./apply.ts";
import { parseInitConfig } from "./init-config.ts";
import type { RulesetOptions } from "./model.ts";
import { probe } from "./probe.ts";

export const INIT_EXIT = { ok: 0, notLoaded: 1, badConfig: 2, notProven: 3 } as const;

const CAP_NET_ADMIN = 12n;
const NO_CAPABILITY =
  "init has no NET_ADMIN, so it cannot write the rules. Its container needs securityContext.capabilities.add: [NET_ADMIN]; " +
  "a namespace whose Pod Security level is `baseline` or `restricted` refuses that: label it pod-security.kubernetes.io/enforce: privileged.";

export interface InitProcess {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  readonly say: (line: string) => void;
}

/** The exit code. Never throws. */
export async function runInit({ env, uid, say }: InitProcess): Promise<number> {
  const parsed = parseInitConfig(env);
  if (parsed.kind === "problems") {
    for (const problem of parsed.problems) say(`sidegate-init: configuration: ${problem}`);
    return INIT_EXIT.badConfig;
  }
  if (!hasNetAdmin()) {
    say(`sidegate-init: ${NO_CAPABILITY}`);
    return INIT_EXIT.notLoaded;
  }
  const { proxyUid, dataplane, inboundTcp, mesh } = parsed.config;
  const inbound = { tcp: inboundTcp, udp: [] };
  const rules = { proxyUid, listenerUid: proxyUid, inbound, ipv6: hasIpv6(), mesh };
  try {
    let applied: Applied | null = null;
    const load = (options: RulesetOptions): void => {
      // What `auto` took once, it keeps: no stage may leave rules of the other back end behind.
      const next = applyRules(options, applied?.backend ?? dataplane);
      applied = { ...next, why: applied?.why ?? next.why };
    };
    const properties = await probe({ rules, ownUid: uid, load });
    for (const { name, holds, detail } of properties)
      say(`sidegate-init: ${holds ? "holds" : "FAILS"}: ${name} (${detail})`);
    say(`sidegate-init: ${described(applied)}`);
    if (mesh !== null) say(`sidegate-init: behind the gateway a mesh's proxy goes out as uid ${mesh.uid}`);
    const failed = properties.filter((p) => !p.holds);
    if (failed.length === 0) return INIT_EXIT.ok;
    say(`sidegate-init: this kernel does not hold: ${failed.map((p) => p.name).join("; ")}. The pod must not run.`);
    return INIT_EXIT.notProven;
  } catch (fault) {
    say(`sidegate-init: ${fault instanceof Error ? fault.message : String(fault)}`);
    return INIT_EXIT.notLoaded;
  }
}

function described(applied: Applied | null): string {
  if (applied === null) return "no rules loaded";
  return `rules loaded by ${applied.backend}${applied.why === null ? "" : ` (not by nft: ${applied.why})`}`;
}

/** Effective capabilities: proc_pid_status(5), a hexadecimal mask. */
function hasNetAdmin(): boolean {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return (BigInt(`0x${mask}`) & (1n << CAP_NET_ADMIN)) !== 0n;
}
