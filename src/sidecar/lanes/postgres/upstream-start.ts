/**
 * The way to a session on the upstream: connect, TLS in-band, startup message, authentication, up to its first ReadyForQuery.
 *
 *   dialing ─▶ asking-tls ─▶ securing ─▶ connected ─▶ authenticating ─▶ starting ─▶ (ready)
 *
 * A credential is revealed over verified TLS only, and to a server that proves that it knows it (SCRAM), unless the target says
 * `insecureCredential`. What is said before TLS is established is a fault.
 */
import type { DenialCode } from "#contract/denial.ts";
import { KeptChunk } from "#core/kept-chunk.ts";
import { md5Password } from "#sasl/md5.ts";
import { ScramClient } from "#sasl/scram-client.ts";
import { SCRAM_SHA_256, SCRAM_SHA_256_PLUS } from "#sasl/scram-keys.ts";
import type { Credential, Ports } from "#sidecar/seam/lane.ts";
import type { Chunk, LegFault, Upstream } from "#sidecar/seam/leg.ts";
import {
  type Authentication,
  BACKEND,
  readAuthentication,
  readKeyData,
  readNegotiation,
  readParameterStatus,
  readReady,
  saslRequestText,
  type TransactionStatus,
} from "./codec/backend.ts";
import type { WireFault } from "./codec/fault.ts";
import { passwordText, saslInitialText, saslResponseText } from "./codec/frontend.ts";
import { MessageReader, type MessageTaker } from "./codec/reader.ts";
import { SSL_REQUEST, type Startup, startupText } from "./codec/startup.ts";
import { fromUtf8, utf8 } from "./codec/text.ts";
import type { PostgresLimits } from "./limits.ts";
import { Link, type LinkListener } from "./link.ts";

export interface StartOwner {
  readonly ports: Ports;
  readonly limits: PostgresLimits;
  readonly random: (bytes: number) => Uint8Array;
  /** Connected, with or without TLS; `start` may be called. */
  connected(secured: boolean): void;
  /** Without a credential: what the upstream asks of the agent itself, as a message for it. */
  authentication(request: Authentication, text: string): void;
  /** For the agent as it is: ParameterStatus, NoticeResponse. */
  told(text: string): void;
  parameter(name: string, value: string): string | null;
  keyData(pid: number, key: string): void;
  /** Its ReadyForQuery: the link is the owner's from here on. */
  ready(status: TransactionStatus): void;
  /** An ErrorResponse, as it is; the upstream ends behind it. */
  rejected(text: string): void;
  failed(code: DenialCode, why: string): void;
}

type State = "dialing" | "asking-tls" | "securing" | "connected" | "authenticating" | "starting" | "over";

export class UpstreamStart implements LinkListener, MessageTaker {
  readonly link: Link;
  readonly #owner: StartOwner;
  readonly #messages: MessageReader;
  readonly #wantsTls: boolean;
  #upstream: Upstream | null = null;
  #state: State = "dialing";
  #credential: Credential | null = null;
  #user = "";
  #scram: ScramClient | null = null;
  /** The server has proven that it knows the credential. */
  #proven = false;
  #deriving = false;
  #messagesBytes = 0;

