/** `sidegate freeze` and `unfreeze`: the switch for the bad day, for a pod, a namespace, every agent, or one `sidegate run`. */
import { randomBytes } from "node:crypto";
import os from "node:os";
import path from "node:path";
import type { Command } from "commander";
import { escapeForTerminal } from "../../src/core/escape.ts";
import { type ListedFreeze, liftFreeze, listFreezes, makeFreeze, takenUp } from "../../src/kube/freezes.ts";
import { removeRunFreeze, runFolders, writeRunFreeze } from "../../src/local/freeze.ts";
import { exitWith, UsageError } from "./audit-store.ts";
import { addClusterOptions, type ClusterOptions, clusterOf, inItsWords } from "./cluster-options.ts";
import { userName } from "./user-name.ts";

interface FreezeOptions extends ClusterOptions {
  readonly namespace?: string;
  readonly pod?: string;
  readonly all?: boolean;
  readonly run?: string;
  readonly reason?: string;
}

/** What of the cluster is meant; `pod` null: all of that namespace. */
interface Place {
  readonly namespace: string;
  readonly pod: string | null;
  readonly words: string;
}

/** A controller that leads counts a freeze's pods within a second; another needs some more to begin to lead. */
const TAKEN_UP_MS = 5_000;

export function registerFreeze(program: Command): void {
  addPlace(
    program.command("freeze").description("Deny everything that agents ask, within a second, until it is lifted"),
  )
    .requiredOption("--reason <text>", "why; agents read it, and it stands in the record")
    .action(async (options: FreezeOptions) => exitWith(inItsWords(() => freeze(options))));
}

export function registerUnfreeze(program: Command): void {
  addPlace(program.command("unfreeze").description("Lift a freeze; without a place: list those in force"))
    .option("--reason <text>", "why; stands in the record")
    .action(async (options: FreezeOptions) => exitWith(inItsWords(() => unfreeze(options))));
}

function addPlace(command: Command): Command {
  return addClusterOptions(
    command
      .option("-n, --namespace <name>", "every agent of this namespace")
      .option("--pod <namespace/name>", "one pod")
      .option("--all", "every agent of the cluster")
      .option("--run <id>", "one sidegate run on this machine"),
  );
}

async function freeze(options: FreezeOptions): Promise<number> {
  const reason = sentence(options.reason ?? "");
  if (options.run !== undefined) {
    const folder = runOf(options);
    writeRunFreeze(folder, { by: userName(), reason, since: new Date().toISOString() });
    process.stdout.write(`run ${options.run} is frozen\n`);
    return 0;
  }
  const place = placeOf(options);
  if (place === null) throw new UsageError("say what: -n NAMESPACE, --pod NAMESPACE/NAME, --all or --run ID");
  const kube = await clusterOf(options);
  const name = `freeze-${randomBytes(5).toString("hex")}`;
  const { by } = await makeFreeze(kube, { namespace: place.namespace, pod: place.pod, reason, name });
  const pods = await takenUp(kube, { namespace: place.namespace, name }, { limitMs: TAKEN_UP_MS, everyMs: 200 });
  const many = pods === null ? "" : `, ${pods} running pods`;
  process.stdout.write(
    `${place.words}: frozen by ${escapeForTerminal(by)}${many} (${place.namespace}/${name}); lift it with sidegate unfreeze\n`,
  );
  if (pods === null)
    process.stderr.write(
      "sidegate: no controller has counted its pods yet; look whether one leads, and at sidegate_frozen\n",
    );
  return 0;
}

async function unfreeze(options: FreezeOptions): Promise<number> {
  if (options.run !== undefined) {
    const was = removeRunFreeze(runOf(options));
    process.stdout.write(was ? `run ${options.run} is no longer frozen\n` : `run ${options.run} was not frozen\n`);
    return was ? 0 : 1;
  }
  const place = placeOf(options);
  const kube = await clusterOf(options);
  const listed = await listFreezes(kube, options.gatewayNamespace, place?.namespace ?? "");
  if (place === null) {
    process.stdout.write(listed.length === 0 ? "Nothing is frozen.\n" : listed.map(line).join(""));
    return 0;
  }
  const meant = listed.filter(({ pod }) => pod === place.pod);
  for (const entry of meant) {
    await liftFreeze(kube, entry, options.reason === undefined ? "" : sentence(options.reason));
    process.stdout.write(`lifted: ${line(entry)}`);
  }
  const rest = listed.filter((entry) => !meant.includes(entry));
  if (meant.length === 0) process.stderr.write(`${place.words}: not frozen\n`);
  if (rest.length > 0) process.stderr.write(`still in force there:\n${rest.map(line).join("")}`);
  return meant.length === 0 ? 1 : 0;
}

function line({ namespace, pod, frozen, pods }: ListedFreeze): string {
  const what =
    frozen.scope === "all" ? "every agent" : pod === null ? `namespace ${namespace}` : `pod ${namespace}/${pod}`;
  const many = pods === null ? "" : `, ${pods} pods`;
  return `${what}${many}: by ${escapeForTerminal(frozen.by)} at ${frozen.since}: ${escapeForTerminal(frozen.reason)}\n`;
}

function placeOf({ namespace, pod, all, gatewayNamespace }: FreezeOptions): Place | null {
  const given = [namespace, pod, all].filter((one) => one !== undefined);
  if (given.length > 1) throw new UsageError("say one of -n, --pod and --all");
  if (all === true) return { namespace: gatewayNamespace, pod: null, words: "every agent" };
  if (pod !== undefined) {
    const [, in_, name] = /^([a-z0-9-]{1,63})\/([a-z0-9.-]{1,253})$/.exec(pod) ?? [];
    if (in_ === undefined || name === undefined) throw new UsageError("--pod must be NAMESPACE/NAME");
    return { namespace: in_, pod: name, words: `pod ${pod}` };
  }
  if (namespace === undefined) return null;
  // A freeze there is everybody's: that has an option of its own.
  if (namespace === gatewayNamespace)
    throw new UsageError(`${namespace} is the gateway's own namespace; --all freezes every agent`);
  return { namespace, pod: null, words: `namespace ${namespace}` };
}

function runOf({ run = "" }: FreezeOptions): string {
  const state = process.env["XDG_STATE_HOME"] ?? path.join(os.homedir(), ".local", "state");
  const runs = runFolders(path.join(state, "sidegate"));
  const folder = runs.get(run);
  if (folder === undefined)
    throw new UsageError(`no run ${JSON.stringify(run)} is there; these are: ${[...runs.keys()].join(", ") || "none"}`);
  return folder;
}

/** As the resource's schema has it. */
function sentence(text: string): string {
  if (text.length < 1 || text.length > 500 || /\p{Cc}/u.test(text))
    throw new UsageError("--reason must be one line of at most 500 characters");
  return text;
}
