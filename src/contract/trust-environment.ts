/**
 * Which environment variable makes which client trust the gateway's authority, and with which file. One table for injected pods
 * and for `sidegate run`. Measured: each client honours only its own few, and most variables *replace* the client's default, so
 * those get the bundle (the system's roots and ours); the few that add to it get our certificate alone.
 */
import { PATHS } from "./names.ts";

/** bundle: system roots and ours, PEM. authority: ours alone, PEM. store: the bundle as a Java key store. */
export type TrustFile = "bundle" | "authority" | "store";

export interface TrustVariable {
  readonly name: string;
  readonly file: Exclude<TrustFile, "store">;
  readonly clients: string;
}

export const TRUST_VARIABLES: readonly TrustVariable[] = [
  { name: "SSL_CERT_FILE", file: "bundle", clients: "OpenSSL, Python ssl, httpx, Go, Ruby, reqwest, uv" },
  { name: "REQUESTS_CA_BUNDLE", file: "bundle", clients: "requests, boto3, pip" },
  { name: "CURL_CA_BUNDLE", file: "bundle", clients: "curl, requests" },
  { name: "AWS_CA_BUNDLE", file: "bundle", clients: "boto3, the AWS command line" },
  { name: "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", file: "bundle", clients: "gRPC" },
  { name: "PGSSLROOTCERT", file: "bundle", clients: "libpq: psql, psycopg" },
  { name: "GIT_SSL_CAINFO", file: "bundle", clients: "git" },
  { name: "PIP_CERT", file: "bundle", clients: "pip" },
  { name: "npm_config_cafile", file: "bundle", clients: "npm" },
  { name: "NODE_EXTRA_CA_CERTS", file: "authority", clients: "Node, Bun" },
  { name: "DENO_CERT", file: "authority", clients: "Deno" },
];

/** Read by the JVM at its start, in front of the command line: what the author gives there still wins. */
export const JAVA_VARIABLE = "JAVA_TOOL_OPTIONS";
/** Java's own default. A store of certificates holds no secret; the password only lets old tools check its digest. */
export const STORE_PASSWORD = "changeit";

/** Where the files lie, as the agent sees them. */
export type TrustPaths = Readonly<Record<TrustFile, string>>;

export function trustPaths(folder: string): TrustPaths {
  return {
    bundle: `${folder}/${PATHS.bundleFile}`,
    authority: `${folder}/${PATHS.caFile}`,
    store: `${folder}/${PATHS.storeFile}`,
  };
}

export interface TrustEnvironment {
  /** What to set. */
  readonly set: Readonly<Record<string, string>>;
  /** Files that the author's own values name: their certificates belong into the bundle, else these clients lose them. */
  readonly merge: readonly { readonly variable: string; readonly file: string }[];
}

/**
 * What the agent's environment gets. `existing`: what its author set. Running it over its own result changes nothing.
 */
export function trustEnvironment(
  paths: TrustPaths,
  existing: Readonly<Record<string, string | undefined>>,
): TrustEnvironment {
  const set: Record<string, string> = {};
  const merge: { variable: string; file: string }[] = [];
  for (const { name, file } of TRUST_VARIABLES) {
    const theirs = existing[name];
    if (theirs !== undefined && theirs !== "" && !Object.values(paths).includes(theirs))
      merge.push({ variable: name, file: theirs });
    // A variable that adds to the default has room for one file: with the author's in it, it must be the bundle that has both.
    set[name] =
      file === "authority" && theirs !== undefined && theirs !== "" && theirs !== paths.authority
        ? paths.bundle
        : paths[file];
  }
  set[JAVA_VARIABLE] = javaOptions(paths.store, existing[JAVA_VARIABLE] ?? "");
  return { set, merge };
}

/** The JVM splits at white space and takes the last of two equal options; a trust store that the author chose is left alone. */
function javaOptions(store: string, theirs: string): string {
  if (theirs.includes("-Djavax.net.ssl.trustStore=")) return theirs;
  const ours = `-Djavax.net.ssl.trustStore=${store} -Djavax.net.ssl.trustStoreType=JKS`;
  return theirs.trim() === "" ? ours : `${theirs} ${ours}`;
}
