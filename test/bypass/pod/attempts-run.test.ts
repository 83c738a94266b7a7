/**
 * The same attempts as in a pod, from inside `sidegate run` as a person starts it: as an ordinary user and as root. What is printed is
 * what the real command line, sidecar and collector made of them.
 */
import { execFile } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { type OrdinaryUser, ordinaryUser } from "../../support/ordinary-user.ts";
import { opaForTests } from "../../support/policy-texts.ts";
import { requireTool } from "../../support/require.ts";
import { PYTHON } from "../support/actor.ts";

const SIDEGATE = path.resolve(import.meta.dirname, "../../../bin/sidegate");
const ATTEMPTS = readFileSync(path.join(import.meta.dirname, "attempts.py"), "utf8");
const FILES: Readonly<Record<string, string>> = {
  "work/attempts.py": ATTEMPTS,
  "policy/items.rego":
    'package sidegate.policy.items\n\nallow if {\n\tinput.target.name == "items"\n\tinput.action == "read"\n}\n',
  "policy/targets.yaml":
    "apiVersion: sidegate.dev/v1alpha1\nkind: EgressTarget\nmetadata: {name: items}\nspec: {hosts: [items.example], ports: [80], protocol: http, tls: none}\n",
};
const WHO: readonly (readonly [string, OrdinaryUser])[] = [
  ["an ordinary user", ordinaryUser()],
  ...(userInfo().uid === 0 ? [["root", { uid: 0, gid: 0, name: "root", prefix: [] }] as const] : []),
];
/** A pod's neighbours: there are none here. */
const ELSEWHERE = ["N13/peers", "N13/witnesses"];

interface Report {
  readonly died: number;
  readonly attempts: readonly { readonly id: string; readonly outcome: string; readonly detail: string }[];
}

test.for(WHO)(
  "N1 to N13, R1 to R3, E3, E10: inside sidegate run every attempt dies (%s)",
  { timeout: 120_000 },
  async ([, user], context) => {
    for (const tool of ["unshare", "setpriv", "nft", "ip", "python3"]) requireTool(context, tool);
    // Not under /tmp: that is another folder inside a run.
    const folder = mkdtempSync(path.join(userInfo().uid === 0 ? "/opt" : homedir(), "sidegate-attempts-"));
    const at = (name: string): string => path.join(folder, name);
    try {
      chmodSync(folder, 0o755);
      for (const name of ["work", "policy", "home"]) mkdirSync(at(name));
      for (const [name, text] of Object.entries(FILES)) writeFileSync(at(name), text);
      writeFileSync(at("opa"), readFileSync(await opaForTests()), { mode: 0o755 });
      for (const name of ["work", "policy", "home", ...Object.keys(FILES)]) chownSync(at(name), user.uid, user.gid);
      const told = ["--json", "--wait", "1", "--name", "items.example"];
      const command = [
        SIDEGATE,
        "run",
        "--quiet",
        "--policy",
        at("policy"),
        "--",
        PYTHON,
        at("work/attempts.py"),
        ...told,
      ];
      const [file = "", ...argv] = [...user.prefix, ...command];
      const env = {
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
        HOME: at("home"),
        SIDEGATE_OPA: at("opa"),
        XDG_STATE_HOME: at("home/state"),
      };
      const out = await new Promise<string>((resolve) => {
        const child = execFile(
          file,
          argv,
          { cwd: at("work"), env, timeout: 100_000, maxBuffer: 8_388_608 },
          (_fault, stdout, stderr) => resolve(stdout === "" ? stderr : stdout),
        );
        child.stdin?.end();
      });
      const report = JSON.parse(out.slice(out.indexOf("{"))) as Report;
      const open = report.attempts.filter(
        ({ id, outcome }) => outcome !== "died" && !(outcome === "skipped" && ELSEWHERE.includes(id)),
      );
      expect(open).toEqual([]);
      expect(report.died).toBeGreaterThan(110);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
