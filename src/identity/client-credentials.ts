/**
 * OAuth 2.0 client credentials (RFC 6749 section 4.4): the parent of a run, or the controller, logs in at the token endpoint; the sidecar
 * gets the token and how long it is good, never the client's own secret.
 *
 * Fails closed: https only, no redirect is followed, and an answer that is not a bearer token is none. Nothing of an answer, and nothing
 * of the secret, is in any error.
 */
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import type { LookupFunction } from "node:net";
import { getCACertificates } from "node:tls";
import { CredentialFault } from "#contract/credential.ts";

export interface TokenRequest {
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly scope: string | null;
  readonly audience: string | null;
  /** Where client id and secret go: an Authorization field (section 2.3.1), or the form. */
  readonly auth: "basic" | "body";
  /** PEM; trusted instead of the machine's roots. */
  readonly ca: string | null;
  /** In place of the machine's own resolution; not asked where the URL has an address. */
  readonly lookup?: LookupFunction;
}

export interface Token {
  readonly value: string;
  /** Null: the server did not say. */
  readonly expiresInMs: number | null;
}

const LIMIT_MS = 9_000;
const MAX_BYTES = 65_536;
const MAX_EXPIRES_S = 31_536_000;

/** Rejects with a CredentialFault. */
export async function fetchToken(asked: TokenRequest): Promise<Token> {
  const url = new URL(asked.tokenUrl);
  if (url.protocol !== "https:") throw unavailable("a token endpoint is reached by https only");
  const form = new URLSearchParams({ grant_type: "client_credentials" });
  if (asked.scope !== null) form.set("scope", asked.scope);
  if (asked.audience !== null) form.set("audience", asked.audience);
  const headers: Record<string, string> = {
    "content-type": "application/x-www-form-urlencoded",
    accept: "application/json",
  };
  if (asked.auth === "body") {
    form.set("client_id", asked.clientId);
    form.set("client_secret", asked.clientSecret);
  } else headers["authorization"] = `Basic ${loginOf(asked)}`;
  const { status, body } = await post(url, headers, form.toString(), asked);
  if (status !== 200) throw unavailable(`the token endpoint of ${url.host} answered ${status}`);
  return readToken(body, url.host);
}

/** Section 2.3.1: both are form-encoded first. */
function loginOf({ clientId, clientSecret }: TokenRequest): string {
  const encode = (text: string): string => new URLSearchParams({ x: text }).toString().slice(2);
  return Buffer.from(`${encode(clientId)}:${encode(clientSecret)}`).toString("base64");
}

function readToken(body: string, host: string): Token {
  const bad = (what: string): CredentialFault => unavailable(`the token endpoint of ${host} gave ${what}`);
  let answer: unknown;
  try {
    answer = JSON.parse(body);
  } catch {
    // A syntax error would quote what it could not read.
    throw bad("no JSON");
  }
  if (typeof answer !== "object" || answer === null) throw bad("no object");
  const { access_token: value, token_type: type, expires_in: seconds } = answer as Record<string, unknown>;
  if (typeof value !== "string" || value === "") throw bad("no access token");
  if (typeof type !== "string" || type.toLowerCase() !== "bearer") throw bad("a token that is no bearer token");
  if (seconds === undefined || seconds === null) return { value, expiresInMs: null };
  const number = Number(seconds);
  if (!(number > 0 && number <= MAX_EXPIRES_S)) throw bad("a token that is not good for a time");
  return { value, expiresInMs: number * 1_000 };
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

function post(
  url: URL,
  headers: Record<string, string>,
  body: string,
  { ca, lookup }: Pick<TokenRequest, "ca" | "lookup">,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const lost = (): void => reject(unavailable(`the token endpoint of ${url.host} could not be reached`));
    const roots = ca ?? [...new Set([...getCACertificates("default"), ...getCACertificates("system")])];
    const asked = request(
      url,
      {
        method: "POST",
        headers: { ...headers, "content-length": Buffer.byteLength(body) },
        ca: roots,
        agent: false,
        rejectUnauthorized: true,
        ...(lookup === undefined ? {} : { lookup }),
        signal: AbortSignal.timeout(LIMIT_MS),
      },
      (response: IncomingMessage) => {
        const pieces: Buffer[] = [];
        let length = 0;
        response.on("data", (piece: Buffer) => {
          length += piece.length;
          if (length <= MAX_BYTES) pieces.push(piece);
          else asked.destroy(new Error("too long"));
        });
        response.once("end", () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(pieces).toString("utf8") }),
        );
        response.once("error", lost);
      },
    );
    asked.once("error", lost);
    asked.end(body);
  });
}

function unavailable(why: string): CredentialFault {
  return new CredentialFault("unavailable", why);
}
