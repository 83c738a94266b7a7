/** `sidegate inject`: puts the gateway into a manifest on this machine, as the webhook would in the cluster. */
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { parse } from "yaml";
import { PROXY_UID } from "../../src/contract/names.ts";
import { checkText, injectText } from "../../src/injection/manifest-text.ts";
import { type InjectionOptions, readOptions } from "../../src/injection/options.ts";
import { describeViolations } from "../../src/injection/violation.ts";

interface InjectFlags {
  readonly filename: string;
  readonly options?: string;
  readonly image?: string;
  readonly pullSecret?: readonly string[];
  readonly cluster?: string;
  readonly dataplane?: string;
  readonly collector?: string;
  readonly collectorCa?: string;
  readonly bundle?: string;
  readonly bundleConfigMap?: string;
  readonly bundleKey?: string;
  readonly resolver?: readonly string[];
  readonly limitRange?: string;
  readonly check?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function registerInject(program: Command): void {
  program
    .command("inject")
    .description(
      "Put the gateway into the pods of a manifest: Pod, Deployment, StatefulSet, DaemonSet, Job, CronJob, …",
    )
    .option("-f, --filename <file>", "YAML or JSON with one or more documents; - reads standard input", "-")
    .option("--options <file>", "YAML or JSON with the options of injection; the flags below win over it")
    .option("--image <image>", "the proxy image")
    .option("--pull-secret <name...>", "pull secrets for the proxy image")
    .option("--cluster <name>", "this cluster's name in the record")
    .option("--dataplane <kind>", "auto, nft or iptables")
    .option("--collector <url>", "the collector, https://…")
    .option("--collector-ca <file>", "PEM of who signed its certificate")
    .option("--bundle <url>", "the bundle server, https://…")
    .option("--bundle-config-map <name>", "a ConfigMap with bundle.tar.gz instead")
    .option("--bundle-key <file>", "PEM of the key that signs bundles")
    .option("--resolver <address...>", "the cluster's resolvers")
    .option("--limit-range <file>", "the namespace's LimitRange, as a manifest")
    .option("--check", "change nothing: say what is broken in pods that were injected, running ones too")
    .option("--json", "the result as JSON, a List where there are several documents")
    .option("--quiet", "no warnings")
    .addHelpText(
      "after",
      "\nExit codes: 0 injected (--check: whole), 1 denied (--check: broken; the fields stand on stderr), 2 wrong usage.",
    )
    .action((flags: InjectFlags) => {
      process.exitCode = inject(flags);
    });
}

function inject(flags: InjectFlags): number {
  const reading = readOptions(optionsOf(flags));
  if (reading.kind === "malformed") return fail(2, `options:\n${describeViolations(reading.violations)}`);
  const text = readFileSync(flags.filename === "-" ? 0 : flags.filename, "utf8");
  if (flags.check === true) return check(text, reading.options, flags.filename);
  const injection = injectText(text, reading.options, () => randomInt(PROXY_UID.first, PROXY_UID.last + 1));
  if (injection.kind === "unreadable") return fail(1, `${flags.filename}: ${injection.message}`);
  if (injection.kind === "denied") return fail(1, `denied:\n${describeViolations(injection.violations)}`);
  if (flags.quiet !== true && injection.warnings.length > 0)
    process.stderr.write(`${describeViolations(injection.warnings)}\n`);
  if (injection.pods === 0) process.stderr.write("sidegate inject: no pod and no pod template in here\n");
  process.stdout.write(flags.json === true ? `${asJson(injection.documents)}\n` : injection.text);
  return 0;
}

function check(text: string, options: InjectionOptions, name: string): number {
  const result = checkText(text, options);
  if (result.kind === "unreadable") return fail(1, `${name}: ${result.message}`);
  if (result.violations.length > 0) return fail(1, `broken:\n${describeViolations(result.violations)}`);
  process.stdout.write(`whole: ${result.pods}\n`);
  return 0;
}

function asJson(documents: readonly unknown[]): string {
  const items = documents.filter((document) => document !== null);
  return JSON.stringify(items.length === 1 ? items[0] : { apiVersion: "v1", kind: "List", items }, null, 2);
}

function optionsOf(flags: InjectFlags): unknown {
  const given = flags.options === undefined ? {} : object(parse(readFileSync(flags.options, "utf8")));
  const collector = object(given["collector"]);
  const bundle = object(given["bundle"]);
  return defined({
    ...given,
    image: flags.image ?? given["image"],
    imagePullSecrets: flags.pullSecret ?? given["imagePullSecrets"],
    cluster: flags.cluster ?? given["cluster"],
    dataplane: flags.dataplane ?? given["dataplane"],
    resolvers: flags.resolver ?? given["resolvers"],
    limitRange: flags.limitRange === undefined ? given["limitRange"] : limitRange(flags.limitRange),
    collector: defined({
      url: flags.collector ?? collector["url"],
      ca: file(flags.collectorCa) ?? collector["ca"] ?? "",
    }),
    bundle: defined({
      ...bundle,
      url: flags.bundle ?? bundle["url"],
      configMap: flags.bundleConfigMap ?? bundle["configMap"],
      publicKey: file(flags.bundleKey) ?? bundle["publicKey"],
    }),
  });
}

/** The item for containers; others (Pod, PersistentVolumeClaim) do not bind ours. */
function limitRange(path: string): InjectionOptions["limitRange"] {
  const { limits } = object(object(parse(readFileSync(path, "utf8")))["spec"]);
  const item: unknown = Array.isArray(limits)
    ? limits.find((limit) => object(limit)["type"] === "Container")
    : undefined;
  return item === undefined ? null : item;
}

function file(path: string | undefined): string | undefined {
  return path === undefined ? undefined : readFileSync(path, "utf8");
}

function object(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function defined(value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined));
}

function fail(code: number, message: string): number {
  process.stderr.write(`sidegate inject: ${message}\n`);
  return code;
}
