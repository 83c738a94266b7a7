/**
 * READ THIS FIRST. The way of a connection, from the kernel to a lane:
 *
 *   Accepted ─▶ Addressed ─▶ Detected ─▶ Admitted ─▶ Opened ─▶ lane ⇄ judge ─▶ upstream
 *
 * Accepted: the agent's leg and where it wanted to go. Addressed: exactly one name and target. Detected: what the first bytes
 * are. Admitted: the judge allowed `connect`. Opened: TLS answered with a leaf for that name, the lane chosen. A stage takes
 * the type of the stage before. Every way out that is not the next stage is a refusal with a record.
 */
import type { DenialCode } from "#contract/denial.ts";
import { LIMITS } from "#contract/limits.ts";
import type { Target } from "#contract/target.ts";
import { quote } from "#core/json-text.ts";
import type { OpenConnections } from "./connections.ts";
import { hidesName } from "./detect/client-hello.ts";
import type { ConnectionJudge, Judges } from "./judge/judges.ts";
import type { ConnectionMeters } from "./meters.ts";
import { type RefusalWriters, refuse } from "./refusal.ts";
import type { Lane, Peer } from "./seam/lane.ts";
import type { Accepted, Addressed, ClientHello, Destinations, Detected, LeafSource } from "./seam/stages.ts";
import type { Operation, Permit, Refusal } from "./seam/verdict.ts";

export interface Rooms {
  readonly destinations: Destinations;
  readonly judges: Judges;
  readonly leaves: LeafSource;
  readonly lanes: readonly Lane[];
  readonly opaque: { readonly tcp: Lane; readonly tls: Lane };
  readonly detect: (head: Uint8Array, ended: boolean) => Detected | { readonly kind: "more" };
  readonly refusals: RefusalWriters;
  readonly connections: OpenConnections;
  readonly meters: ConnectionMeters;
}

/** First bytes are waited for this long; then the client is `silent`. A ClientHello fits in 16 KiB and a record header. */
const FIRST_BYTES = { maxBytes: 20_480, timeoutMs: 5_000 } as const;

export function serve(accepted: Accepted, rooms: Rooms): void {
  const { leg, client, original } = accepted;
  const addressing =
    original === null
      ? ({ kind: "refused", code: "destination_unreadable", host: null } as const)
      : rooms.destinations.address(original);
  const target = addressing.kind === "addressed" ? addressing.target : null;
  const host = addressing.host ?? original?.address ?? "unreadable";
  const port = original?.port ?? 0;
  const judge = rooms.judges.open(
    {
      client: `${client.address}:${client.port}`,
      destination: original === null ? "unreadable" : `${original.address}:${original.port}`,
      target: target?.name ?? null,
      host,
      port,
    },
    { host, port, target },
  );
  const connection = rooms.connections.add(leg, judge);
  if (addressing.kind === "refused") {
    // The name that a client is told why under.
    leg.prepareTls(() => rooms.leaves.contextFor(host));
    detect(rooms, accepted, null, (detected) => turnAway(rooms, accepted, judge, detected, addressing.code, ""));
    return;
  }
  const addressed: Addressed = { ...accepted, host, port, target: addressing.target };
  detect(rooms, accepted, addressing.target, (detected) => admit(rooms, { addressed, detected, judge, connection }));
}

interface Arrived {
  readonly addressed: Addressed;
  readonly detected: Detected;
  readonly judge: ConnectionJudge;
  readonly connection: ReturnType<OpenConnections["add"]>;
}

interface Admitted extends Arrived {
  readonly connect: Permit<"connect">;
}

