import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { KubeconfigError, readKubeconfig } from "./kubeconfig.ts";
import { findAccess } from "./user-access.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const CONFIG = `
current-context: here
contexts:
  - { name: here, context: { cluster: c, user: u, namespace: shop } }
  - { name: there, context: { cluster: d, user: nobody } }
clusters:
  - { name: c, cluster: { server: "https://10.0.0.1:6443", certificate-authority-data: ${base64("CA")}, tls-server-name: api.example } }
  - { name: d, cluster: { server: "https://10.0.0.2", certificate-authority: ca.pem, insecure-skip-tls-verify: true } }
users:
  - { name: u, user: { client-certificate-data: ${base64("CERT")}, client-key: key.pem } }
`;
const one = (text: string, context = ""): ReturnType<typeof readKubeconfig> =>
  readKubeconfig([{ file: "/etc/kube/config", text }], context);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-kubeconfig-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("a kubeconfig", () => {
  test("gives the current context, embedded data decoded and paths told from its own folder", () => {
    expect(one(CONFIG)).toMatchObject({
      server: "https://10.0.0.1:6443",
      namespace: "shop",
      ca: { kind: "text", text: "CA" },
      serverName: "api.example",
      cert: { kind: "text", text: "CERT" },
      key: { kind: "file", file: "/etc/kube/key.pem" },
      insecure: false,
    });
    expect(one(CONFIG, "there")).toMatchObject({ insecure: true, ca: { kind: "file", file: "/etc/kube/ca.pem" } });
  });

  test("of several files is one, and the first that names a thing wins", () => {
    const first = "current-context: there\nusers: [{name: nobody, user: {token: t}}]\n";
    const other = "current-context: here\nusers: [{name: nobody, user: {token: other}}]\n";
    const files = [first, CONFIG, other].map((text, at) => ({ file: `/${at}/config`, text }));
    expect(readKubeconfig(files, "")).toMatchObject({ context: "there", token: { kind: "text", text: "t" } });
  });

  test.each([
    ["", /current-context is not set; name one by --context/],
    ["current-context: gone", /contexts has no "gone"/],
    [CONFIG.replace("https://10.0.0.1:6443", "http://10.0.0.1"), /clusters\[c\].cluster.server must be https/],
    [CONFIG.replace("cluster: c,", "cluster: x,"), /names cluster "x", which is not there/],
    [`${CONFIG}      exec: {}`, /is no YAML|command is empty/],
  ])("that cannot be used is refused with its field: %#", (text, message) => {
    expect(() => one(text)).toThrow(message);
    expect(() => one(text)).toThrow(KubeconfigError);
  });

  test("that is no YAML is told by its line, never by what stands there", () => {
    expect(() => one("users: [{name: u, user: {token: very-secret: }}]\n  x")).toThrow(/line \d/);
    expect(() => one("users: [{name: u, user: {token: very-secret: }}]\n  x")).not.toThrow(/very-secret/);
  });
});

describe("the command line", () => {
  const around = (env: Readonly<Record<string, string>>): Parameters<typeof findAccess>[1] => ({
    env: { PATH: process.env["PATH"] ?? "", ...env },
    home: folder,
    interactive: false,
    wallMs: () => Date.parse("2026-01-01T00:00:00Z"),
  });

  test("says where it looked when there is no cluster", async () => {
    await expect(findAccess({ kubeconfig: "", context: "" }, around({}))).rejects.toThrow(
      /no cluster: .*\.kube\/config is not there, and this is no pod/,
    );
    await expect(findAccess({ kubeconfig: "", context: "" }, around({ KUBECONFIG: "/no/a:/no/b" }))).rejects.toThrow(
      /KUBECONFIG names \/no\/a, \/no\/b/,
    );
    await expect(findAccess({ kubeconfig: "/no/file", context: "" }, around({}))).rejects.toThrow(/\/no\/file/);
  });

  test("takes a plugin's credential, and asks it again only when that one ends", async () => {
    const plugin = path.join(folder, "plugin.sh");
    const log = path.join(folder, "asked");
    const answer = {
      apiVersion: "client.authentication.k8s.io/v1",
      kind: "ExecCredential",
      status: { token: "from-plugin", expirationTimestamp: "2026-01-01T01:00:00Z" },
    };
    writeFileSync(plugin, `#!/bin/sh\necho "$WHO $1" >>${log}\necho '${JSON.stringify(answer)}'\n`);
    chmodSync(plugin, 0o755);
    const config = path.join(folder, "config");
    const user = `  - { name: u, user: { exec: { apiVersion: client.authentication.k8s.io/v1, command: ./plugin.sh, args: [get], env: [{name: WHO, value: me}] } } }`;
    writeFileSync(config, `${CONFIG.slice(0, CONFIG.indexOf("users:"))}users:\n${user}\n`);
    const access = await findAccess({ kubeconfig: config, context: "" }, around({}));
    const first = await access.options();
    await access.options();
    expect(first.headers).toEqual({ authorization: "Bearer from-plugin" });
    expect(first).toMatchObject({ ca: "CA", servername: "api.example" });
    const { readFileSync } = await import("node:fs");
    expect(readFileSync(log, "utf8")).toBe("me get\n");
  });

  test("says what a plugin that is missing needs, and nothing of what another one printed", async () => {
    const config = path.join(folder, "config");
    const write = (exec: string): void =>
      writeFileSync(
        config,
        `${CONFIG.slice(0, CONFIG.indexOf("users:"))}users:\n  - { name: u, user: { exec: ${exec} } }\n`,
      );
    const ask = async (): Promise<unknown> =>
      (await findAccess({ kubeconfig: config, context: "" }, around({}))).options();
    write("{ apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin, installHint: 'get it there' }");
    await expect(ask()).rejects.toThrow(/no-such-plugin is not installed \(get it there\)/);
    write("{ apiVersion: client.authentication.k8s.io/v1, command: echo, args: [very-secret] }");
    await expect(ask()).rejects.toThrow(/echo: printed no JSON$/);
  });
});
