/**
 * Credentials: what a policy may put in at the last moment, and the port through which the sidecar gets one. A secret's value is in
 * a `Secret` from the first byte that we read of it, so that no record, log or error can hold it.
 *
 * On the way between processes (`sidegate run`: the parent's IPC channel; a cluster: the controller's answer over TLS) a credential
 * is the JSON that `writeIssued` makes and `readIssued` reads. Errs towards refusing: a member that is missing, unknown or not fit
 * for its place on the wire makes the whole credential unusable.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { Secret, SHOWN } from "#core/secret.ts";

export const CREDENTIAL_KINDS = [
  "header",
  "bearer",
  "basic",
  "query",
  "password",
  "oauth2ClientCredentials",
  "clientCertificate",
] as const;
export type CredentialKind = (typeof CREDENTIAL_KINDS)[number];

/** A credential's name, as targets and policies write it. */
export const CREDENTIAL_NAME = /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/;

/**
 * What the agent holds instead: recognised wherever it turns up, a text that HTTP fields, queries, URLs and shells carry as it is.
 * It says which credential it stands for and is no secret.
 */
export const PLACEHOLDER_PREFIX = "sidegate-placeholder-";
export function placeholderOf(name: string): string {
  return `${PLACEHOLDER_PREFIX}${name}`;
}

/** Everything about a credential but its secret. */
export interface CredentialShape {
  readonly kind: CredentialKind;
  /** basic, password: who. */
  readonly user: string | null;
  /** header: the field's name. query: the parameter's name. */
  readonly field: string | null;
  /** header: what stands before the value, as in `Token `. */
  readonly prefix: string | null;
  /** password: the database, where it is not the one that the agent names. */
  readonly database: string | null;
  /** clientCertificate: the certificate and its chain, PEM; the secret is the key. */
  readonly certificate: string | null;
}

/** As a source hands it out. oauth2ClientCredentials: the secret is the token; the client's own secret stays with the source. */
export interface IssuedCredential extends CredentialShape {
  readonly secret: Secret;
  /** Not used any more after so many milliseconds from now; null: not known. */
  readonly expiresInMs: number | null;
  /** Asked for again after so many milliseconds from now, while it still serves. */
  readonly refreshInMs: number;
}

/** As a lane holds it. Cannot be serialised: every way of printing it says "[credential]". */
export interface Credential extends CredentialShape {
  readonly name: string;
  /** Of this value: never the same for two values in one process. Part of the upstream pool's key. */
  readonly version: number;
  /** The secret: token, password or private key. Ask where it is written to the wire, and keep nothing of it. */
  reveal(): string;
  toJSON(): typeof SHOWN;
}

/** Why there is none. `unknown`: nobody has one of that name, or it may not be handed out here. `unavailable`: not now. */
export class CredentialFault extends Error {
  readonly why: "unknown" | "unavailable";
  constructor(why: CredentialFault["why"], message: string) {
    super(message);
    this.name = "CredentialFault";
    this.why = why;
  }
}

/** Which credential, and for what: it is asked for by the target that it will be put in for. */
export interface WantedCredential {
  readonly name: string;
  readonly target: string;
  /** The target's `binding`; "" where its bundle has none. */
  readonly binding: string;
  /** What was given before is no good any more: a token that could be given again is not. */
  readonly fresh: boolean;
}

/** Where credentials come from: one adapter for `sidegate run`, one for a cluster, one conformance suite for both. */
export interface CredentialSource {
  /** Rejects with a CredentialFault, or with whatever else went wrong (counts as unavailable); and on abort. */
  fetch(wanted: WantedCredential, signal: AbortSignal): Promise<IssuedCredential>;
  /** The value changed where it comes from; it is asked for again before its next use. `target` null: for every target. */
  onChanged(then: (name: string, target: string | null) => void): void;
  close(): void;
}

/** Between two processes. Whoever writes it writes a secret: to a pipe or a TLS connection, nowhere else. */
export function writeIssued(issued: IssuedCredential): Readonly<Record<string, unknown>> {
  const { secret, ...shape } = issued;
  return { ...shape, secret: secret.reveal() };
}

