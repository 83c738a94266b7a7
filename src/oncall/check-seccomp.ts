/**
 * Where agents get a seccomp profile of ours: whether the installer, if it is there, has laid the file on every node. Without one, only
 * a try on a node can tell (`--nodes`). A container whose profile is missing is never made: that fails closed, and loudly.
 */
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail, ok } from "./finding.ts";
import { numberAt } from "./members.ts";

const INSTALLER = "sidegate-seccomp";

/** Nothing where the runtime's own profile is asked for, or the options cannot be read, which others tell. */
export async function checkSeccomp({ cluster, namespace, injection }: Facts): Promise<Finding[]> {
  const { options } = await injection();
  if (options?.seccomp.type !== "Localhost") return [];
  const file = options.seccomp.localhostProfile;
  const installer = await cluster.get(ADMIN_RESOURCE.daemonSet, INSTALLER, namespace);
  if (installer === null)
    return [ok("seccomp", `agents get ${file}, which others lay on the nodes: --nodes tries it on one of each kind`)];
  const wanted = numberAt(installer, "status", "desiredNumberScheduled");
  const ready = numberAt(installer, "status", "numberReady");
  if (ready >= wanted && wanted > 0) return [ok("seccomp", `${file} is on ${ready} of ${wanted} nodes`)];
  return [
    fail(
      "seccomp",
      `${file} is on ${ready} of ${wanted} nodes: on the others no agent's container starts (CreateContainerError)`,
      `kubectl -n ${namespace} describe daemonset ${INSTALLER}; kubectl -n ${namespace} logs daemonset/${INSTALLER}`,
    ),
  ];
}
