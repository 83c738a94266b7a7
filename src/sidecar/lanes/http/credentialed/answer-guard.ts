/**
 * Keeps what authenticates out of an agent's hands on the way back from a target with a credential of ours: authenticators that the
 * upstream hands out (Set-Cookie, X-Auth-Token, …; THREATS H5) end here, and an answer that shows the credential that was put in is
 * covered where it does, in its head, its body and its trailers (THREATS H3), without a change of length.
 *
 * Fails closed: an answer in a coding that was not asked for cannot be looked through, and is not passed on.
 */
import type { Credential } from "#contract/credential.ts";
import { isAuthenticatorName } from "#mask/authenticators.ts";
import { coverText, type Echo, EchoStream, echoOf } from "#mask/echo.ts";
import type { AnswerHead } from "../codec/answer-head.ts";
import { echoesOf } from "./inject.ts";

/** Made once a value. A wiped credential's are gone with it. */
const ECHOES = new WeakMap<Credential, Echo>();

function echoFor(credential: Credential): Echo {
  let echo = ECHOES.get(credential);
  if (echo === undefined) {
    echo = echoOf(echoesOf(credential));
    ECHOES.set(credential, echo);
  }
  return echo;
}

export class AnswerGuard {
  readonly #echo: Echo | null;
  /** The body's; null: nothing to look for. */
  readonly stream: EchoStream | null;
  #covered = 0;
  #taken = 0;

  /** `credential`: what was put in; null: nothing was. */
  constructor(credential: Credential | null) {
    const echo = credential === null ? null : echoFor(credential);
    this.#echo = echo === null || echo.forms.length === 0 ? null : echo;
    this.stream = this.#echo === null ? null : new EchoStream(this.#echo);
  }

  /** Whether the body would come in a form that cannot be looked through. */
  hides({ block, body }: AnswerHead): boolean {
    if (this.#echo === null || body === "none") return false;
    return block.fields.some(
      ([name, value]) => name.toLowerCase() === "content-encoding" && !/^(?:identity|)$/i.test(value),
    );
  }

  /** `text`: a head as it would be passed on, with its empty line; or a trailer section without one. */
  head(text: string): string {
    const lines = text.split("\r\n");
    const kept = lines.filter((line, i) => i === 0 || !handsOut(line));
    this.#taken += lines.length - kept.length;
    return this.#cover(kept.join("\r\n"));
  }

  trailers(text: string): string {
    const lines = text.split("\r\n");
    const kept = lines.filter((line) => !handsOut(line));
    this.#taken += lines.length - kept.length;
    return this.#cover(kept.join("\r\n"));
  }

  /** Values that were covered or taken out so far. */
  get masked(): number {
    return this.#covered + this.#taken + (this.stream?.found ?? 0);
  }

  get findings(): readonly string[] {
    const found: string[] = [];
    if (this.#covered > 0 || (this.stream?.found ?? 0) > 0) found.push("credential-echoed");
    if (this.#taken > 0) found.push("authenticator-withheld");
    return found;
  }

  #cover(text: string): string {
    if (this.#echo === null) return text;
    const covered = coverText(this.#echo, text);
    if (covered !== text) this.#covered++;
    return covered;
  }
}

function handsOut(line: string): boolean {
  const colon = line.indexOf(":");
  return colon > 0 && isAuthenticatorName(line.slice(0, colon));
}
