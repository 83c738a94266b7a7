/**
 * Makes the npm package: the processes as bundles, and the library's policies compiled, so that `sidegate run` needs neither a
 * clone nor `opa`. Prints the archive's name.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { makeRunKey } from "#policy/assemble.ts";
import { buildFolder } from "#policy/compile/build.ts";
import { formatProblem } from "#policy/compile/problem.ts";

const opa = execFileSync(process.execPath, ["--disable-warning=ExperimentalWarning", "tools/opa/ensure.ts"], {
  encoding: "utf8",
}).trim();
const tmp = mkdtempSync(path.join(tmpdir(), "sidegate-pack-"));
try {
  // The signature is of no use to anybody: each run signs anew, with its own targets in the data.
  const built = await buildFolder(
    { folder: "policies", library: null, opa, tmp },
    { scope: "library", sequence: 1, notAfterMs: null },
    makeRunKey("library").signing,
  );
  if (built.kind === "problems") throw new Error(built.problems.map(formatProblem).join("\n"));
  writeFileSync("dist/library.tar.gz", built.archive);
  console.error(`dist/library.tar.gz ${(built.archive.length / 1024).toFixed(0)} KiB`);
  const out = execFileSync("npm", ["pack", "--ignore-scripts", "--loglevel=error", ...process.argv.slice(2)], {
    encoding: "utf8",
  });
  console.log(out.trim().split("\n").at(-1));
} finally {
  rmSync(tmp, { recursive: true, force: true });
}
