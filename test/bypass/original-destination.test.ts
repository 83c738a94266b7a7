import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { CAPTURE_PORT } from "#contract/names.ts";
import { requireThat, requireTool } from "../support/require.ts";

const run = promisify(execFile);
const INSIDE = path.join(import.meta.dirname, "support/capture-inside.ts");

test("a redirected connection says where it wanted to go; one that came to us directly says nothing", async (context) => {
  for (const tool of ["unshare", "nft", "ip"]) requireTool(context, tool);
  const made = await run("unshare", ["-Urn", "true"]).then(
    () => true,
    () => false,
  );
  requireThat(context, made, "needs user namespaces: sysctl kernel.unprivileged_userns_clone=1");
  const dialled = [
    "203.0.113.7:8443",
    "240.240.0.7:5432",
    "[2001:db8::7]:443",
    `127.0.0.1:${CAPTURE_PORT}`,
    `[::1]:${CAPTURE_PORT}`,
  ];
  const argv = ["-Urn", process.execPath, "--disable-warning=ExperimentalWarning", INSIDE, ...dialled];
  const { stdout } = await run("unshare", argv, { timeout: 20_000, env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } });
  expect(JSON.parse(stdout)).toEqual([
    { from: "192.0.2.1", original: { address: "203.0.113.7", port: 8443 } },
    { from: "192.0.2.1", original: { address: "240.240.0.7", port: 5432 } },
    { from: "fd5a:6467::1", original: { address: "2001:db8::7", port: 443 } },
    { from: "127.0.0.1", original: null },
    { from: "::1", original: null },
    // Through the dual-stack listener: mapped addresses, written as v4.
    { from: "192.0.2.1", original: { address: "203.0.113.9", port: 443 } },
  ]);
});
