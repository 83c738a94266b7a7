/** `make demo`, as root where the tests run as root and as an ordinary user; and the README's capture of it. */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { demoLines } from "../support/demo-lines.ts";
import { ordinaryUser } from "../support/ordinary-user.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
/** Not in /tmp or /var/tmp: inside a run those are other folders, and the agents of the demo start Node from the clone. */
let place = "";
let opa = "";

beforeAll(() => {
  place = mkdtempSync(path.join(userInfo().uid === 0 ? "/opt" : homedir(), "sidegate-demo-test-"));
  chmodSync(place, 0o755);
  const found = execFileSync(process.execPath, ["--disable-warning=ExperimentalWarning", "tools/opa/ensure.ts"], {
    cwd: ROOT,
    encoding: "utf8",
  }).trim();
  opa = path.join(place, "opa");
  copyFileSync(found, opa);
  chmodSync(opa, 0o755);
}, 600_000);

afterAll(() => rmSync(place, { recursive: true, force: true }));

function demo(root: string, prefix: readonly string[], env: NodeJS.ProcessEnv): { status: number | null; out: string } {
  const argv = [
    ...prefix,
    path.join(root, "node_modules/.bin/node"),
    "--disable-warning=ExperimentalWarning",
    path.join(root, "examples/demo/demo.ts"),
  ];
  const ran = spawnSync(argv[0] ?? "", argv.slice(1), {
    cwd: root,
    encoding: "utf8",
    timeout: 170_000,
    env: { ...process.env, ...env, SIDEGATE_OPA: opa, CI: "" },
  });
  return { status: ran.status, out: `${ran.stdout}${ran.stderr}` };
}

test("the demo ends with demo: ok, and is what the README shows", { timeout: 180_000 }, () => {
  const { status, out } = demo(ROOT, [], {});
  expect(out.trimEnd().split("\n").at(-1), out).toBe("demo: ok");
  expect(status).toBe(0);
  const capture =
    /<!-- demo:begin[^>]*-->\n```\n([\s\S]*?)```\n<!-- demo:end -->/.exec(
      readFileSync(path.join(ROOT, "README.md"), "utf8"),
    )?.[1] ?? "";
  const shown = demoLines(capture);
  expect(shown.length).toBeGreaterThan(20);
  const real = new Set(demoLines(out));
  expect(shown.filter((line) => !real.has(line))).toEqual([]);
});

test("an ordinary user runs the demo too", { timeout: 180_000 }, () => {
  const user = ordinaryUser();
  // The clone may lie where that user cannot look: hard links are a copy that costs nothing.
  for (const part of ["bin", "cmd", "src", "policies", "examples", "tools", "package.json", "node_modules"]) {
    const linked = spawnSync("cp", ["-al", path.join(ROOT, part), path.join(place, part)]).status === 0;
    if (!linked) cpSync(path.join(ROOT, part), path.join(place, part), { recursive: true });
  }
  const home = mkdtempSync(path.join(place, "home-"));
  chownSync(home, user.uid, user.gid);
  const { status, out } = demo(place, user.prefix, {
    HOME: home,
    USER: user.name,
    XDG_STATE_HOME: "",
    XDG_RUNTIME_DIR: "",
  });
  expect(out.trimEnd().split("\n").at(-1), out).toBe("demo: ok");
  expect(status).toBe(0);
});
