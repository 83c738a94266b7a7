/**
 * From an agent's first byte to a session on both sides.
 *
 *   packets ─▶ (SSLRequest: upstream asked too, both legs secured) ─▶ StartupMessage ─▶ agent proven ─▶ upstream started ─▶ ready
 *
 * Towards the agent we are the server. TLS is offered as the upstream offers it: an agent that would fall back to plaintext with a
 * direct connection does so here, one that insists on TLS fails. Plaintext behind an SSLRequest is a fault (THREATS Q10).
 */
import type { DenialCode } from "#contract/denial.ts";
import { type Intake, NOT_NOW, type Taker } from "#sidecar/intake/intake.ts";
import type { Credential, Ports } from "#sidecar/seam/lane.ts";
import type { Chunk, Upstream } from "#sidecar/seam/leg.ts";
import { type AgentAuthentication, AgentProof, type Proof } from "./agent-proof.ts";
import type { CancelKeys, CancelTarget } from "./cancel-keys.ts";
import {
  AUTHENTICATION_OK,
  type Authentication,
  keyDataText,
  readNotice,
  readParameterStatus,
  readyText,
  type TransactionStatus,
} from "./codec/backend.ts";
import { isFault, type WireFault } from "./codec/fault.ts";
import { FRONTEND, readSaslInitial } from "./codec/frontend.ts";
import { MessageReader, type MessageTaker } from "./codec/reader.ts";
import { MAX_STARTUP_BYTES, negotiateText, readOpening, type Startup } from "./codec/startup.ts";
import { readInt32, utf8 } from "./codec/text.ts";
import { alikeText, KnownSession } from "./known-session.ts";
import type { PostgresLimits } from "./limits.ts";
import { Link, type LinkListener } from "./link.ts";
import type { Redact } from "./operations.ts";
import { errorText, refusalText } from "./refuse.ts";
import { type Identity, identityOf, reported, upstreamParameters } from "./settings.ts";
import { judgeSettings } from "./startup-settings.ts";
import { type StartOwner, UpstreamStart } from "./upstream-start.ts";

export interface Started {
  readonly upstream: Upstream;
  readonly link: Link;
  readonly identity: Identity;
  /** What was said in the startup message. */
  readonly parameters: readonly (readonly [string, string])[];
  readonly status: TransactionStatus;
  /** Of our own cancel key; null: the upstream gave none. */
  readonly cancelPid: number | null;
  /** What it may wait as for another connection of the agent's; null: it may not. */
  readonly known: KnownSession | null;
}

export interface OpeningOptions {
  readonly ports: Ports;
  readonly limits: PostgresLimits;
  readonly random: (bytes: number) => Uint8Array;
  readonly keys: CancelKeys;
  readonly intake: Intake;
  readonly authentication: AgentAuthentication;
  /** Maps who the agent says it is to who is asked for upstream. */
  readonly identity: (asked: Identity, credential: Credential | null) => Identity;
  readonly redact: Redact;
  readonly started: (started: Started) => void;
  readonly cancel: (target: CancelTarget | null) => void;
  /** The agent has been told; nothing goes on. */
  readonly refused: () => void;
}

type State =
  | "packets" // SSLRequest, GSSENCRequest, CancelRequest, StartupMessage
  | "asking-tls" // the upstream's answer decides ours
  | "securing"
  | "connecting"
  | "proving" // the agent is asked for its placeholder
  | "authenticating" // the upstream asks the agent itself
  | "starting"
  | "renewing" // another credential is being fetched
  | "over";

/** Protocol 3.0 has keys of four bytes; 3.2 takes any length. */
const KEY_BYTES = { old: 4, new: 32 } as const;
const NEWEST_MINOR = 2;
const INVALID_PASSWORD = "28P01";

/** Nobody hears a session between the pool and the conversation: nothing is said in that time. */
const NOBODY: LinkListener = { data() {}, drained() {}, ended() {}, failed() {} };

