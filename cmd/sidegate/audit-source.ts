/**
 * Where the reading sub-commands read: a SQLite file on this machine, or a cluster's collector, asked with the reader's own token,
 * directly (`--collector`) or through the API server's proxy, which needs no route into the cluster.
 */
import { readFileSync } from "node:fs";
import type { RequestOptions } from "node:https";
import type { Command } from "commander";
import { type Records, RemoteFault, RemoteRecords } from "../../src/collector/remote.ts";
import { READER_HEADER } from "../../src/collector/server.ts";
import { CONTROL_SERVICE } from "../../src/contract/control-environment.ts";
import { UsageError, withStore } from "./audit-store.ts";
import { accessOf, addClusterOptions, type ClusterOptions } from "./cluster-options.ts";

export interface SourceOptions extends Partial<ClusterOptions> {
  readonly db: string;
  readonly namespace?: string;
  readonly allNamespaces?: boolean;
  readonly collector?: string;
  readonly collectorCa?: string;
  readonly tokenFile?: string;
}

export function addSourceOptions(command: Command): Command {
  return addClusterOptions(
    command
      .option("-n, --namespace <name>", "of a cluster: the records of this namespace")
      .option("-A, --all-namespaces", "of a cluster: all of them")
      .option("--collector <url>", "the collector itself, instead of the API server's proxy: https://host:port")
      .option("--collector-ca <file>", "who signed its certificate (PEM)")
      .option("--token-file <file>", "your own token, where the kubeconfig has none"),
  );
}

/** Whether a cluster's collector is meant, and not a file. */
export function isRemote({ namespace, allNamespaces, collector }: SourceOptions): boolean {
  return namespace !== undefined || allNamespaces === true || collector !== undefined;
}

/** Runs `work` over whatever the options name. Rejects with UsageError where that is nothing to read from. */
export async function withRecords<T>(options: SourceOptions, work: (records: Records) => Promise<T>): Promise<T> {
  if (!isRemote(options)) return await withStore(options.db, work);
  return await inTheirWords(async () => await work(await remoteOf(options)));
}

/** What the collector refuses, as a line instead of a stack. */
export async function inTheirWords<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (fault) {
    if (fault instanceof RemoteFault) throw new UsageError(fault.message);
    throw fault;
  }
}

export async function remoteOf(options: SourceOptions): Promise<RemoteRecords> {
  const { namespace, allNamespaces, collector } = options;
  if (namespace === undefined && allNamespaces !== true) throw new UsageError("say whose records: -n NAMESPACE, or -A");
  const given = options.tokenFile === undefined ? null : readFileSync(options.tokenFile, "utf8").trim();
  const scope = namespace === undefined ? {} : { namespaces: [namespace] };
  if (collector !== undefined) {
    if (!URL.canParse(collector) || !collector.startsWith("https://"))
      throw new UsageError("--collector must be https://host:port");
    const ca = options.collectorCa === undefined ? {} : { ca: readFileSync(options.collectorCa, "utf8") };
    const token = async (): Promise<string> => given ?? tokenIn(await (await accessOf(cluster(options))).options());
    const direct = async (): Promise<RequestOptions> => ({
      ...ca,
      minVersion: "TLSv1.3",
      headers: { authorization: `Bearer ${await token()}` },
    });
    return new RemoteRecords({ base: new URL(collector), options: direct, ...scope });
  }
  const access = await accessOf(cluster(options));
  const service = `https:${CONTROL_SERVICE.collector}:https`;
  const path = `/api/v1/namespaces/${cluster(options).gatewayNamespace}/services/${service}/proxy`;
  const proxied = async (): Promise<RequestOptions> => {
    const theirs = await access.options();
    // The proxy takes the usual header for itself.
    return {
      ...theirs,
      headers: { ...(theirs.headers as Record<string, string>), [READER_HEADER]: given ?? tokenIn(theirs) },
    };
  };
  return new RemoteRecords({ base: new URL(path, access.server), options: proxied, ...scope });
}

function cluster({ kubeconfig, context, gatewayNamespace = "sidegate" }: SourceOptions): ClusterOptions {
  return {
    gatewayNamespace,
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
  };
}

function tokenIn({ headers }: RequestOptions): string {
  const authorization = (headers as Readonly<Record<string, unknown>> | undefined)?.["authorization"];
  const token = typeof authorization === "string" ? /^Bearer (.+)$/i.exec(authorization)?.[1] : undefined;
  if (token !== undefined) return token;
  throw new UsageError(
    "this kubeconfig has no token (a client certificate says who you are to the API server only); give one by --token-file, such as kubectl create token NAME writes",
  );
}
