/**
 * The seccomp profile's way to the nodes: the chart's installer, what it is allowed, and what its few lines of shell do to a folder that
 * others write, too.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, type TestContext, test } from "vitest";
import { parse } from "yaml";
import { findHelm, type Rendered, renderChart } from "../support/chart.ts";
import { requireThat } from "../support/require.ts";

const DIGESTS = {
  "images.proxy.digest": `sha256:${"a".repeat(64)}`,
  "images.control.digest": `sha256:${"b".repeat(64)}`,
};
// oxlint-disable-next-line typescript/no-explicit-any -- manifests of many kinds, reached into at any depth
type Tree = any;

function chart(context: TestContext, values: Readonly<Record<string, unknown>>): readonly Rendered[] {
  const helm = findHelm();
  requireThat(context, helm !== null, "no helm: tools/helm/ensure.sh gets one");
  return renderChart(helm ?? "", { ...DIGESTS, ...values });
}
const named = (found: readonly Rendered[], kind: string, name: string): Tree =>
  found.find((object) => object.kind === kind && object.metadata.name === name);

describe("the agents' profile", () => {
  test("is the runtime's own unless it is asked for, and then nothing of ours is on a node", (context) => {
    const found = chart(context, {});
    const { data } = named(found, "ConfigMap", "sidegate-injection");
    expect([data.seccompType, data.seccompProfile]).toEqual(["RuntimeDefault", ""]);
    expect(parse(data["options.yaml"])).toMatchObject({ seccomp: { type: "RuntimeDefault" } });
    expect(found.filter(({ kind }) => kind === "DaemonSet")).toEqual([]);
    expect(JSON.stringify(found)).not.toContain('"hostPath"');
  });

  test("is the same for the webhook and for the second lock", (context) => {
    const { data } = named(
      chart(context, { "injection.seccomp": { type: "Localhost", localhostProfile: "team/agent.json" } }),
      "ConfigMap",
      "sidegate-injection",
    );
    expect([data.seccompType, data.seccompProfile]).toEqual(["Localhost", "team/agent.json"]);
    expect(parse(data["options.yaml"])).toMatchObject({
      seccomp: { type: "Localhost", localhostProfile: "team/agent.json" },
    });
  });
});

describe("the installer", () => {
  const VALUES = { "seccompInstaller.enabled": true, "injection.seccomp.type": "Localhost" };

  test("is root without a capability, network or token, and sees one folder of the node", (context) => {
    const found = chart(context, VALUES);
    const { spec } = named(found, "DaemonSet", "sidegate-seccomp").spec.template;
    expect(spec).toMatchObject({
      automountServiceAccountToken: false,
      securityContext: { runAsUser: 0, seccompProfile: { type: "RuntimeDefault" } },
      tolerations: [{ operator: "Exists" }],
    });
    for (const member of ["hostNetwork", "hostPID", "hostIPC"]) expect(spec).not.toHaveProperty(member);
    expect(spec.containers).toHaveLength(1);
    const [container] = spec.containers;
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    expect(container.image).toContain("sidegate-proxy@sha256:");
    expect(container.resources.limits.memory).toBeDefined();
    expect(spec.volumes.filter((volume: Tree) => volume.hostPath !== undefined)).toEqual([
      { name: "node", hostPath: { path: "/var/lib/kubelet/seccomp/sidegate", type: "DirectoryOrCreate" } },
    ]);
    expect(named(found, "NetworkPolicy", "sidegate-seccomp").spec).toEqual({
      podSelector: { matchLabels: { "app.kubernetes.io/name": "sidegate", "app.kubernetes.io/component": "seccomp" } },
      policyTypes: ["Ingress", "Egress"],
    });
    expect(JSON.parse(named(found, "ConfigMap", "sidegate-seccomp").data["agent.json"])).toEqual(
      JSON.parse(readFileSync("charts/gateway/files/seccomp-agent.json", "utf8")),
    );
  });

  test.for([
    ["sidegate/agent.json", "/var/lib/kubelet/seccomp/sidegate", "/node/agent.json"],
    ["agent.json", "/var/lib/kubelet/seccomp", "/node/agent.json"],
    ["a/b/agents-2.json", "/var/lib/kubelet/seccomp/a/b", "/node/agents-2.json"],
  ])("lays it where the value %s says that agents look for it", ([localhostProfile, folder, file], context) => {
    const found = chart(context, { ...VALUES, "injection.seccomp.localhostProfile": localhostProfile });
    const { spec } = named(found, "DaemonSet", "sidegate-seccomp").spec.template;
    expect(spec.volumes[1].hostPath.path).toBe(folder);
    expect(spec.containers[0].command.at(-1)).toBe(file);
    expect(spec.containers[0].readinessProbe.exec.command).toEqual(["cmp", "-s", "/profile/agent.json", file]);
  });
});

describe("its few lines of shell", () => {
  let folder: string;
  let running: ChildProcess | null = null;
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "sidegate-seccomp-"));
    writeFileSync(path.join(folder, "from.json"), '{"a": 1}\n');
    mkdirSync(path.join(folder, "node"));
  });
  afterEach(async () => {
    if (running?.exitCode === null) {
      running.kill("SIGKILL");
      await once(running, "exit");
    }
    rmSync(folder, { recursive: true, force: true });
  });

  /** Starts them; resolves with what they said on both streams, once it holds `what`. */
  function said(what: string): Promise<string> {
    const script = readFileSync("charts/gateway/files/seccomp-install.sh", "utf8");
    const argv = ["-c", script, "sh", path.join(folder, "from.json"), path.join(folder, "node/agent.json")];
    const child = spawn("/bin/sh", argv, { stdio: ["ignore", "pipe", "pipe"] });
    running = child;
    return new Promise((resolve) => {
      let text = "";
      for (const stream of [child.stdout, child.stderr])
        stream.on("data", (part: Buffer) => {
          text += part.toString();
          if (text.includes(what)) resolve(text);
        });
    });
  }
  const laid = (): string => readFileSync(path.join(folder, "node/agent.json"), "utf8");

  test.each(["", '{"an older release": true}\n'])(
    "write the file whole, readable, over %j, and end when told",
    async (before) => {
      if (before !== "") writeFileSync(path.join(folder, "node/agent.json"), before);
      expect(await said("written: ")).toContain("agent.json");
      expect(laid()).toBe('{"a": 1}\n');
      expect(statSync(path.join(folder, "node/agent.json")).mode & 0o777).toBe(0o644);
      expect(readdirSync(path.join(folder, "node"))).toEqual(["agent.json"]);
      const exited = once(running as ChildProcess, "exit");
      running?.kill("SIGTERM");
      expect(await exited).toEqual([0, null]);
    },
  );

  test("say so where they cannot, and go on", async () => {
    // A folder in the file's place: nobody's rights are needed to see it fail.
    mkdirSync(path.join(folder, "node/agent.json"));
    writeFileSync(path.join(folder, "node/agent.json/x"), "");
    expect(await said("cannot write ")).toContain("agent.json");
    expect(running?.exitCode).toBeNull();
    expect(existsSync(path.join(folder, "node/agent.json/x"))).toBe(true);
  });
});