  /** Dials at once. `tls`: ask the upstream for it. */
  constructor(owner: StartOwner, tls: boolean) {
    this.#owner = owner;
    this.#wantsTls = tls;
    this.#messages = new MessageReader(this, owner.limits.answerBytes);
    this.link = new Link(this);
    const { ports } = owner;
    const upstream = ports.dial(ports.connect, "forward", this.link, true);
    if (this.#state === "over") upstream.reset();
    else this.#upstream = upstream;
  }

  get upstream(): Upstream {
    if (this.#upstream === null) throw new Error("no upstream yet");
    return this.#upstream;
  }

  /** `credential` null: the agent authenticates itself. `user`: the upstream's. */
  start(startup: Startup, user: string, credential: Credential | null): void {
    const { target } = this.#owner.ports.peer;
    if (credential !== null && this.upstream.tls === null && target.insecureCredential !== true)
      return this.#fail("credential_refused", "the upstream has no TLS");
    this.#credential = credential;
    this.#user = user;
    this.#state = "authenticating";
    this.upstream.write(this.#owner.ports.connect, startupText(startup));
  }

  /** What the agent says to an authentication request; `body` as it is. */
  answer(message: string): void {
    this.upstream.write(this.#owner.ports.connect, message);
  }

  close(): void {
    this.#state = "over";
    this.#upstream?.reset();
  }

  /** It is not needed after all; nothing was asked of it. */
  leave(): void {
    this.#state = "over";
    this.#upstream?.release(false);
  }

  // --- LinkListener -------------------------------------------------------------------------------------------------------

  opened(): void {
    if (this.#state !== "dialing") return;
    if (!this.#wantsTls) return this.#connected(false);
    this.#state = "asking-tls";
    this.upstream.write(this.#owner.ports.connect, SSL_REQUEST);
  }

  secured(): void {
    if (this.#state === "securing") this.#connected(true);
  }

  drained(): void {}

  data(chunk: Chunk): void {
    switch (this.#state) {
      case "asking-tls":
        return this.#tlsAnswer(chunk);
      case "authenticating":
      case "starting":
        return this.#read(chunk);
      case "over":
        return;
      default:
        this.#fail("upstream_malformed", "it spoke before it was asked");
    }
  }

  ended(): void {
    this.#fail("upstream_unreachable", "it ended during the start-up");
  }

  failed(fault: LegFault): void {
    const [code, why] = faultCode(fault);
    this.#fail(code, why);
  }

  // --- TLS ----------------------------------------------------------------------------------------------------------------

  // One byte, not a message (manual: SSL Session Encryption). More than one came from somebody between.
  #tlsAnswer(chunk: Chunk): void {
    const answer = chunk.latin1(0, 1);
    if (chunk.length > 1) return this.#fail("upstream_tls", "plaintext before TLS");
    if (answer === "S") {
      this.#state = "securing";
      this.upstream.startTls(["postgresql"]);
    } else if (answer === "N") this.#connected(false);
    else this.#fail("upstream_malformed", "the answer to SSLRequest");
  }

  #connected(secured: boolean): void {
    this.#state = "connected";
    this.#owner.connected(secured);
  }

  // --- messages -----------------------------------------------------------------------------------------------------------

  #read(chunk: Chunk): void {
    let at = 0;
    while (at < chunk.length && this.#state !== "over") {
      // Behind its ReadyForQuery the link is the owner's.
      if (this.#state === "connected") {
        if (this.link.to !== this) this.link.to.data(new KeptChunk(chunk.slice(at, chunk.length)));
        return;
      }
      const next = this.#messages.read(chunk, at);
      if (typeof next === "string") return this.#fail("upstream_malformed", next);
      at = next;
    }
  }

  begins(_type: number, length: number): "gather" | WireFault {
    this.#messagesBytes += length;
    const { answerBytes } = this.#owner.limits;
    return length > answerBytes || this.#messagesBytes > 8 * answerBytes ? "length" : "gather";
  }

  piece(): WireFault {
    return "length";
  }

  whole(type: number, chunk: Chunk, from: number, to: number): WireFault | null {
    const text = chunk.latin1(from, to);
    const body = text.slice(5);
    switch (type) {
      case BACKEND.authentication:
        return this.#authentication(body, text);
      case BACKEND.negotiateProtocolVersion: {
        // An older minor version changes nothing that we use.
        return readNegotiation(body) === null || this.#state !== "authenticating" ? "type" : null;
      }
      case BACKEND.errorResponse:
        this.#state = "over";
        this.upstream.reset();
        this.#owner.rejected(text);
        return null;
      case BACKEND.noticeResponse:
        this.#owner.told(text);
        return null;
    }
    if (this.#state !== "starting") return "type";
    switch (type) {
      case BACKEND.parameterStatus: {
        const read = readParameterStatus(body);
        if (read === null) return "text";
        const why = this.#owner.parameter(read.name, read.value);
        if (why === null) this.#owner.told(text);
        else this.#fail("setting_pinned", why);
        return null;
      }
      case BACKEND.backendKeyData: {
        const read = readKeyData(body);
        if (read === null) return "length";
        this.#owner.keyData(read.pid, read.key);
        return null;
      }
      case BACKEND.readyForQuery: {
        const status = readReady(body);
        if (status === null) return "type";
        this.#state = "connected";
        this.#owner.ready(status);
        return null;
      }
      default:
        return "type";
    }
  }

  // --- authentication -----------------------------------------------------------------------------------------------------

  #authentication(body: string, text: string): WireFault | null {
    const request = readAuthentication(body);
    if (request === null || this.#state !== "authenticating") return "type";
    if (this.#deriving) return "type";
    if (this.#credential === null) {
      if (request.kind === "ok") this.#state = "starting";
      if (request.kind !== "sasl") {
        this.#owner.authentication(request, text);
        return null;
      }
      // Binding is to the certificate that the client sees, and that is ours.
      const mechanisms = request.mechanisms.filter((name) => !name.endsWith("-PLUS"));
      this.#owner.authentication({ kind: "sasl", mechanisms }, saslRequestText(mechanisms));
      return null;
    }
    this.#prove(request, this.#credential);
    return null;
  }

  #prove(request: Authentication, credential: Credential): void {
    const { ports, random } = this.#owner;
    const { tls } = this.upstream;
    const insecure = ports.peer.target.insecureCredential === true;
    const weak = (what: string): boolean => {
      if (insecure) return false;
      this.#fail("credential_refused", `the upstream asks for ${what}`);
      return true;
    };
    switch (request.kind) {
      case "ok":
        if (!this.#proven && weak("no proof at all")) return;
        this.#state = "starting";
        return;
      case "cleartext":
        if (weak("the password in clear text")) return;
        this.#proven = true;
        this.answer(passwordText(utf8(credential.reveal())));
        return;
      case "md5":
        if (weak("md5")) return;
        this.#proven = true;
        this.answer(
          passwordText(
            md5Password(fromUtf8(this.#user) ?? "", credential.reveal(), Buffer.from(request.salt, "latin1")),
          ),
        );
        return;
      case "sasl": {
        const plus = request.mechanisms.includes(SCRAM_SHA_256_PLUS) && tls?.endPoint != null;
        if (!plus && !request.mechanisms.includes(SCRAM_SHA_256))
          return this.#fail("credential_refused", `the upstream offers ${request.mechanisms.join(", ")}`);
        this.#scram = new ScramClient({
          password: credential.reveal(),
          nonce: random(18),
          endPoint: plus ? (tls?.endPoint ?? null) : null,
        });
        this.answer(saslInitialText(this.#scram.mechanism, this.#scram.first));
        return;
      }
      case "sasl-continue":
        if (this.#scram === null) return this.#fail("upstream_malformed", "SASL out of turn");
        return this.#derive(this.#scram, request.data);
      case "sasl-final": {
        const fault = this.#scram === null ? "malformed" : this.#scram.verify(request.data);
        if (fault !== null) return this.#fail("credential_refused", `SCRAM: ${fault}`);
        this.#proven = true;
        return;
      }
      case "other":
        return this.#fail("credential_refused", `the upstream asks for authentication ${request.code}`);
    }
  }

  /** Off the event loop; `committed` brings it back to where a bug costs this connection only. */
  #derive(scram: ScramClient, serverFirst: string): void {
    this.#deriving = true;
    const { ports } = this.#owner;
    const goOn = (answer: Awaited<ReturnType<ScramClient["answer"]>>): void =>
      ports.committed(() => {
        this.#deriving = false;
        if (this.#state !== "authenticating") return;
        if (typeof answer === "string") this.#fail("credential_refused", `SCRAM: ${answer}`);
        else this.answer(saslResponseText(answer.final));
      });
    scram.answer(serverFirst).then(goOn, () => goOn("malformed"));
  }

  #fail(code: DenialCode, why: string): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#scram = null;
    this.#upstream?.reset();
    this.#owner.failed(code, why);
  }
}

export function faultCode(fault: LegFault): readonly [DenialCode, string] {
  switch (fault) {
    case "unresolved":
      return ["upstream_unresolved", ""];
    case "timeout":
      return ["upstream_timeout", ""];
    case "audit":
      return ["audit_failed", ""];
    case "tls-bad-upstream":
    case "tls-name":
    case "plaintext-before-tls":
      return ["upstream_tls", fault];
    default:
      return ["upstream_unreachable", fault];
  }
}
