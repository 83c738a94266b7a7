/** `sidegate policy build DIR`: the signed bundle, as a bundle server or `sidegate`'s own sidecar takes it. */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { writeFileSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import { makeRunKey } from "#policy/assemble.ts";
import { buildFolder, writeBundleFile } from "#policy/compile/build.ts";
import { formatProblem } from "#policy/compile/problem.ts";
import type { SigningKey } from "#policy/signature.ts";
import { escapeForTerminal, jsonForTerminal } from "../../src/core/escape.ts";
import { UsageError } from "./audit-store.ts";
import { givenOutput } from "./given-paths.ts";
import { checkFolder, finish, libraryFolder, opaProgram, readInput, report, scratchFolder } from "./policy-tools.ts";

interface BuildOptions {
  readonly output: string;
  readonly scope: string;
  readonly sequence?: number;
  readonly notAfter?: number;
  readonly key?: string;
  readonly keyId: string;
  readonly library: boolean;
  readonly json?: boolean;
}

export function registerPolicyBuild(policy: Command): void {
  policy
    .command("build")
    .description("Check, test and compile a policy folder into a signed bundle")
    .argument("<dir>", "the folder")
    .requiredOption("-o, --output <file>", "where the bundle goes (.tar.gz); replaced at once")
    .option("--scope <scope>", "whom the bundle is for; a sidecar takes only its own", "local")
    .option("--sequence <n>", "rises with each bundle; default: the time", parseSequence)
    .option("--not-after <date>", "not taken after this time (ISO 8601)", parseDate)
    .option(
      "--key <pem>",
      "Ed25519 private key that signs it; default: one made for this bundle, its public half beside it",
    )
    .option("--key-id <id>", "the key's name in the signature", "default")
    .option("--no-library", "without the policies that come with Sidegate")
    .option("--json", "one JSON object")
    .action(async (folder: string, options: BuildOptions) => finish(build(folder, options)));
}

async function build(folder: string, options: BuildOptions): Promise<number> {
  const { output, scope, library, json } = options;
  givenOutput("--output", output);
  const signing = signingKey(options);
  const built = await buildFolder(
    {
      folder: checkFolder(folder),
      library: library ? libraryFolder() : null,
      opa: await opaProgram(),
      tmp: scratchFolder(),
    },
    { scope, sequence: options.sequence ?? Date.now(), notAfterMs: options.notAfter ?? null },
    signing.key,
  );
  if (built.kind === "problems") return report(built.problems, json === true);
  await writeBundleFile(output, built.archive);
  const publicFile = signing.made === null ? null : `${output}.pub.pem`;
  if (publicFile !== null && signing.made !== null)
    writeFileSync(publicFile, signing.made.export({ format: "pem", type: "spki" }));
  const { tests, warnings } = built.compiled;
  if (json === true)
    process.stdout.write(
      `${jsonForTerminal({ ok: true, output, revision: built.revision, bytes: built.archive.length, publicKey: publicFile, passed: tests.passed, warnings })}\n`,
    );
  else {
    for (const warning of warnings) process.stderr.write(`warning: ${escapeForTerminal(formatProblem(warning))}\n`);
    process.stdout.write(
      `${output}: revision ${built.revision}, ${built.archive.length} bytes, ${tests.passed} tests passed\n`,
    );
    if (publicFile !== null) process.stdout.write(`${publicFile}: verifies it\n`);
  }
  return 0;
}

/** `made`: the public half of a key that nobody has yet. */
function signingKey(options: BuildOptions): { readonly key: SigningKey; readonly made: KeyObject | null } {
  if (options.key === undefined) {
    const { signing, trusted } = makeRunKey(options.keyId);
    return { key: signing, made: trusted.publicKey };
  }
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(readInput(options.key));
  } catch (fault) {
    if (fault instanceof UsageError) throw fault;
    throw new UsageError(`${options.key} holds no private key in PEM`);
  }
  if (privateKey.asymmetricKeyType !== "ed25519" || createPublicKey(privateKey).asymmetricKeyType !== "ed25519")
    throw new UsageError(`${options.key} is no Ed25519 key (openssl genpkey -algorithm ed25519 makes one)`);
  return { key: { id: options.keyId, privateKey }, made: null };
}

function parseSequence(value: string): number {
  const sequence = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(sequence)) throw new InvalidArgumentError("must be a whole number");
  return sequence;
}

function parseDate(value: string): number {
  const at = /^\d{4}-\d\d-\d\d/.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(at)) throw new InvalidArgumentError("must be like 2027-01-31T12:00:00Z");
  return at;
}
