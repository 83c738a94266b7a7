/**
 * How a person's command line reaches the API server: the kubeconfig that kubectl would take, or, in a pod, its service account.
 * Without the Kubernetes library: importing that costs more than everything else that the command line does.
 */
import { readFile } from "node:fs/promises";
import type { OutgoingHttpHeaders } from "node:http";
import type { RequestOptions } from "node:https";
import path from "node:path";
import { type ExecCredential, runExecPlugin } from "./exec-credential.ts";
import { type ConfigText, type Given, KubeconfigError, readKubeconfig, type UserContext } from "./kubeconfig.ts";
import { type KubeAccess, podAccess } from "./pod-access.ts";

export interface Wanted {
  /** `--kubeconfig`; "" is none. */
  readonly kubeconfig: string;
  /** `--context`; "" is the current one. */
  readonly context: string;
}

export interface Surroundings {
  /** The process's environment: KUBECONFIG, and what a pod has. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** Whether a credential plugin may ask the person. */
  readonly interactive: boolean;
  readonly wallMs: () => number;
}

export interface UserAccess extends KubeAccess {
  /** For people: which context, or that this is a pod. */
  readonly from: string;
}

/** A credential that ends this soon is asked for anew. */
const EARLY_MS = 30_000;

/** Rejects with KubeconfigError where there is no cluster to speak to, saying where it was looked for. */
export async function findAccess(wanted: Wanted, around: Surroundings): Promise<UserAccess> {
  const { env, home } = around;
  const listed = (env["KUBECONFIG"] ?? "").split(path.delimiter).filter((file) => file !== "");
  const usual = path.join(home, ".kube/config");
  const files = wanted.kubeconfig === "" ? (listed.length > 0 ? listed : [usual]) : [wanted.kubeconfig];
  const found: ConfigText[] = [];
  for (const file of files) {
    const text = await readFile(file, "utf8").catch((fault: unknown) => {
      if ((fault as NodeJS.ErrnoException).code === "ENOENT" && wanted.kubeconfig === "") return null;
      throw new KubeconfigError(`${file}: ${fault instanceof Error ? fault.message : String(fault)}`);
    });
    if (text !== null) found.push({ file, text });
  }
  if (found.length > 0) return contextAccess(readKubeconfig(found, wanted.context), around);
  const host = env["KUBERNETES_SERVICE_HOST"] ?? "";
  if (host !== "") {
    const access = await podAccess(host, env["KUBERNETES_SERVICE_PORT"] ?? "443");
    return { ...access, from: "this pod's service account" };
  }
  const looked = listed.length > 0 ? `KUBECONFIG names ${listed.join(", ")}` : `${usual} is not there`;
  throw new KubeconfigError(`no cluster: ${looked}, and this is no pod. Name one by --kubeconfig FILE or KUBECONFIG.`);
}

async function contextAccess(context: UserContext, around: Surroundings): Promise<UserAccess> {
  const ca = await textOf(context.ca);
  const cert = await textOf(context.cert);
  const key = await textOf(context.key);
  let credential: ExecCredential | null = null;

  async function fromPlugin(): Promise<ExecCredential | null> {
    if (context.exec === null) return null;
    if (credential === null || credential.untilMs - around.wallMs() < EARLY_MS) {
      const { server, serverName } = context;
      const cluster = { server, serverName, ca };
      credential = await runExecPlugin(context.exec, { env: around.env, interactive: around.interactive, cluster });
    }
    return credential;
  }

  return {
    from: `context ${context.context}`,
    server: new URL(context.server),
    async options() {
      const plugin = await fromPlugin();
      const token = plugin?.token || (await textOf(context.token)).trim();
      const chain = plugin?.cert || cert;
      return {
        ...(ca === "" ? {} : { ca }),
        ...(chain === "" ? {} : { cert: chain, key: plugin?.key || key }),
        ...(context.serverName === "" ? {} : { servername: context.serverName }),
        // The person's own kubeconfig says so.
        ...(context.insecure && { rejectUnauthorized: false }),
        headers: { ...authorization(token, context), ...impersonation(context) },
      } satisfies RequestOptions;
    },
  };
}

function authorization(token: string, { basic }: UserContext): OutgoingHttpHeaders {
  if (token !== "") return { authorization: `Bearer ${token}` };
  if (basic === null) return {};
  return { authorization: `Basic ${Buffer.from(`${basic.username}:${basic.password}`).toString("base64")}` };
}

function impersonation({ impersonate }: UserContext): OutgoingHttpHeaders {
  if (impersonate === null) return {};
  return { "impersonate-user": impersonate.user, "impersonate-group": [...impersonate.groups] };
}

async function textOf(given: Given): Promise<string> {
  if (given.kind === "none") return "";
  if (given.kind === "text") return given.text;
  return readFile(given.file, "utf8").catch((fault: unknown) => {
    throw new KubeconfigError(`${given.file}: ${fault instanceof Error ? fault.message : String(fault)}`);
  });
}
