/**
 * Credential plugins of kubeconfigs (EKS, GKE, AKS, OIDC): the program prints an ExecCredential, which is used until it ends.
 * Format: kubernetes.io/docs/reference/config-api/client-authentication.v1. Never says what a plugin printed: it is a secret.
 */
import { spawn } from "node:child_process";
import { type ExecPlugin, KubeconfigError } from "./kubeconfig.ts";

export interface ExecCredential {
  readonly token: string;
  /** PEM, or "". */
  readonly cert: string;
  readonly key: string;
  /** Wall milliseconds; infinite where the plugin does not say. */
  readonly untilMs: number;
}

export interface ExecSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A plugin may ask the person something. */
  readonly interactive: boolean;
  readonly cluster: { readonly server: string; readonly ca: string; readonly serverName: string };
}

/** A browser log-in may take a while; a plugin that hangs must not hang us for ever. */
const LIMIT_MS = 120_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;

/** Rejects with KubeconfigError: not installed, failed, too late, or no credential in what it printed. */
export async function runExecPlugin(plugin: ExecPlugin, around: ExecSurroundings): Promise<ExecCredential> {
  const { cluster, interactive } = around;
  const info = {
    apiVersion: plugin.apiVersion,
    kind: "ExecCredential",
    spec: {
      interactive,
      ...(plugin.provideClusterInfo && {
        cluster: {
          server: cluster.server,
          "tls-server-name": cluster.serverName,
          "certificate-authority-data": Buffer.from(cluster.ca).toString("base64"),
        },
      }),
    },
  };
  const out = await output(plugin, {
    ...around.env,
    ...plugin.env,
    KUBERNETES_EXEC_INFO: JSON.stringify(info),
  });
  return readCredential(plugin, out);
}

function output(plugin: ExecPlugin, env: Readonly<Record<string, string | undefined>>): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = spawn(plugin.command, plugin.args, { env, stdio: ["inherit", "pipe", "inherit"], timeout: LIMIT_MS });
  const parts: Buffer[] = [];
  let bytes = 0;
  child.stdout.on("data", (part: Buffer) => {
    bytes += part.length;
    if (bytes > MAX_OUTPUT_BYTES) child.kill("SIGKILL");
    else parts.push(part);
  });
  child.on("error", (fault: NodeJS.ErrnoException) => {
    const hint = plugin.installHint === "" ? "" : ` (${plugin.installHint})`;
    const why = fault.code === "ENOENT" ? `is not installed${hint}` : fault.message;
    reject(new KubeconfigError(`credential plugin ${plugin.command} ${why}`));
  });
  child.on("close", (code, signal) => {
    if (code === 0) resolve(Buffer.concat(parts).toString("utf8"));
    else reject(new KubeconfigError(`credential plugin ${plugin.command} ended with ${code ?? signal ?? "nothing"}`));
  });
  return promise;
}

function readCredential(plugin: ExecPlugin, out: string): ExecCredential {
  const bad = (why: string): KubeconfigError => new KubeconfigError(`credential plugin ${plugin.command}: ${why}`);
  let value: unknown;
  try {
    value = JSON.parse(out);
  } catch {
    throw bad("printed no JSON");
  }
  const { apiVersion, status = {} } = value as { apiVersion?: string; status?: Readonly<Record<string, unknown>> };
  if (apiVersion !== plugin.apiVersion)
    throw bad(`answered ${JSON.stringify(apiVersion)}, asked for ${plugin.apiVersion}`);
  const text = (name: string): string => (typeof status[name] === "string" ? status[name] : "");
  const ends = Date.parse(text("expirationTimestamp"));
  const credential = {
    token: text("token"),
    cert: text("clientCertificateData"),
    key: text("clientKeyData"),
    untilMs: Number.isNaN(ends) ? Number.POSITIVE_INFINITY : ends,
  };
  if (credential.token === "" && credential.cert === "") throw bad("answered neither a token nor a certificate");
  return credential;
}