export class Opening implements Taker, MessageTaker, StartOwner {
  readonly ports: Ports;
  readonly limits: PostgresLimits;
  readonly random: (bytes: number) => Uint8Array;
  readonly #options: OpeningOptions;
  readonly #messages: MessageReader;
  #state: State = "packets";
  #packet = "";
  #askedTls = false;
  #askedGss = false;
  #start: UpstreamStart | null = null;
  #upstreamSecure = false;
  #startup: Startup | null = null;
  /** Who the agent says it is, and who is asked for upstream. */
  #asked: Identity = { user: "", database: "" };
  #identity: Identity = { user: "", database: "" };
  #parameters: readonly (readonly [string, string])[] = [];
  #minor = 0;
  #negotiated = false;
  #credential: Credential | null = null;
  #proof: AgentProof | null = null;
  #saslBegins = false;
  #waiting = false;
  /** Our last word of the agent's authentication, in front of AuthenticationOk. */
  #proved = "";
  /** For the agent, together with ReadyForQuery. */
  #said = "";
  #cancelPid: number | null = null;
  /** Of a session that is logged in with a credential of ours. */
  #known: KnownSession | null = null;
  #renewed = false;
  /** What the agent is told as soon as it can read it. */
  #refusal: string | null = null;

  constructor(options: OpeningOptions) {
    this.#options = options;
    this.ports = options.ports;
    this.limits = options.limits;
    this.random = options.random;
    this.#messages = new MessageReader(this, options.limits.passwordBytes);
  }

  // --- Taker ----------------------------------------------------------------------------------------------------------------

