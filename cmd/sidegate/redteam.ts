/** `sidegate redteam`: a pod in an opted-in namespace tries to get past its gateway; what escaped is shown. */
import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import { PROXY_UID } from "../../src/contract/names.ts";
import { jsonForTerminal } from "../../src/core/escape.ts";
import type { Cluster } from "../../src/oncall/cluster.ts";
import { isTight, redteam } from "../../src/oncall/redteam.ts";
import { renderRedteam } from "../../src/oncall/redteam-text.ts";
import { addClusterFlags, type ClusterFlags } from "./cluster-options.ts";
import { untilInterrupted, withCluster } from "./oncall-cluster.ts";

/** Put in by the bundler; in a clone the file is read. */
declare const SIDEGATE_ATTEMPTS: string | undefined;

interface RedteamFlags extends ClusterFlags {
  readonly namespace: string;
  readonly image: string;
  readonly uid: number;
  readonly only?: string;
  readonly peer?: readonly string[];
  readonly service?: readonly string[];
  readonly witness?: readonly string[];
  readonly name?: readonly string[];
  readonly timeout: number;
  readonly json?: boolean;
}

export function registerRedteam(program: Command): void {
  addClusterFlags(program.command("redteam"))
    .description("Try to get past the gateway from inside a pod of an opted-in namespace, as uid 0 and as another")
    .requiredOption("-n, --namespace <name>", "the namespace")
    .option("--image <image>", "an image with python3", "docker.io/library/python:3.13-slim")
    .option("--uid <n>", "the other user", uid, 1000)
    .option("--only <rows>", "attempts by row or name, separated by commas: N5,N8")
    .option("--peer <host:port...>", "another pod that no policy allows")
    .option("--service <address:port...>", "a Service that no policy allows")
    .option("--witness <address:port...>", "where somebody answers, by TCP and UDP, that no policy allows")
    .option("--name <host...>", "a name that a policy allows")
    .option("--timeout <seconds>", "for both users together", seconds, 600)
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nThe pod is made as any author could make it, and removed again, also after Ctrl-C. Its attempts stand in the record.\nExit codes: 0 everything died, 1 something escaped or could not be tried, 2 wrong usage.",
    )
    .action((flags: RedteamFlags) => withCluster("redteam", flags, (cluster) => run(cluster, flags)));
}

async function run(cluster: Cluster, flags: RedteamFlags): Promise<number> {
  const each = (option: string, values: readonly string[] = []): string[] => values.flatMap((value) => [option, value]);
  const result = await redteam(
    cluster,
    {
      namespace: flags.namespace,
      image: flags.image,
      uid: flags.uid,
      script: attempts(),
      args: [
        ...(flags.only === undefined ? [] : ["--only", flags.only]),
        ...each("--peer", flags.peer),
        ...each("--service", flags.service),
        ...each("--witness", flags.witness),
        ...each("--name", flags.name),
      ],
      limitMs: flags.timeout * 1000,
    },
    untilInterrupted(),
  );
  const tight = isTight(result);
  process.stdout.write(flags.json === true ? `${jsonForTerminal({ ok: tight, ...result })}\n` : renderRedteam(result));
  return tight ? 0 : 1;
}

function attempts(): string {
  if (typeof SIDEGATE_ATTEMPTS === "string") return SIDEGATE_ATTEMPTS;
  return readFileSync(new URL("../../test/bypass/pod/attempts.py", import.meta.url), "utf8");
}

function uid(text: string): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > 2 ** 31 - 1 || (value >= PROXY_UID.first && value <= PROXY_UID.last))
    throw new InvalidArgumentError(
      `a uid from 1, outside the gateway's range ${PROXY_UID.first} to ${PROXY_UID.last}.`,
    );
  return value;
}

function seconds(text: string): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (value < 10 || value > 3600) throw new InvalidArgumentError("seconds from 10 to 3600.");
  return value;
}
