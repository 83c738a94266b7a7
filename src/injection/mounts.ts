/**
 * What an agent's container mounts of ours (trust files over the system's bundles, the service account without a token), and which
 * of its own mounts get in the way. A client that does not trust our authority fails loudly, so a bundle path that cannot be had is
 * a warning; a mount that touches our own volumes or folder is refused.
 */
import path from "node:path";
import { PATHS, VOLUME } from "#contract/names.ts";
import { equalJson } from "#core/json-diff.ts";
import { hasOurVolumeName } from "./forbidden-volume.ts";
import type { Container, Volume } from "./pod.ts";
import type { Violation } from "./violation.ts";

export type VolumeMount = NonNullable<Container["volumeMounts"]>[number];

/** Where images keep the system's bundle: Debian and Alpine, Alpine's and OpenSSL's default, Red Hat's two, SUSE. */
export const SYSTEM_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/ssl/cert.pem",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/ca-bundle.pem",
] as const;

export const ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount";
/** An empty, `.` or `..` segment, or a slash at the end: what `normalize` would change. */
const UNNORMAL = /\/(\.{0,2})(\/|$)/;
const OUR_FOLDER = path.posix.dirname(PATHS.trust);

const FOLDER_MOUNT: VolumeMount = { name: VOLUME.trust, mountPath: PATHS.trust, readOnly: true };
const BUNDLE_MOUNTS: readonly VolumeMount[] = SYSTEM_BUNDLES.map((mountPath) => ({
  name: VOLUME.trust,
  mountPath,
  subPath: PATHS.bundleFile,
  readOnly: true,
}));
/** Where Debian's, Alpine's and Red Hat's Java look without any option: a JVM started without our variables trusts us by these alone. */
export const JAVA_STORES = ["/etc/ssl/certs/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts"] as const;
const STORE_MOUNTS: readonly VolumeMount[] = JAVA_STORES.map((mountPath) => ({
  name: VOLUME.trust,
  mountPath,
  subPath: PATHS.storeFile,
  readOnly: true,
}));
/** Read by the dynamic loader of each program: variables of ours where a parent passed none on. */
const PRELOAD_MOUNT: VolumeMount = {
  name: VOLUME.trust,
  mountPath: "/etc/ld.so.preload",
  subPath: PATHS.preloadList,
  readOnly: true,
};
// Single files: no token lies beside them, and nothing has to be mounted inside a read-only volume.
const ACCOUNT_MOUNTS: readonly VolumeMount[] = [
  { name: VOLUME.trust, mountPath: `${ACCOUNT_FOLDER}/ca.crt`, subPath: PATHS.caFile, readOnly: true },
  { name: VOLUME.account, mountPath: `${ACCOUNT_FOLDER}/namespace`, subPath: "namespace", readOnly: true },
];
const ALL_OF_OURS: readonly VolumeMount[] = [
  FOLDER_MOUNT,
  ...BUNDLE_MOUNTS,
  ...STORE_MOUNTS,
  PRELOAD_MOUNT,
  ...ACCOUNT_MOUNTS,
];
const OUR_PLACES: ReadonlyMap<VolumeMount, string> = new Map(ALL_OF_OURS.map((ours) => [ours, real(ours.mountPath)]));
const REFUSED_PLACES: readonly string[] = [...SYSTEM_BUNDLES, PRELOAD_MOUNT.mountPath].map(real);
const OUR_REAL_FOLDER = real(OUR_FOLDER);
const ACCOUNT_REAL_FOLDER = real(ACCOUNT_FOLDER);

export interface MountPlan {
  readonly mounts: readonly VolumeMount[];
  /** Names of volumes whose mount at the service account's place was taken away. */
  readonly replaced: readonly string[];
  readonly warnings: readonly Violation[];
  readonly violations: readonly Violation[];
}

/** `field`: the container's. `volumes`: all of the pod's. */
export function planMounts(container: Container, field: string, volumes: readonly Volume[]): MountPlan {
  const theirs: VolumeMount[] = [];
  const replaced: string[] = [];
  const violations: Violation[] = [];
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    const at = `${field}.volumeMounts[${index}]`;
    if (ALL_OF_OURS.some((ours) => equalJson(ours, mount))) continue; // put back below
    const place = real(mount.mountPath);
    const refusal = refusalOf(mount, place, at);
    if (refusal !== null) violations.push(refusal);
    else if (isAt(place, ACCOUNT_REAL_FOLDER)) replaced.push(mount.name);
    else theirs.push(mount);
  }
  const warnings: Violation[] = [];
  const full = theirs
    .filter((mount) => !isWritable(mount, volumes))
    .map((mount) => ({ mountPath: mount.mountPath, place: real(mount.mountPath) }));
  const ours = ALL_OF_OURS.filter((mount) => {
    // An author's own Java store stays; JAVA_TOOL_OPTIONS names ours all the same.
    const own = theirs.find((other) => real(other.mountPath) === OUR_PLACES.get(mount));
    if (own !== undefined) {
      const message = "stays: what reads this file alone will not trust the gateway";
      warnings.push({ field: `${field}.volumeMounts[${own.mountPath}]`, message });
      return false;
    }
    const covering = full.find(({ place }) => covers(place, OUR_PLACES.get(mount) ?? ""));
    if (covering === undefined) return true;
    const said = {
      field: `${field}.volumeMounts[${covering.mountPath}]`,
      message: `this read-only volume leaves no place for ${mount.mountPath}`,
    };
    if (mount === FOLDER_MOUNT) violations.push(said);
    else warnings.push({ ...said, message: `${said.message}: what reads that file will not trust the gateway` });
    return false;
  });
  return { mounts: [...theirs, ...ours], replaced, warnings, violations };
}

function refusalOf(mount: VolumeMount, place: string, at: string): Violation | null {
  if (hasOurVolumeName(mount.name))
    return { field: `${at}.name`, message: `volume ${mount.name} is the gateway's; remove the mount` };
  if (isAt(place, OUR_REAL_FOLDER))
    return { field: `${at}.mountPath`, message: `${OUR_FOLDER} is the gateway's; mount it elsewhere` };
  if (REFUSED_PLACES.some((bundle) => isAt(place, bundle)))
    return {
      field: `${at}.mountPath`,
      message:
        place === PRELOAD_MOUNT.mountPath
          ? "the gateway mounts its list here; load your library by LD_PRELOAD in the container's environment"
          : "the gateway mounts its bundle here; name an authority of your own in the target that it is for (upstream.ca)",
    };
  return null;
}

/** At the folder itself, or below it. Both as `real` says it. */
function isAt(place: string, folder: string): boolean {
  return place === folder || place.startsWith(`${folder}/`);
}

function covers(place: string, ours: string): boolean {
  return place === "/" || ours.startsWith(`${place}/`);
}

/** As it will lie in nearly every image, where /var/run is a link to /run. */
function real(mountPath: string): string {
  const absolute = mountPath.startsWith("/") && !UNNORMAL.test(mountPath);
  const normal = absolute ? mountPath : path.posix.normalize(`/${mountPath}`).replace(/(?<=.)\/$/, "");
  return normal === "/var/run" || normal.startsWith("/var/run/") ? normal.slice("/var".length) : normal;
}

/** Only in these can the runtime make the place for a nested mount. */
function isWritable(mount: VolumeMount, volumes: readonly Volume[]): boolean {
  const volume = volumes.find(({ name }) => name === mount.name);
  if (volume === undefined || mount.readOnly === true) return false;
  return ["emptyDir", "persistentVolumeClaim", "ephemeral"].some((kind) => Object.hasOwn(volume, kind));
}