  take(chunk: Chunk, from: number): number {
    switch (this.#state) {
      case "packets":
        return this.#takePacket(chunk, from);
      case "proving":
      case "authenticating": {
        if (this.#waiting) return NOT_NOW;
        const next = this.#messages.read(chunk, from);
        if (typeof next !== "string") return next;
        this.#protocolError(next);
        return chunk.length;
      }
      case "over":
        return chunk.length;
      default:
        return NOT_NOW;
    }
  }

  /** The agent's leg is secured. */
  secured(): void {
    if (this.#state === "securing") this.#state = "packets";
  }

  /** The agent has left, or the connection was ended by us. */
  close(): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#start?.close();
    if (this.#cancelPid !== null) this.#options.keys.forget(this.#cancelPid);
  }

  /** Nothing that the agent could be waiting for is under way: it has to say something. */
  refuse(code: DenialCode, why: string, state?: string): void {
    if (this.#state === "over") return;
    const refusal = this.ports.judge.refuse(code, why, null);
    this.#tellLast(state === undefined ? refusalText(refusal, "FATAL") : errorText("FATAL", state, refusal.message));
  }

  // --- packets without a type -----------------------------------------------------------------------------------------------

  #takePacket(chunk: Chunk, from: number): number {
    const wanted = this.#packet.length < 4 ? 4 : readInt32(this.#packet, 0);
    const to = Math.min(chunk.length, from + wanted - this.#packet.length);
    this.#packet += chunk.latin1(from, to);
    if (this.#packet.length < 4) return to;
    const length = readInt32(this.#packet, 0);
    if (length < 8 || length > MAX_STARTUP_BYTES) {
      this.#protocolError("length");
      return chunk.length;
    }
    if (this.#packet.length < length) return to;
    const packet = this.#packet;
    this.#packet = "";
    this.#opened(packet, to < chunk.length);
    return to;
  }

  #opened(packet: string, more: boolean): void {
    const opening = readOpening(packet);
    const { agent, peer } = this.ports;
    switch (opening.kind) {
      case "ssl":
        if (this.#askedTls || agent.tls !== null) return this.#protocolError("type");
        this.#askedTls = true;
        if (more) return this.#protocolError("type", "plaintext behind SSLRequest");
        if (peer.target.tls === "none") {
          agent.write("N");
          return;
        }
        this.#state = "asking-tls";
        this.#start = new UpstreamStart(this, true);
        return;
      case "gssenc":
        if (this.#askedGss || agent.tls !== null) return this.#protocolError("type");
        this.#askedGss = true;
        if (more) return this.#protocolError("type", "plaintext behind GSSENCRequest");
        agent.write("N");
        return;
      case "cancel":
        this.#state = "over";
        this.#start?.close();
        this.#options.cancel(this.#options.keys.find(opening.pid, opening.key));
        return;
      case "version":
        return this.refuse("protocol_violation", `protocol ${opening.major}.${opening.minor}`, "0A000");
      case "malformed":
        return this.#protocolError("text");
      case "startup":
        return this.#begin(opening.startup);
    }
  }

  #begin(startup: Startup): void {
    if (this.#refusal !== null) return this.#tellLast(this.#refusal);
    const { peer, agent, connect } = this.ports;
    const asked = identityOf(startup.parameters);
    if (asked === null) return this.refuse("protocol_violation", "no user name", "28000");
    this.#asked = asked;
    this.#credential = this.ports.credential(connect);
    if (this.#credential === null && peer.target.credential !== undefined) return this.refuse("credential_missing", "");
    if (!this.#prepare(startup, this.#credential)) return;
    if (this.#credential === null) return this.#connect();
    const authentication = this.#options.authentication;
    const endPoint = agent.tls?.endPoint ?? null;
    this.#proof = new AgentProof({ authentication, user: asked.user, endPoint, random: this.random });
    const { request } = this.#proof;
    if (request === null) return this.#connect();
    this.#state = "proving";
    agent.write(this.#negotiation() + request);
  }

  /** Who is asked for upstream, with which settings. False: the agent was refused. */
  #prepare(startup: Startup, credential: Credential | null): boolean {
    const { ports } = this;
    this.#identity = this.#options.identity(this.#asked, credential);
    const parameters = upstreamParameters(startup.parameters, this.#identity, ports.peer.target.readOnly === true);
    if (parameters.kind === "refused") {
      this.refuse(parameters.code, parameters.why, "0A000");
      return false;
    }
    const refusal = judgeSettings(parameters.judged, this.#identity, ports.judge, this.#options.redact);
    if (refusal !== null) {
      this.#tellLast(refusalText(refusal, "FATAL"));
      return false;
    }
    this.#parameters = parameters.parameters;
    this.#startup = startup;
    this.#minor = Math.min(startup.minor, NEWEST_MINOR);
    return true;
  }

  #connect(): void {
    this.#state = "connecting";
    if (this.#credential !== null && this.#resume()) return;
    if (this.#start !== null) return this.connected(this.#upstreamSecure);
    const { peer } = this.ports;
    this.#start = new UpstreamStart(
      this,
      this.#mustSecure() || (peer.secure && peer.target.tls !== "none") || this.#credential !== null,
    );
  }

  /** The agent spoke TLS, or the target demands it: nothing of it goes on in the clear, unless the admin said so. */
  #mustSecure(): boolean {
    const { peer, agent } = this.ports;
    if (peer.target.upstream?.tls === true) return true;
    return agent.tls !== null && peer.target.insecureCredential !== true;
  }

  // --- the agent's password -------------------------------------------------------------------------------------------------

  begins(type: number, length: number): "gather" | WireFault {
    if (type !== FRONTEND.password) return "type";
    return length <= this.limits.passwordBytes ? "gather" : "length";
  }

  piece(): WireFault {
    return "length";
  }

  whole(_type: number, chunk: Chunk, from: number, to: number): WireFault | null {
    const body = chunk.latin1(from + 5, to);
    if (this.#state === "proving") return this.#proven(body);
    // SCRAM's "y": the client would bind, and must take our offer for a downgrade. The server would refuse it, less plainly.
    if (this.#saslBegins) {
      const read = readSaslInitial(body);
      if (isFault(read)) return read;
      if (this.#upstreamSecure && read.data.startsWith("y")) {
        this.refuse("channel_binding", "");
        return null;
      }
    }
    this.#saslBegins = false;
    this.#waiting = true;
    this.#start?.answer(chunk.latin1(from, to));
    return null;
  }

  #proven(body: string): null {
    const answer = this.#proof?.answer(body) ?? ({ kind: "refused" } as const);
    if (!(answer instanceof Promise)) {
      this.#judged(answer);
      return null;
    }
    this.#waiting = true;
    const goOn = (proof: Proof): void =>
      this.ports.committed(() => {
        this.#waiting = false;
        if (this.#state !== "proving") return;
        this.#judged(proof);
        this.#options.intake.pump();
      });
    answer.then(goOn, () => goOn({ kind: "refused" }));
    return null;
  }

  #judged(proof: Proof): void {
    switch (proof.kind) {
      case "say":
        this.ports.agent.write(proof.text);
        return;
      case "proven":
        this.#proved = proof.text;
        this.#connect();
        return;
      case "refused":
        this.refuse("placeholder_wrong", "", "28P01");
    }
  }

  // --- StartOwner -----------------------------------------------------------------------------------------------------------

  connected(secured: boolean): void {
    const { agent, peer } = this.ports;
    this.#upstreamSecure = secured;
    if (this.#state === "asking-tls") {
      if (!secured && peer.target.upstream?.tls === true) return this.failed("upstream_tls", "the upstream has no TLS");
      if (!secured && peer.target.insecureCredential !== true) {
        agent.write("N");
        this.#state = "packets";
        this.#options.intake.pump();
        return;
      }
      this.#answerTls();
      return;
    }
    if (this.#startup === null) return;
    if (!secured && this.#mustSecure()) return this.failed("upstream_tls", "the upstream has no TLS");
    this.#state = "starting";
    this.#known =
      this.#credential === null || !secured ? null : new KnownSession(alikeText(this.#identity, this.#parameters));
    this.#start?.start({ minor: this.#minor, parameters: this.#parameters }, this.#identity.user, this.#credential);
  }

  #answerTls(): void {
    if (!this.#options.intake.empty) return this.#protocolError("type", "plaintext behind SSLRequest");
    this.#state = "securing";
    this.ports.agent.write("S");
    this.ports.agent.startTls(["postgresql"]);
  }

  authentication(request: Authentication, text: string): void {
    this.#waiting = false;
    if (request.kind === "ok") {
      this.#state = "starting";
      this.#said += text;
      return;
    }
    if (request.kind === "sasl" && request.mechanisms.length === 0)
      return this.failed("upstream_malformed", "no SASL mechanism that goes through");
    this.#state = "authenticating";
    this.#saslBegins = request.kind === "sasl";
    // Nothing more is asked of the agent behind a SASLFinal.
    this.#waiting = request.kind === "sasl-final";
    this.ports.agent.write(this.#negotiation() + text);
    this.#options.intake.pump();
  }

  told(text: string): void {
    this.#said += text;
    const status = text.startsWith("S") ? readParameterStatus(text.slice(5)) : null;
    if (status !== null) this.#known?.statuses.set(status.name, text);
  }

  parameter(name: string, value: string): string | null {
    return reported(name, value, this.ports.peer.target.readOnly === true);
  }

  keyData(pid: number, key: string): void {
    const { host, port } = this.ports.peer;
    const known = this.#known;
    if (known !== null) known.key = { pid, key };
    const sent = (): void => {
      if (known !== null) known.tainted = true;
    };
    const made = this.#options.keys.make(
      { host, port, secure: this.#upstreamSecure, pid, key, sent },
      this.#minor >= 2 ? KEY_BYTES.new : KEY_BYTES.old,
    );
    this.#cancelPid = made.pid;
    this.#said += keyDataText(made.pid, made.key);
  }

  ready(status: TransactionStatus): void {
    if (this.#state !== "starting" || this.#start === null) return;
    this.#goOn(this.#start, status);
  }

  /** Goes on with a session that waits for exactly this. False: there is none. */
  #resume(): boolean {
    const { ports } = this;
    const link = new Link(NOBODY);
    const found = ports.resume?.(ports.connect, alikeText(this.#identity, this.#parameters), link) ?? null;
    if (found === null) return false;
    const { known, upstream } = found;
    if (!(known instanceof KnownSession)) {
      upstream.reset();
      return false;
    }
    this.#start?.leave();
    this.#known = known;
    this.#upstreamSecure = true;
    this.#said += known.told;
    if (known.key !== null) this.keyData(known.key.pid, known.key.key);
    this.#goOn({ upstream, link }, "I");
    return true;
  }

  #goOn({ upstream, link }: Pick<Started, "upstream" | "link">, status: TransactionStatus): void {
    this.#state = "over";
    const greeting = this.#credential === null ? "" : this.#proved + AUTHENTICATION_OK;
    this.ports.agent.write(this.#negotiation() + greeting + this.#said + readyText(status));
    this.#options.started({
      upstream,
      link,
      identity: this.#identity,
      parameters: this.#parameters,
      status,
      cancelPid: this.#cancelPid,
      known: this.#known,
    });
  }

  /** A credential may have been changed since it was fetched: the upstream's word for a wrong one is a reason to ask for it once more. */
  rejected(text: string): void {
    const startup = this.#startup;
    const wrong = readNotice(text.slice(5))?.get("C") === INVALID_PASSWORD;
    if (this.#credential === null || startup === null || this.#renewed || !wrong) return this.#tellLast(text);
    this.#renewed = true;
    this.#state = "renewing";
    this.#start = null;
    // What the upstream said so far was said to somebody who did not get in.
    this.#said = "";
    this.ports.renew(this.ports.connect, (found) => {
      if (this.#state !== "renewing") return;
      if (found === null) return this.#tellLast(text);
      this.#credential = found;
      if (this.#prepare(startup, found)) this.#connect();
    });
  }

  failed(code: DenialCode, why: string): void {
    if (this.#state === "asking-tls") {
      // The agent can read why only in an ErrorResponse to its StartupMessage, inside TLS where it wants it.
      const refusal = this.ports.judge.refuse(code, why, null);
      this.#refusal = refusalText(refusal, "FATAL");
      this.#start = null;
      this.#answerTls();
      return;
    }
    if (this.#state === "packets" || this.#state === "securing") {
      // It was connected for an SSLRequest and has gone since.
      this.#refusal = refusalText(this.ports.judge.refuse(code, why, null), "FATAL");
      return;
    }
    this.refuse(code, why);
  }

  /**
   * Told once, before anything else, where the client asked for more than we speak. What the upstream speaks is another matter: all
   * that 3.2 changes is the length of cancel keys, and those are ours.
   */
  #negotiation(): string {
    const asked = this.#startup;
    if (asked === null || this.#negotiated) return "";
    this.#negotiated = true;
    const unknown = asked.parameters.map(([name]) => name).filter((name) => name.startsWith("_pq_."));
    return asked.minor > NEWEST_MINOR || unknown.length > 0 ? negotiateText(this.#minor, unknown) : "";
  }

  #protocolError(fault: WireFault, why: string = fault): void {
    this.refuse("protocol_violation", why);
  }

  #tellLast(text: string): void {
    this.close();
    this.ports.agent.write(text);
    this.ports.agent.end();
    this.#options.refused();
  }
}

/** The credential's user and database where it names them, else the agent's. */
export function credentialIdentity(asked: Identity, credential: Credential | null): Identity {
  if (credential === null) return asked;
  return {
    user: credential.user === null ? asked.user : utf8(credential.user),
    database: credential.database === null ? asked.database : utf8(credential.database),
  };
}
