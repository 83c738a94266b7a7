/** `sidegate policy init DIR`: a folder with a target, a policy, its test, and the schemas for editors. */
import type { Command } from "commander";
import { newPolicyFolder, writeNewFiles } from "#policy/author/init.ts";
import { jsonForTerminal } from "../../src/core/escape.ts";
import { makeGivenFolder } from "./given-paths.ts";
import { finish } from "./policy-tools.ts";

export function registerPolicyInit(policy: Command): void {
  policy
    .command("init")
    .description("Lay out a policy folder: a target, a policy, its test, schemas for editors")
    .argument("<dir>", "the folder; made where it is missing, nothing in it is overwritten")
    .option("--json", "the files as one JSON object")
    .action(async (folder: string, options: { readonly json?: boolean }) =>
      finish(init(folder, options.json === true)),
    );
}

async function init(folder: string, json: boolean): Promise<number> {
  makeGivenFolder("<dir>", folder);
  const files = newPolicyFolder();
  const there = await writeNewFiles(folder, files);
  if (there !== null) {
    process.stderr.write(`sidegate: ${there} is there already; nothing was overwritten\n`);
    return 1;
  }
  if (json) process.stdout.write(`${jsonForTerminal({ ok: true, folder, files: files.map((file) => file.name) })}\n`);
  else
    process.stdout.write(
      `${files.map(({ name }) => `${folder}/${name}`).join("\n")}\n\nNext: sidegate policy test ${folder}, then sidegate run --policy ${folder} -- COMMAND\n`,
    );
  return 0;
}
