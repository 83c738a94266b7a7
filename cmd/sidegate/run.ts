/** `sidegate run -- COMMAND`: an unchanged command under the gate, on this machine, without root. */

import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Target } from "#contract/target.ts";
import { defaultCredentials } from "#local/credentials.ts";
import type { Prebuilt } from "#local/policy.ts";
import { type RunPlan, run, writeReport } from "#local/run.ts";
import type { Style } from "#local/terminal.ts";
import { findOpa } from "#policy/compile/find-opa.ts";
import { libraryParts } from "#policy/library-bundle.ts";
import { exitWith } from "./audit-store.ts";
import { givenOutput, givenPath } from "./given-paths.ts";
import { userName } from "./user-name.ts";

interface RunOptions {
  readonly policy?: string;
  readonly allow: readonly Target[];
  readonly observe?: boolean;
  readonly write: readonly string[];
  readonly credentials?: string;
  readonly report?: string;
  readonly failOn?: "deny";
  readonly quiet?: boolean;
  readonly json?: boolean;
}

export function registerRun(program: Command): void {
  program
    .command("run")
    .description("run a command with every connection of it judged and recorded")
    .argument("<command...>", "the command and its arguments, after --")
    .option("--policy <dir>", "folder with policies and targets (see: sidegate policy init)")
    .option("--allow <host[:port]>", "a host that may be read over HTTP(S); repeatable", addTarget, [])
    .option("--observe", "let through what policy would deny, and record it as such")
    .option(
      "--write <path>",
      "keep what is written there, beside the working folder; repeatable",
      (value: string, before: readonly string[]) => [...before, value],
      [],
    )
    .option("--credentials <file>", "where credentials come from (default: credentials.yaml in the policy folder)")
    .option("--report <file>", "write a JSON report at the end")
    .addOption(new Option("--fail-on <what>", "exit with 3 when something was denied").choices(["deny"]))
    .option("--quiet", "show no decisions")
    .option("--json", "show decisions as JSON lines on stderr")
    .passThroughOptions()
    .addHelpText(
      "after",
      "\nInside, /tmp and /run are empty, the home folder is a copy that is gone at the end, and all but the working folder is read-only.\nExit codes: the command's own (127: there is no such command, 128 + n: ended by signal n); 3 with --fail-on deny; 1 the run could not be set up; 2 wrong usage.",
    )
    .action(async (argv: string[], options: RunOptions) => exitWith(underTheGate(argv, options)));
}

async function underTheGate(argv: readonly string[], options: RunOptions): Promise<number> {
  const report = options.report === undefined ? null : givenOutput("--report", options.report);
  const plan = planOf(argv, options);
  const result = await run(plan);
  if (report !== null) writeReport(report, plan, result);
  if (plan.style === "plain" || plan.style === "colour") {
    const { allowed, denied, would } = result.tally;
    plan.say(
      `sidegate: ${allowed} allowed, ${denied} denied${would > 0 ? `, ${would} would have been denied` : ""}${denied > 0 ? "; sidegate why explains the last denial" : ""}\n`,
    );
  }
  return options.failOn === "deny" && result.tally.denied > 0 ? 3 : result.status.code;
}

function planOf(argv: readonly string[], options: RunOptions): RunPlan {
  const { env } = process;
  const home = env["HOME"];
  const style: Style =
    options.quiet === true
      ? "quiet"
      : options.json === true
        ? "json"
        : process.stderr.isTTY && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb"
          ? "colour"
          : "plain";
  const say = (text: string): void => void process.stderr.write(text);
  const library = libraryFolder();
  const folder = options.policy === undefined ? null : givenPath("--policy", options.policy, "folder");
  return {
    id: randomBytes(5).toString("hex"),
    argv,
    cwd: realpathSync(process.cwd()),
    env,
    user: userName(),
    home: home === undefined || !existsSync(home) ? null : realpathSync(home),
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    base: path.join(env["XDG_STATE_HOME"] ?? path.join(os.homedir(), ".local", "state"), "sidegate"),
    write: options.write.map((each) => givenPath("--write", each, "any")),
    credentials:
      options.credentials === undefined
        ? defaultCredentials(folder)
        : givenPath("--credentials", options.credentials, "any"),
    style,
    say,
    now: Date.now,
    node: process.execPath,
    entry: entryPath,
    preload: fileURLToPath(new URL(bundled() ? "./trust-preload.so" : "../../dist/trust-preload.so", import.meta.url)),
    policy: {
      folder,
      allowed: options.allow,
      observe: options.observe === true,
      library,
      prebuilt: prebuilt(),
      opa: () =>
        findOpa({
          given: env["SIDEGATE_OPA"],
          path: env["PATH"],
          cacheDir: path.join(env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache"), "sidegate"),
          toolsDir: bundled() ? null : fileURLToPath(new URL("../../tools/opa", import.meta.url)),
          env,
          platform: process.platform,
          arch: process.arch,
          say: (line) => say(`${line}\n`),
        }),
    },
  };
}

/** From a clone the sources run; from the package the bundles do. */
function bundled(): boolean {
  return !import.meta.url.endsWith(".ts");
}

function entryPath(name: string): string {
  return fileURLToPath(new URL(bundled() ? `./${name}.js` : `../${name}.ts`, import.meta.url));
}

function libraryFolder(): string | null {
  const folder = fileURLToPath(new URL(bundled() ? "../policies" : "../../policies", import.meta.url));
  return existsSync(folder) ? folder : null;
}

/** The library as it was compiled for the package; a clone compiles it with `opa`. */
function prebuilt(): Prebuilt | null {
  const file = fileURLToPath(new URL("./library.tar.gz", import.meta.url));
  if (!bundled() || !existsSync(file)) return null;
  return { parts: libraryParts(readFileSync(file)) };
}

/** `host`, `host:port`: HTTP(S) at the usual ports, or at that one. */
function addTarget(value: string, before: readonly Target[]): readonly Target[] {
  const match = /^(?:https?:\/\/)?((?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::(\d{1,5}))?\/?$/i.exec(value);
  const port = match?.[2] === undefined ? null : Number(match[2]);
  if (match?.[1] === undefined || (port !== null && (port < 1 || port > 65_535)))
    throw new InvalidArgumentError("it must be a host name, or host:port.");
  const host = match[1].toLowerCase();
  return [
    ...before,
    {
      name: `allowed-${before.length + 1}`,
      hosts: [host],
      ports: port === null ? [80, 443] : [port],
      protocol: "http",
    },
  ];
}
