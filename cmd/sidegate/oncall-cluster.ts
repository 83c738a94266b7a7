/** What the commands of the person on call have in common: what is said when there is no cluster or a right is missing, and how they stop. */
import { createKube } from "../../src/kube/client.ts";
import { KubeconfigError } from "../../src/kube/kubeconfig.ts";
import { KubeError } from "../../src/kube/port.ts";
import { createRaw } from "../../src/kube/raw.ts";
import { type Cluster, createCluster, MissingRight, UnknownKind, Unreachable } from "../../src/oncall/cluster.ts";
import { accessOf, type ClusterFlags } from "./cluster-options.ts";
import { sayFault } from "./streams.ts";

/** Rejects where no kubeconfig is found or it cannot be read. */
async function openCluster(flags: ClusterFlags): Promise<Cluster> {
  const access = await accessOf(flags);
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
    sayFault(fault.message, command);
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
