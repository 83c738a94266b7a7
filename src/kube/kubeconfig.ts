/**
 * Kubeconfig files as kubectl reads them: several files are one, the first that names a thing wins, and the context says the rest. Pure.
 *
 * Fails with the file's field and what to write there. Format: kubernetes.io/docs/reference/config-api/kubeconfig.v1.
 */
import path from "node:path";
import { parse } from "yaml";

/** One file's text and where it lies: relative paths in it are told from its folder. */
export interface ConfigText {
  readonly file: string;
  readonly text: string;
}

/** A value itself, or the file that holds it. */
export type Given =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "file"; readonly file: string }
  | { readonly kind: "none" };

export interface ExecPlugin {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** `client.authentication.k8s.io/v1` or `…/v1beta1`. */
  readonly apiVersion: string;
  readonly provideClusterInfo: boolean;
  readonly installHint: string;
}

export interface UserContext {
  readonly context: string;
  readonly server: string;
  readonly namespace: string;
  readonly ca: Given;
  /** Name in the server's certificate, where it is not the address's. */
  readonly serverName: string;
  readonly insecure: boolean;
  readonly cert: Given;
  readonly key: Given;
  readonly token: Given;
  readonly basic: { readonly username: string; readonly password: string } | null;
  readonly exec: ExecPlugin | null;
  readonly impersonate: { readonly user: string; readonly groups: readonly string[] } | null;
}

export class KubeconfigError extends Error {
  readonly code = "kubeconfig";
}

type Members = Readonly<Record<string, unknown>>;
interface Named {
  readonly body: Members;
  readonly folder: string;
}

/** `context`: "" takes the current one. Throws KubeconfigError. */
export function readKubeconfig(files: readonly ConfigText[], context: string): UserContext {
  const read = files.map(({ file, text }) => ({
    file,
    folder: path.dirname(path.resolve(file)),
    root: parsed(file, text),
  }));
  const named = (list: string, member: string, name: string): Named | null => {
    for (const { root, folder } of read)
      for (const entry of array(root[list]))
        if (members(entry)["name"] === name) return { body: members(members(entry)[member]), folder };
    return null;
  };
  const names = files.map(({ file }) => file).join(", ");
  const current = read.map(({ root }) => text(root["current-context"])).find((one) => one !== "") ?? "";
  const wanted = context === "" ? current : context;
  if (wanted === "") throw new KubeconfigError(`${names}: current-context is not set; name one by --context`);
  const chosen = named("contexts", "context", wanted);
  if (chosen === null) throw new KubeconfigError(`${names}: contexts has no ${JSON.stringify(wanted)}`);
  const clusterName = text(chosen.body["cluster"]);
  const cluster = named("clusters", "cluster", clusterName);
  if (cluster === null)
    throw new KubeconfigError(
      `${names}: context ${wanted} names cluster ${JSON.stringify(clusterName)}, which is not there`,
    );
  const server = text(cluster.body["server"]);
  if (!server.startsWith("https://"))
    throw new KubeconfigError(
      `${names}: clusters[${clusterName}].cluster.server must be https://…, not ${JSON.stringify(server)}`,
    );
  const userName = text(chosen.body["user"]);
  const user = named("users", "user", userName) ?? { body: {}, folder: "." };
  if (user.body["auth-provider"] !== undefined)
    throw new KubeconfigError(
      `${names}: users[${userName}].user.auth-provider is gone since Kubernetes 1.26; use exec instead`,
    );
  if (text(cluster.body["proxy-url"]) !== "")
    throw new KubeconfigError(
      `${names}: clusters[${clusterName}].cluster.proxy-url is not supported; run this where the server is reached directly`,
    );
  return {
    context: wanted,
    server,
    namespace: text(chosen.body["namespace"]),
    ca: given(cluster, "certificate-authority"),
    serverName: text(cluster.body["tls-server-name"]),
    insecure: cluster.body["insecure-skip-tls-verify"] === true,
    cert: given(user, "client-certificate"),
    key: given(user, "client-key"),
    token: tokenOf(user),
    basic: basicOf(user.body),
    exec: execOf(user, `${names}: users[${userName}].user.exec`),
    impersonate: impersonateOf(user.body),
  };
}

/** `NAME-data` (base64) wins over `NAME` (a path). */
function given({ body, folder }: Named, name: string): Given {
  const data = text(body[`${name}-data`]);
  if (data !== "") return { kind: "text", text: Buffer.from(data, "base64").toString("utf8") };
  const file = text(body[name]);
  return file === "" ? { kind: "none" } : { kind: "file", file: path.resolve(folder, file) };
}

/** `tokenFile` wins: whoever writes both keeps the file fresh. */
function tokenOf({ body, folder }: Named): Given {
  const file = text(body["tokenFile"]);
  if (file !== "") return { kind: "file", file: path.resolve(folder, file) };
  const token = text(body["token"]);
  return token === "" ? { kind: "none" } : { kind: "text", text: token };
}

function basicOf(body: Members): UserContext["basic"] {
  const username = text(body["username"]);
  return username === "" ? null : { username, password: text(body["password"]) };
}

function impersonateOf(body: Members): UserContext["impersonate"] {
  const user = text(body["as"]);
  return user === "" ? null : { user, groups: array(body["as-groups"]).map(text) };
}

function execOf({ body, folder }: Named, at: string): ExecPlugin | null {
  if (body["exec"] === undefined || body["exec"] === null) return null;
  const exec = members(body["exec"]);
  const command = text(exec["command"]);
  const apiVersion = text(exec["apiVersion"]);
  if (command === "") throw new KubeconfigError(`${at}.command is empty`);
  if (!/^client\.authentication\.k8s\.io\/v1(beta1)?$/.test(apiVersion))
    throw new KubeconfigError(
      `${at}.apiVersion must be client.authentication.k8s.io/v1 or v1beta1, not ${JSON.stringify(apiVersion)}`,
    );
  return {
    // client-go: a path with a separator is told from the file's folder, a bare name from the PATH.
    command: command.includes("/") ? path.resolve(folder, command) : command,
    args: array(exec["args"]).map(text),
    env: Object.fromEntries(array(exec["env"]).map((one) => [text(members(one)["name"]), text(members(one)["value"])])),
    apiVersion,
    provideClusterInfo: exec["provideClusterInfo"] === true,
    installHint: text(exec["installHint"]),
  };
}

function parsed(file: string, content: string): Members {
  try {
    return members(parse(content, { maxAliasCount: 100 }));
  } catch (fault) {
    // The parser quotes the line, which may hold a token: only where it is wrong is told.
    const line = (fault as { linePos?: readonly { line: number }[] }).linePos?.[0]?.line;
    throw new KubeconfigError(`${file}: is no YAML${line === undefined ? "" : `, line ${line}`}`);
  }
}

function members(value: unknown): Members {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Members) : {};
}

function array(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
