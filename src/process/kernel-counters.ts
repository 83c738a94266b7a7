/**
 * What the kernel counted: datagrams and connections that the rules answered with "administratively prohibited". The sidecar
 * may read no netfilter counter (that needs a capability), but the ICMP messages sent are in /proc for everybody.
 *
 * Errs towards too many: other "destination unreachable" messages of this network namespace count as well.
 */
import { readFileSync } from "node:fs";
import path from "node:path";

export interface Rejected {
  readonly v4: number;
  readonly v6: number;
}

/** `folder`: `/proc/self/net`, or `/proc/<pid>/net` of a process in the agent's namespace. Null: cannot be read. */
export function rejectedPackets(folder: string): Rejected | null {
  try {
    return {
      v4: icmpUnreachables(readFileSync(path.join(folder, "snmp"), "latin1")),
      v6: icmp6Unreachables(readFileSync(path.join(folder, "snmp6"), "latin1")),
    };
  } catch {
    return null;
  }
}

/** Pairs of lines `IcmpMsg: InType3 OutType3` and `IcmpMsg: 1 7`; a type that was never sent has no column. */
export function icmpUnreachables(snmp: string): number {
  const [names, values] = snmp.split("\n").filter((line) => line.startsWith("IcmpMsg:"));
  const column = names?.split(" ").indexOf("OutType3") ?? -1;
  return column < 0 ? 0 : count(values?.split(" ")[column]);
}

/** Lines `Icmp6OutDestUnreachs   7`. */
export function icmp6Unreachables(snmp6: string): number {
  return count(/^Icmp6OutDestUnreachs\s+(\d+)$/m.exec(snmp6)?.[1]);
}

function count(text: string | undefined): number {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : 0;
}