const MEMBERS = new Set("kind user field prefix database certificate secret expiresInMs refreshInMs".split(" "));
/** A PEM chain or an RSA key with room to spare; a token in a head must leave room for the rest. */
const MAX_PEM = 65_536;
const MAX_VALUE = 16_384;
const MAX_NAME = 128;
const MIN_REFRESH_MS = 1_000;
/** Echoed in an answer, a shorter one could not be told from other text, so it could not be masked. */
export const MIN_HTTP_SECRET = 6;

/** Throws a CredentialFault that says what is wrong, never the value. */
export function readIssued(value: unknown): IssuedCredential {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad("it is no object");
  const from = value as Record<string, unknown>;
  const unknown = Object.keys(from).find((member) => !MEMBERS.has(member));
  if (unknown !== undefined) throw bad("it has a member that is not known");
  const kind = CREDENTIAL_KINDS.find((known) => known === from["kind"]);
  if (kind === undefined) throw bad("its kind is not known");
  const isPem = kind === "clientCertificate";
  const secret = text(from["secret"], "the secret", isPem ? MAX_PEM : MAX_VALUE);
  const shape: CredentialShape = {
    kind,
    user: optional(from["user"], "user", MAX_NAME),
    field: optional(from["field"], "field", MAX_NAME),
    prefix: optional(from["prefix"], "prefix", MAX_NAME),
    database: optional(from["database"], "database", MAX_NAME),
    certificate: optional(from["certificate"], "certificate", MAX_PEM),
  };
  checkShape(shape, secret);
  return {
    ...shape,
    secret: new Secret(secret),
    expiresInMs: from["expiresInMs"] === null ? null : duration(from["expiresInMs"], "expiresInMs", 0),
    refreshInMs: duration(from["refreshInMs"], "refreshInMs", MIN_REFRESH_MS),
  };
}

/** Whether it can stand where its kind stands. Throws a CredentialFault. */
export function checkShape(shape: CredentialShape, secret: string): void {
  const { kind, user, field, prefix, certificate } = shape;
  switch (kind) {
    case "header":
      if (field === null || !TOKEN.test(field)) throw bad("a header needs the name of its field");
      if (FRAMING.has(field.toLowerCase())) throw bad(`${field} is not a field that can carry a credential`);
      if (prefix !== null && !VALUE.test(prefix)) throw bad("its prefix cannot stand in a header field");
      return checkHttp(secret);
    case "query":
      if (field === null || !/^[\w.~-]+$/.test(field)) throw bad("a query needs the name of its parameter");
      return checkHttp(secret);
    case "basic":
      if (user === null || user.includes(":") || !VALUE.test(user)) throw bad("basic needs a user, without a colon");
      return checkHttp(secret);
    case "bearer":
    case "oauth2ClientCredentials":
      return checkHttp(secret);
    case "password":
      if (secret.includes("\0") || user?.includes("\0") === true) throw bad("a password has no zero byte");
      return;
    case "clientCertificate":
      if (certificate?.startsWith("-----BEGIN CERTIFICATE-----") !== true) throw bad("its certificate is no PEM text");
      if (!/^-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/.test(secret)) throw bad("its key is no PEM text");
      if (!isPair(certificate, secret)) throw bad("its key does not belong to its certificate");
      return;
  }
}

// RFC 9110 section 5.1, 5.5: no control bytes, no space at either end
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;
const VALUE = /^[\x20-\x7e]*$/;
/** What decides framing, routing or the connection. */
const FRAMING = new Set(
  "host content-length transfer-encoding connection te trailer upgrade expect range accept-encoding keep-alive".split(
    " ",
  ),
);

function checkHttp(secret: string): void {
  if (!VALUE.test(secret) || secret.trim() !== secret) throw bad("its value cannot stand in a header field");
  if (secret.length < MIN_HTTP_SECRET) throw bad(`its value is shorter than ${MIN_HTTP_SECRET} characters`);
}

function isPair(certificate: string, key: string): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

function optional(value: unknown, what: string, max: number): string | null {
  return value === undefined || value === null ? null : text(value, what, max);
}

function text(value: unknown, what: string, max: number): string {
  if (typeof value !== "string" || value === "" || value.length > max) throw bad(`${what} is missing or too long`);
  return value;
}

function duration(value: unknown, what: string, min: number): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < min) throw bad(`${what} is no duration`);
  return value;
}

function bad(why: string): CredentialFault {
  return new CredentialFault("unavailable", `the credential cannot be used: ${why}`);
}
