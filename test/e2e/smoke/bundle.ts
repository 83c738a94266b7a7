/**
 * `bundle.ts FOLDER OUT OPA`: compiles a policy folder with the library, signs it with a key made for this run, and leaves
 * `bundle.tar.gz` and `key.pem` (the public one) in OUT. The private key is never written.
 */
import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { buildFolder } from "#policy/compile/build.ts";
import { formatProblem } from "#policy/compile/problem.ts";

const [folder = "", out = "", opa = ""] = process.argv.slice(2);
const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const library = path.join(import.meta.dirname, "../../../policies");
const built = await buildFolder(
  { folder, library, opa, tmp: tmpdir(), test: true },
  { scope: "sidegate", sequence: 1, notAfterMs: null },
  { id: "sidegate", privateKey },
);
if (built.kind === "problems") {
  for (const problem of built.problems) process.stderr.write(`${formatProblem(problem)}\n`);
  process.exit(1);
}
writeFileSync(path.join(out, "bundle.tar.gz"), built.archive);
writeFileSync(path.join(out, "key.pem"), publicKey.export({ type: "spki", format: "pem" }));
