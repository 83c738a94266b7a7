/** What every command that speaks to a cluster has in common: which cluster, and what is said when there is none or a right is missing. */
import { homedir } from "node:os";
import type { Command } from "commander";
import { createKube } from "../../src/kube/client.ts";
import { KubeconfigError } from "../../src/kube/kubeconfig.ts";
import { KubeError } from "../../src/kube/port.ts";
import { createRaw } from "../../src/kube/raw.ts";
import { findAccess } from "../../src/kube/user-access.ts";
import { type Cluster, createCluster, MissingRight, UnknownKind, Unreachable } from "../../src/oncall/cluster.ts";

export interface ClusterFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
}

export function addClusterOptions(command: Command): Command {
  return command
    .option("--kubeconfig <file>", "the kubeconfig; default: as kubectl finds it, in a pod its service account")
    .option("--context <name>", "a context of it; default: the current one");
}

/** Rejects where no kubeconfig is found or it cannot be read. */
export async function openCluster({ kubeconfig = "", context = "" }: ClusterFlags): Promise<Cluster> {
  const access = await findAccess(
    { kubeconfig, context },
    { env: process.env, home: homedir(), interactive: process.stdin.isTTY, wallMs: () => Date.now() },
  );
  return createCluster(createKube(access), createRaw(access));
}

/** The exit code; 1 with one line on stderr where the cluster, or a right, is missing. */
export async function withCluster(
  command: string,
  flags: ClusterFlags,
  act: (cluster: Cluster) => Promise<number>,
): Promise<void> {
  try {
    process.exitCode = await act(await openCluster(flags));
  } catch (fault) {
    if (!isExpected(fault)) throw fault;
    process.stderr.write(`sidegate ${command}: ${fault.message}\n`);
    process.exitCode = 1;
  }
}

function isExpected(fault: unknown): fault is Error {
  return (
    fault instanceof KubeconfigError ||
    fault instanceof MissingRight ||
    fault instanceof UnknownKind ||
    fault instanceof Unreachable ||
    fault instanceof KubeError
  );
}

/** Ends when the person presses Ctrl-C, so that what was made is removed; a second one ends the process. */
export function untilInterrupted(): AbortSignal {
  const stop = new AbortController();
  const end = (): void => stop.abort();
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
  process.once("SIGHUP", end);
  return stop.signal;
}
