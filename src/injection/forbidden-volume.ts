/**
 * Which volumes an agent's pod may have: an allow-list of kinds, because each other kind lets the *kubelet* open a connection that
 * no rule in the pod's network can capture (nfs, iscsi, cephfs, inline csi), or shows the node's files (hostPath).
 * A kind that Kubernetes invents later is refused until it is listed here.
 */
import { TOKEN_AUDIENCE, VOLUME } from "#contract/names.ts";
import type { Volume } from "./pod.ts";
import type { Violation } from "./violation.ts";

export const VOLUME_KINDS: ReadonlySet<string> = new Set([
  "emptyDir",
  "configMap",
  "secret",
  "downwardAPI",
  "projected",
  "persistentVolumeClaim",
  "ephemeral",
]);

export const PROJECTED_SOURCES: ReadonlySet<string> = new Set([
  "secret",
  "configMap",
  "downwardAPI",
  "serviceAccountToken",
  "clusterTrustBundle",
]);

const OURS: ReadonlySet<string> = new Set(Object.values(VOLUME));

export function hasOurVolumeName(name: string): boolean {
  return OURS.has(name);
}

/** `field`: `spec.volumes[3]`. Volumes of ours are compared elsewhere, field by field. */
export function forbiddenInVolume(volume: Volume, field: string): Violation[] {
  const found: Violation[] = [];
  for (const kind of Object.keys(volume))
    if (kind !== "name" && !VOLUME_KINDS.has(kind))
      found.push({
        field: `${field}.${kind}`,
        message:
          kind === "hostPath"
            ? "the node's files are out of the gateway's sight; use a PersistentVolumeClaim"
            : `volumes of this kind are connected by the node, past the gateway; permitted are ${[...VOLUME_KINDS].join(", ")}`,
      });
  for (const [index, source] of (volume.projected?.sources ?? []).entries()) {
    const at = `${field}.projected.sources[${index}]`;
    for (const kind of Object.keys(source))
      if (!PROJECTED_SOURCES.has(kind))
        found.push({ field: `${at}.${kind}`, message: `permitted are ${[...PROJECTED_SOURCES].join(", ")}` });
    if (source.serviceAccountToken?.audience === TOKEN_AUDIENCE)
      found.push({
        field: `${at}.serviceAccountToken.audience`,
        message: `tokens for "${TOKEN_AUDIENCE}" are the gateway's own; use another audience`,
      });
  }
  return found;
}
