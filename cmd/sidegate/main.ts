/**
 * `sidegate`: one file a sub-command, loaded when it is asked for, so that `sidegate run` starts without what `sidegate policy`
 * needs. Exit codes: 0 done, 1 a check failed or a finding, 2 wrong usage, 3 `--fail-on deny`, 141 nobody reads any more, else the command's own.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { endWithReader, sayFault } from "./streams.ts";

const version = (
  JSON.parse(
    readFileSync(
      new URL(import.meta.url.endsWith(".ts") ? "../../package.json" : "../package.json", import.meta.url),
      "utf8",
    ),
  ) as { version: string }
).version;

type Register = (program: Command) => void;
const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  run: async () => (await import("./run.ts")).registerRun,
  policy: async () => (await import("./policy.ts")).registerPolicy,
  audit: async () => (await import("./audit.ts")).registerAudit,
  why: async () => (await import("./why.ts")).registerWhy,
  freeze: async () => (await import("./freeze.ts")).registerFreeze,
  unfreeze: async () => (await import("./freeze.ts")).registerUnfreeze,
  doctor: async () => (await import("./doctor.ts")).registerDoctor,
  status: async () => (await import("./status.ts")).registerStatus,
  redteam: async () => (await import("./redteam.ts")).registerRedteam,
  purge: async () => (await import("./purge.ts")).registerPurge,
  inject: async () => (await import("./inject.ts")).registerInject,
};

endWithReader();
const program = new Command("sidegate");
program
  .description("A zero-trust egress gateway for AI agents.")
  .version(version)
  .enablePositionalOptions()
  .showHelpAfterError("(--help shows what is possible)")
  .addHelpText(
    "after",
    "\nExit codes: 0 done, 1 a check failed or a finding, 2 wrong usage; sidegate run --help has its own. Times are UTC.",
  )
  .exitOverride();

const wanted = process.argv[2];
const only = wanted !== undefined && Object.hasOwn(COMMANDS, wanted) ? [wanted] : Object.keys(COMMANDS);
for (const name of only) {
  const load = COMMANDS[name];
  if (load !== undefined) (await load())(program);
}

try {
  await program.parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    sayFault(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}