/** Accepted → Detected. A target that declares a protocol whose server speaks first is not waited for. */
function detect(rooms: Rooms, { leg }: Accepted, target: Target | null, then: (detected: Detected) => void): void {
  const declared = target?.protocol;
  if (declared === "tcp" || laneOf(rooms, declared)?.sniff === null) {
    then({ kind: "plain", protocol: declared ?? "tcp" });
    return;
  }
  let found: Detected | null = null;
  leg.peek(
    FIRST_BYTES,
    (head) => {
      const answer = rooms.detect(head, false);
      if (answer.kind === "more") return false;
      found = answer;
      return true;
    },
    (head, why) => {
      if (found !== null) return then(found);
      if (why === "failed" || (why === "ended" && head.length === 0) || head.length === 0)
        return then({ kind: "silent" });
      const last = rooms.detect(head, true);
      then(last.kind === "more" ? { kind: "unknown", why } : last);
    },
  );
}

/** Addressed and Detected → Admitted: what was detected must be what the target permits; then the judge is asked. */
function admit(rooms: Rooms, arrived: Arrived): void {
  const { addressed, detected, judge } = arrived;
  const { target, host } = addressed;
  const no = (code: DenialCode, why = ""): void => turnAway(rooms, addressed, judge, detected, code, why);
  const mode = target.tls ?? "inspect";
  switch (detected.kind) {
    case "silent":
    case "unknown": {
      // Observed only: carried unread, and on record as what would have been refused.
      if (!isObserved(target))
        return no("protocol_unknown", detected.kind === "unknown" ? detected.why : "the client sent nothing");
      return connect(rooms, arrived, connectOperation("tcp", null, false), (admitted) =>
        open(admitted, rooms.opaque.tcp, false),
      );
    }
    case "tls": {
      const { hello } = detected;
      if (hidesName(hello, mode !== "passthrough")) return no("ech_refused");
      if (hello.sni !== null && hello.sni !== host) return no("name_mismatch", `SNI is ${hello.sni}`);
      if (mode === "none") return no("tls_forbidden");
      if (mode === "passthrough")
        return connect(rooms, arrived, connectOperation("tls", hello, false), (admitted) =>
          open(admitted, rooms.opaque.tls, false),
        );
      return connect(rooms, arrived, connectOperation(protocolInside(rooms, target, hello), hello, true), (admitted) =>
        answerTls(rooms, admitted, hello),
      );
    }
    case "plain": {
      if (mode === "passthrough") return no("tls_required");
      if (target.protocol !== undefined && target.protocol !== detected.protocol)
        return no("protocol_undeclared", `detected ${detected.protocol}`);
      const lane = detected.protocol === "tcp" ? rooms.opaque.tcp : laneOf(rooms, detected.protocol);
      if (lane === undefined) return no("protocol_unsupported", detected.protocol);
      return connect(rooms, arrived, connectOperation(lane.protocol, null, false), (admitted) =>
        open(admitted, lane, false),
      );
    }
  }
}

/** Admitted → Opened, where the agent speaks TLS: ALPN names the lane; without it the same detection runs on the plaintext. */
function answerTls(rooms: Rooms, admitted: Admitted, hello: ClientHello): void {
  const { leg, host, target } = admitted.addressed;
  const offered = rooms.lanes.flatMap((lane) => lane.alpn).filter((name) => hello.alpn.includes(name));
  const finish = (status: string): void => admitted.judge.finish(admitted.connect, { status, masked: 0, attempts: 1 });
  leg.answerTls(rooms.leaves.contextFor(host), offered, (fault) => {
    rooms.meters.handshake(fault ?? "ok");
    if (fault !== null) {
      finish(fault);
      admitted.connection.untrusted(fault);
      leg.reset();
      return;
    }
    const byAlpn = rooms.lanes.find((lane) => leg.tls?.alpn != null && lane.alpn.includes(leg.tls.alpn));
    if (byAlpn !== undefined && (target.protocol === undefined || target.protocol === byAlpn.protocol)) {
      open(admitted, byAlpn, true);
      return;
    }
    if (target.protocol === "tcp") {
      open(admitted, rooms.opaque.tcp, true);
      return;
    }
    detect(rooms, admitted.addressed, target, (inner) => {
      const lane = inner.kind === "plain" ? laneOf(rooms, inner.protocol) : undefined;
      if (lane !== undefined && (target.protocol === undefined || target.protocol === lane.protocol)) {
        open(admitted, lane, true);
        return;
      }
      if (lane === undefined && isObserved(target)) {
        open(admitted, rooms.opaque.tcp, true);
        return;
      }
      finish("refused");
      const why = inner.kind === "plain" ? inner.protocol : inner.kind;
      admitted.judge.refuse(
        inner.kind === "plain" ? "protocol_undeclared" : "protocol_unknown",
        `inside TLS: ${why}`,
        connectOperation("tls", hello, true),
      );
      leg.reset();
    });
  });
}

