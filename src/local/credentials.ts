/**
 * The credentials of a `sidegate run`, in the parent process: it answers the sidecar's questions over their channel, and makes the
 * agent's environment one without secrets. Each variable that holds one is replaced by its placeholder, or taken away.
 */
import { existsSync, type FSWatcher, readFileSync, statSync, watch } from "node:fs";
import path from "node:path";
import { CredentialFault, type CredentialShape, checkShape, placeholderOf, writeIssued } from "#contract/credential.ts";
import { type CredentialReply, isCredentialRequest } from "#contract/credential-messages.ts";
import { assertNever } from "#core/assert-never.ts";
import { Secret, SHOWN } from "#core/secret.ts";
import { fetchToken } from "#identity/client-credentials.ts";
import { formatProblem, type Problem } from "#policy/compile/problem.ts";
import { type CredentialEntry, readCredentialFile } from "./credential-file.ts";
import { filePath, type OriginSurroundings, readSecret } from "./secret-origin.ts";

export interface LocalCredentials {
  readonly names: readonly string[];
  /** Files that hold secrets: not there for the agent. */
  readonly hide: readonly string[];
  /** The caller's environment as the agent gets it, and what was done to it, for a person to read. */
  agentEnvironment(env: Readonly<Record<string, string | undefined>>): {
    readonly env: Record<string, string | undefined>;
    readonly notes: readonly string[];
  };
  /** `text` without any of the secrets. */
  redacted(text: string): string;
  /** What the sidecar says on its channel; others' messages are left alone. */
  answer(message: unknown, reply: (answer: CredentialReply) => void): void;
  /** Watches the files. Close it at the end. */
  follow(changed: (message: CredentialReply) => void): () => void;
}

export type OpenedCredentials =
  | { readonly kind: "opened"; readonly credentials: LocalCredentials }
  | { readonly kind: "problems"; readonly lines: readonly string[] };

export const CREDENTIALS_FILE = "credentials.yaml";

/** A static secret is looked at again after so long; a file that changed is told of at once. */
const REFRESH_MS = 300_000;
/** A token is asked for again when so much of its time is over. */
const REFRESH_AT = 0.8;
const MIN_REFRESH_MS = 1_000;
/** Shorter ones are not looked for in other variables: they would be found everywhere. */
const MIN_FOUND = 8;

/** `at`: a file, or a folder with CREDENTIALS_FILE in it. Reads every secret once, so that a missing one is known now. */
export async function openCredentials(
  at: string,
  surroundings: Omit<OriginSurroundings, "folder">,
): Promise<OpenedCredentials> {
  const file = statSync(at).isDirectory() ? path.join(at, CREDENTIALS_FILE) : at;
  const around = { ...surroundings, folder: path.dirname(file) };
  const problems: Problem[] = [];
  const entries = readCredentialFile({ name: path.basename(file), text: readFileSync(file, "utf8") }, problems);
  const secrets = new Map<string, string>();
  for (const [name, entry] of entries) {
    try {
      const secret = await readSecret(entry.from, around);
      checkShape(shapeOf(entry, around), secret);
      secrets.set(name, secret);
    } catch (error) {
      if (!(error instanceof CredentialFault)) throw error;
      problems.push({ file: path.basename(file), line: 0, message: `credentials.${name}: ${error.message}` });
    }
  }
  if (problems.length > 0) return { kind: "problems", lines: problems.map(formatProblem) };
  return { kind: "opened", credentials: new Opened(entries, secrets, around) };
}

/** Of the policy folder, where nothing else was named. */
export function defaultCredentials(policyFolder: string | null): string | null {
  const file = policyFolder === null ? null : path.join(policyFolder, CREDENTIALS_FILE);
  return file !== null && existsSync(file) ? file : null;
}

/** Where none are configured: the sidecar hears so at once. */
export const NO_CREDENTIALS: Pick<LocalCredentials, "answer"> = {
  answer(message, reply) {
    if (isCredentialRequest(message))
      reply({
        kind: "credential",
        id: message.id,
        ok: false,
        why: "unknown",
        message: `no credential ${message.name} is configured`,
      });
  },
};

class Opened implements LocalCredentials {
  readonly names: readonly string[];
  readonly hide: readonly string[];
  readonly #entries: ReadonlyMap<string, CredentialEntry>;
  readonly #secrets: ReadonlyMap<string, string>;
  readonly #around: OriginSurroundings;
  /** Variables that are said to hold one. */
  readonly #held: ReadonlySet<string>;

  constructor(
    entries: ReadonlyMap<string, CredentialEntry>,
    secrets: ReadonlyMap<string, string>,
    around: OriginSurroundings,
  ) {
    this.#entries = entries;
    this.#secrets = secrets;
    this.#around = around;
    this.#held = new Set([...entries.values()].flatMap(({ from }) => ("env" in from ? [from.env] : [])));
    this.names = [...entries.keys()];
    this.hide = [...entries.values()].flatMap(({ from }) => ("file" in from ? [filePath(from.file, around)] : []));
  }

