/** The options by which a command finds the cluster, and how what the cluster refuses is told. */
import { homedir } from "node:os";
import type { Command } from "commander";
import { createKube } from "../../src/kube/client.ts";
import { KubeconfigError } from "../../src/kube/kubeconfig.ts";
import { type Kube, KubeError } from "../../src/kube/port.ts";
import { findAccess, type UserAccess } from "../../src/kube/user-access.ts";
import { sayFault } from "./streams.ts";

/** Which cluster. */
export interface ClusterFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** And where in it the gateway is. */
export interface ClusterOptions extends ClusterFlags {
  readonly gatewayNamespace: string;
}

export function addClusterFlags(command: Command): Command {
  return command
    .option("--kubeconfig <file>", "the kubeconfig; default: as kubectl finds it, in a pod its service account")
    .option("--context <name>", "a context of it; default: the current one");
}

export function addClusterOptions(command: Command): Command {
  return addClusterFlags(command).option("--gateway-namespace <name>", "the gateway's own namespace", "sidegate");
}

/** Rejects where no kubeconfig is found or it cannot be read. */
export async function accessOf({ kubeconfig = "", context = "" }: ClusterFlags): Promise<UserAccess> {
  return await findAccess(
    { kubeconfig, context },
    { env: process.env, home: homedir(), interactive: process.stdin.isTTY, wallMs: () => Date.now() },
  );
}

export async function clusterOf(options: ClusterOptions): Promise<Kube> {
  return createKube(await accessOf(options));
}

/** What the cluster refuses is an outcome: 1, with its own words. */
export async function inItsWords(act: () => Promise<number>): Promise<number> {
  try {
    return await act();
  } catch (fault) {
    if (!(fault instanceof KubeError || fault instanceof KubeconfigError)) throw fault;
    sayFault(fault.message);
    return 1;
  }
}