/** Admitted → Opened: the lane takes the leg; from here on it asks for each act. */
function open(admitted: Admitted, lane: Lane, secure: boolean): void {
  const { host, port, target } = admitted.addressed;
  const limits = {
    headerMs: target.limits?.headerMs ?? LIMITS.headerMs,
    idleMs: target.limits?.idleMs ?? LIMITS.idleMs,
    totalMs: target.limits?.totalMs ?? LIMITS.totalMs,
  };
  const peer: Peer = { host, port, target, secure, limits };
  admitted.connection.open(lane, peer, admitted.connect);
}

/** Asks for the connect permit. Held: the pipeline waits; the leg is not read meanwhile, and its end ends the wait. */
function connect(rooms: Rooms, arrived: Arrived, operation: Operation, then: (admitted: Admitted) => void): void {
  const { leg, host } = arrived.addressed;
  // For lanes that start TLS in-band.
  leg.prepareTls(() => rooms.leaves.contextFor(host));
  const said = (verdict: Permit<"connect"> | Refusal): void => {
    if (verdict.kind === "permit") return then({ ...arrived, connect: verdict });
    arrived.connection.refused();
    refuse(leg, arrived.detected, verdict, rooms.refusals);
  };
  const verdict = arrived.judge.connect(operation, { settled: (_held, settled) => said(settled) });
  if (verdict.kind !== "held") said(verdict);
}

function turnAway(
  rooms: Rooms,
  { leg }: Accepted,
  judge: ConnectionJudge,
  detected: Detected,
  code: DenialCode,
  why: string,
): void {
  const operation =
    detected.kind === "tls"
      ? connectOperation("tls", detected.hello, false)
      : connectOperation(detected.kind === "plain" ? detected.protocol : "tcp", null, false);
  refuse(leg, detected, judge.refuse(code, why, operation), rooms.refusals);
}

/** Observe mode lets through what no target lists; such a target has no name. */
function isObserved(target: Target): boolean {
  return target.name === "";
}

function laneOf(rooms: Rooms, protocol: string | undefined): Lane | undefined {
  return protocol === undefined ? undefined : rooms.lanes.find((lane) => lane.protocol === protocol);
}

/**
 * What TLS will be about, as far as it is known before it is answered: what the target declares; else what ALPN can only mean, of
 * protocols that log in at connect. It is the lane that opens: no other one may be negotiated.
 */
function protocolInside({ lanes }: Rooms, target: Target, { alpn }: ClientHello): Operation["protocol"] {
  const named = lanes.filter((lane) => lane.alpn.some((name) => alpn.includes(name)));
  const [only] = named.length === 1 ? named : [];
  return target.protocol ?? (only?.tlsInBand === true ? only.protocol : "tls");
}

function connectOperation(protocol: string, hello: ClientHello | null, intercepted: boolean): Operation {
  const facts =
    hello === null
      ? ""
      : `"tls":{"sni":${hello.sni === null ? "null" : quote(hello.sni)},"alpn":${JSON.stringify(hello.alpn)},"intercepted":${intercepted}}`;
  return {
    protocol: protocol as Operation["protocol"],
    action: "connect",
    phase: "ask",
    parent: null,
    complete: true,
    run: null,
    traceparent: null,
    facts,
    detail: "",
    body: null,
  };
}