  agentEnvironment(env: Readonly<Record<string, string | undefined>>): {
    readonly env: Record<string, string | undefined>;
    readonly notes: readonly string[];
  } {
    const out: Record<string, string | undefined> = { ...env };
    const notes: string[] = [];
    const values = [...this.#secrets.values()].filter((secret) => secret.length >= MIN_FOUND);
    for (const [name, value] of Object.entries(env)) {
      if (value === undefined || !values.some((secret) => value.includes(secret))) continue;
      delete out[name];
      if (!this.#held.has(name)) notes.push(`${name} holds a credential and is not there for the command`);
    }
    for (const [name, { from, placeholder }] of this.#entries) {
      if ("env" in from) delete out[from.env];
      const variable = placeholder?.env ?? ("env" in from ? from.env : null);
      if (variable !== null) out[variable] = placeholderOf(name);
    }
    return { env: out, notes };
  }

  redacted(text: string): string {
    let out = text;
    for (const secret of this.#secrets.values()) if (secret.length >= MIN_FOUND) out = out.replaceAll(secret, SHOWN);
    return out;
  }

  answer(message: unknown, reply: (answer: CredentialReply) => void): void {
    if (!isCredentialRequest(message)) return;
    const { id, name } = message;
    this.#issue(name).then(
      (value) => reply({ kind: "credential", id, ok: true, value }),
      (error: unknown) => {
        const fault =
          error instanceof CredentialFault ? error : new CredentialFault("unavailable", "it could not be read");
        reply({ kind: "credential", id, ok: false, why: fault.why, message: fault.message });
      },
    );
  }

  follow(changed: (message: CredentialReply) => void): () => void {
    const watchers: FSWatcher[] = [];
    for (const [name, { from }] of this.#entries) {
      if (!("file" in from)) continue;
      const file = filePath(from.file, this.#around);
      // The folder, because a file that is replaced is another file.
      const watcher = watch(path.dirname(file), (_event, which) => {
        if (which === null || which === path.basename(file)) changed({ kind: "credential-changed", name });
      });
      watcher.on("error", () => {});
      watchers.push(watcher);
    }
    return () => {
      for (const watcher of watchers) watcher.close();
    };
  }

  async #issue(name: string): Promise<unknown> {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw new CredentialFault("unknown", `no credential ${name} is configured`);
    const text = await readSecret(entry.from, this.#around);
    const shape = shapeOf(entry, this.#around);
    const lasting = { expiresInMs: null, refreshInMs: REFRESH_MS };
    const issued = entry.kind === "oauth2ClientCredentials" ? await this.#token(entry, text) : { text, ...lasting };
    checkShape(shape, issued.text);
    const { expiresInMs, refreshInMs } = issued;
    return writeIssued({ ...shape, secret: new Secret(issued.text), expiresInMs, refreshInMs });
  }

  async #token(
    entry: Extract<CredentialEntry, { readonly kind: "oauth2ClientCredentials" }>,
    clientSecret: string,
  ): Promise<{ readonly text: string; readonly expiresInMs: number | null; readonly refreshInMs: number }> {
    const { tokenUrl, clientId, scope, audience, auth, ca } = entry;
    const { value, expiresInMs } = await fetchToken({
      tokenUrl,
      clientId,
      clientSecret,
      scope: scope ?? null,
      audience: audience ?? null,
      auth: auth ?? "basic",
      ca: ca === undefined ? null : readFileSync(filePath(ca, this.#around), "utf8"),
    });
    const refreshInMs = expiresInMs === null ? REFRESH_MS : Math.max(MIN_REFRESH_MS, expiresInMs * REFRESH_AT);
    return { text: value, expiresInMs, refreshInMs };
  }
}

const NOTHING = { user: null, field: null, prefix: null, database: null, certificate: null };

function shapeOf(entry: CredentialEntry, around: OriginSurroundings): CredentialShape {
  switch (entry.kind) {
    case "header":
      return { ...NOTHING, kind: entry.kind, field: entry.header, prefix: entry.prefix ?? null };
    case "query":
      return { ...NOTHING, kind: entry.kind, field: entry.parameter };
    case "basic":
      return { ...NOTHING, kind: entry.kind, user: entry.user };
    case "password":
      return { ...NOTHING, kind: entry.kind, user: entry.user ?? null, database: entry.database ?? null };
    case "clientCertificate":
      return { ...NOTHING, kind: entry.kind, certificate: readFileSync(filePath(entry.certificate, around), "utf8") };
    case "bearer":
    case "oauth2ClientCredentials":
      return { ...NOTHING, kind: entry.kind };
    default:
      return assertNever(entry);
  }
}
