/** `sidegate audit coverage`: each pod of the enforced namespaces beside what is on record of it. Exit code 1 on a hole. */
import type { Command } from "commander";
import { coverReport, type KnownPod, renderCover } from "../../src/collector/cover-report.ts";
import { ALIVE_MS } from "../../src/collector/verify.ts";
import { NAMESPACE_LABEL } from "../../src/contract/control-environment.ts";
import { ANNOTATION, LABEL } from "../../src/contract/names.ts";
import { jsonForTerminal } from "../../src/core/escape.ts";
import type { Kube, KubeObject } from "../../src/kube/port.ts";
import { RESOURCE } from "../../src/kube/resources.ts";
import { addSourceOptions, inTheirWords, remoteOf, type SourceOptions } from "./audit-source.ts";
import { exitWith, parseTime } from "./audit-store.ts";
import { clusterOf, inItsWords } from "./cluster-options.ts";

interface CoverageOptions extends Omit<SourceOptions, "db"> {
  readonly since?: number;
  readonly json?: boolean;
}

const PAGE = 500;

export function registerAuditCoverage(audit: Command): void {
  addSourceOptions(
    audit.command("coverage").description("Each pod beside what is on record of it: lives, lines, holes"),
  )
    .option("--since <time>", "sidecars seen since: 15m, 24h, 7d, or a date", parseTime)
    .option("--json", "as one JSON object")
    .action(async (options: CoverageOptions) => exitWith(inItsWords(() => coverage(options))));
}

async function coverage(options: CoverageOptions): Promise<number> {
  const records = await remoteOf({ ...options, db: "" });
  const boots = await inTheirWords(() => records.coverage(options.namespace ?? null, options.since ?? 0));
  const kube = await clusterOf({ ...options, gatewayNamespace: options.gatewayNamespace ?? "sidegate" });
  const pods = await podsOf(kube, options.namespace ?? "");
  const report = coverReport(pods, boots, {
    nowMs: Date.now(),
    aliveMs: ALIVE_MS,
    sinceMs: options.since ?? 0,
  });
  process.stdout.write(options.json === true ? `${jsonForTerminal(report)}\n` : renderCover(report));
  return report.holes === 0 ? 0 : 1;
}

interface PodObject extends KubeObject {
  readonly status?: {
    readonly phase?: string;
    readonly containerStatuses?: readonly {
      readonly state?: { readonly terminated?: { readonly finishedAt?: string } };
    }[];
  };
}

/** Pods that have a gateway, or should. */
async function podsOf(kube: Kube, namespace: string): Promise<readonly KnownPod[]> {
  const all = new Set<string>();
  for await (const { metadata } of each(kube, namespace, true))
    if (metadata.labels?.[NAMESPACE_LABEL.inject] === "all") all.add(metadata.name);
  const pods: KnownPod[] = [];
  for await (const object of each(kube, namespace, false)) {
    const { metadata, status } = object as PodObject;
    const { namespace: inside = "", name, uid = "", labels = {}, annotations = {}, creationTimestamp = "" } = metadata;
    const injected = annotations[ANNOTATION.injected] !== undefined;
    const wanted = labels[LABEL.inject] === "true" || (all.has(inside) && labels[LABEL.inject] !== "false");
    if (!injected && !wanted) continue;
    const running = status?.phase === "Running" || status?.phase === "Pending";
    const createdMs = Date.parse(creationTimestamp);
    const ends = (status?.containerStatuses ?? []).map(({ state }) => Date.parse(state?.terminated?.finishedAt ?? ""));
    const endedMs = Math.max(createdMs, ...ends.filter((ms) => !Number.isNaN(ms)));
    pods.push({ namespace: inside, name, uid, createdMs, running, endedMs, injected, wanted });
  }
  return pods;
}

/** Namespaces (the one, or all), or the pods in them. */
async function* each(kube: Kube, namespace: string, namespaces: boolean): AsyncGenerator<KubeObject> {
  const scope = namespaces ? (namespace === "" ? {} : { fieldSelector: `metadata.name=${namespace}` }) : { namespace };
  let continues = "";
  do {
    const page = await kube.list(namespaces ? RESOURCE.namespace : RESOURCE.pod, scope, { limit: PAGE, continues });
    yield* page.items;
    ({ continues } = page);
  } while (continues !== "");
}
