/**
 * Finds credentials that a pod's author put beside the agent: environment from Secrets, literal keys, tokens for clouds and for the
 * API server, mounted Secrets. Each is a way to act without the gateway's credentials, so each is named; none is ever shown.
 *
 * Errs towards naming too much: a name that only looks like a key costs a line in an annotation.
 */

import type { Pod, Volume } from "./pod.ts";
import type { PlacedContainer } from "./pod-containers.ts";

/** Names that hold keys by convention; `_FILE` names a path. */
const KEY_LIKE =
  /(^|_)(API_?KEY|ACCESS_?KEY(_ID)?|SECRET(_?ACCESS)?(_?KEY)?|TOKEN|PASSWORD|PASSWD|CREDENTIALS?|PRIVATE_?KEY)$/i;
const CLOUD =
  /^(AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|WEB_IDENTITY_TOKEN_FILE|CONTAINER_CREDENTIALS_.+|CONTAINER_AUTHORIZATION_TOKEN(_FILE)?|ROLE_ARN)|GOOGLE_APPLICATION_CREDENTIALS|AZURE_(CLIENT_SECRET|FEDERATED_TOKEN_FILE|CLIENT_CERTIFICATE_PATH)|KUBECONFIG)$/;

/** Our own caps: annotations of an object share 256 KiB. Entries; characters of each. */
const MAX_NAMED = 64;
const MAX_NAME = 200;

/** `pod`: as it will run, with the service account's token already taken away. Sorted, without repeats; empty where none was found. */
export function foreignCredentials(pod: Pod, agents: readonly PlacedContainer[]): string[] {
  const found = new Set<string>();
  for (const { container } of agents) {
    for (const { name, value, valueFrom } of container.env ?? []) {
      if (valueFrom?.secretKeyRef !== undefined) found.add(`${container.name}:env:${name}`);
      else if (CLOUD.test(name) || (KEY_LIKE.test(name) && value !== undefined && value !== ""))
        found.add(`${container.name}:env:${name}`);
    }
    for (const { secretRef } of container.envFrom ?? [])
      if (secretRef !== undefined) found.add(`${container.name}:envFrom:${secretRef.name ?? ""}`);
  }
  const mounted = new Set(agents.flatMap(({ container }) => (container.volumeMounts ?? []).map(({ name }) => name)));
  for (const volume of pod.spec.volumes ?? []) if (mounted.has(volume.name)) addVolume(volume, found);
  return [...found].map((what) => what.slice(0, MAX_NAME)).sort();
}

function addVolume(volume: Volume, found: Set<string>): void {
  if (volume.secret !== undefined) found.add(`volume:${volume.name}:secret`);
  for (const source of volume.projected?.sources ?? []) {
    if (source.secret !== undefined) found.add(`volume:${volume.name}:secret`);
    if (source.serviceAccountToken !== undefined)
      found.add(`volume:${volume.name}:token:${source.serviceAccountToken.audience ?? "kubernetes"}`);
  }
}

/** The annotation's text; null where there is nothing to say. */
export function foreignCredentialsText(found: readonly string[]): string | null {
  if (found.length === 0) return null;
  const more = found.length - MAX_NAMED;
  return [...found.slice(0, MAX_NAMED), ...(more > 0 ? [`and ${more} more`] : [])].join(",");
}
