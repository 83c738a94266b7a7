/** An agent under observation, what is suggested of its record, and the same agent under it: no denial, and a stranger's request is one. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OPA_TIMEOUT_MS, opaForTests } from "../support/policy-texts.ts";
import { requireTool } from "../support/require.ts";

let base: string;
let api: Server;
let opa: string;
const asked: string[] = [];

beforeAll(async () => {
  opa = await opaForTests();
  base = await mkdtemp(path.join(os.tmpdir(), "sidegate-observe-"));
  api = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.end("ok\n");
  });
  api.listen(0, "127.0.0.1");
  await once(api, "listening");
}, OPA_TIMEOUT_MS);
afterAll(async () => {
  api.close();
  api.closeAllConnections();
  await rm(base, { recursive: true, force: true });
});

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function sidegate(args: readonly string[]): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>();
  execFile(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", path.resolve("cmd/sidegate/main.ts"), ...args],
    {
      env: { ...process.env, SIDEGATE_OPA: opa, XDG_STATE_HOME: path.join(base, "state") },
      cwd: base,
      timeout: 60_000,
    },
    (fault, out, err) =>
      resolve({ code: fault === null ? 0 : typeof fault.code === "number" ? fault.code : -1, out, err }),
  );
  return promise;
}

test("enforced, what was suggested of an observed run gives the same agent no denial", async (context) => {
  requireTool(context, "curl");
  const policy = path.join(base, "policy");
  await mkdir(path.join(policy, "targets"), { recursive: true });
  const { port } = api.address() as AddressInfo;
  await writeFile(
    path.join(policy, "targets", "api.yaml"),
    `apiVersion: sidegate.dev/v1alpha1\nkind: EgressTarget\nmetadata: { name: api }\nspec: { hosts: [api.test], ports: [80], endpoints: ["127.0.0.1:${port}"], protocol: http }\n`,
  );
  const agent =
    "curl -sS http://api.test/v1/models http://api.test/v1/files/7 http://api.test/v1/files/8 && curl -sS -d x=1 http://api.test/v1/chat";
  const run = (command: string, ...options: string[]): Promise<Ended> =>
    sidegate(["run", "--policy", policy, "--quiet", "--fail-on", "deny", ...options, "--", "sh", "-c", command]);

  const observed = await run(agent, "--observe");
  expect(observed, observed.err).toMatchObject({ code: 0, out: "ok\nok\nok\nok\n" });
  expect((await run("curl -sS http://api.test/v1/models")).code).toBe(3);

  const suggested = path.join(base, "suggested");
  const made = await sidegate(["policy", "suggest", "-o", suggested, "--policy", policy]);
  expect(made, made.err).toMatchObject({ code: 0, out: expect.stringMatching(/replayed \d+, 0 denied/) });
  await cp(suggested, policy, { recursive: true });
  expect(await sidegate(["policy", "test", policy])).toMatchObject({ code: 0 });

  const enforced = await run(agent);
  expect(enforced, enforced.err).toMatchObject({ code: 0, out: "ok\nok\nok\nok\n" });
  asked.length = 0;
  const stranger = await run("curl -sS -X DELETE http://api.test/v1/files/7; curl -sS http://api.test/v1/secrets");
  expect(stranger.code).toBe(3);
  expect(asked).toEqual([]);
});
