/**
 * Decides from a connection's first bytes what is spoken on it: TLS, one of our lanes' protocols, nothing yet, or something
 * that we do not know.
 *
 * Errs towards "unknown", which is refused: a foreign protocol judged by a lane's rules would be a way through. Two lanes that
 * both claim the same bytes are an ambiguity, not a choice.
 */
import { assertNever } from "#core/assert-never.ts";
import type { Lane } from "../seam/lane.ts";
import type { Detected } from "../seam/stages.ts";
import { type HelloReading, MAX_HEAD_BYTES, readClientHello } from "./client-hello.ts";

/** What to give to `Inbound.peek`. A client that says nothing for so long is `silent`: server-first protocols must be declared. */
export const DETECT_LIMITS = { maxBytes: MAX_HEAD_BYTES, timeoutMs: 5_000 } as const;

/** `atLeast`: asking again with fewer bytes than this gives the same answer. */
export interface NeedMore {
  readonly kind: "more";
  readonly atLeast: number;
}

/**
 * `head`: every byte so far, from the first. `ended`: no more will come (the client ended, the time is over, the buffer is
 * full); then the answer is never `more`.
 */
export type Detector = (head: Uint8Array, ended: boolean) => Detected | NeedMore;

export function createDetector(lanes: readonly Lane[]): Detector {
  const candidates = lanes.filter((lane) => lane.sniff !== null);
  return (head, ended) => {
    if (head.length === 0) return ended ? { kind: "silent" } : { kind: "more", atLeast: 1 };
    if (isSsl2Hello(head)) return unknown("SSLv2 hello");
    const reading = readClientHello(head);
    return settle(reading.kind === "no" ? askLanes(candidates, head, ended) : fromHello(reading), head, ended);
  };
}

/** What begins like a TLS record is TLS or nothing: no lane may claim it. */
function fromHello(reading: Exclude<HelloReading, { kind: "no" }>): Detected | NeedMore {
  switch (reading.kind) {
    case "hello":
      return { kind: "tls", hello: reading.hello };
    case "malformed":
      return unknown(`TLS: ${reading.why}`);
    case "more":
      return reading;
    default:
      return assertNever(reading);
  }
}

function askLanes(lanes: readonly Lane[], head: Uint8Array, ended: boolean): Detected | NeedMore {
  let match: string | null = null;
  let atLeast = 0;
  for (const lane of lanes) {
    const answer = lane.sniff?.(head) ?? { kind: "no" };
    if (answer.kind === "match") {
      if (match !== null) return unknown(`claimed by ${match} and ${lane.protocol}`);
      match = lane.protocol;
    } else if (answer.kind === "more") {
      const wanted = Math.max(answer.atLeast, head.length + 1);
      atLeast = atLeast === 0 ? wanted : Math.min(atLeast, wanted);
    }
  }
  // While another lane could still claim them, a match is not sure; when no more bytes come, that other one is out.
  if (atLeast > 0 && !ended) return { kind: "more", atLeast };
  return match === null ? unknown("no protocol claims the first bytes") : { kind: "plain", protocol: match };
}

function settle(answer: Detected | NeedMore, head: Uint8Array, ended: boolean): Detected | NeedMore {
  if (answer.kind !== "more") return answer;
  if (ended || head.length >= DETECT_LIMITS.maxBytes) return unknown("first bytes incomplete");
  return answer;
}

/** `length(2) with the top bit set, msg_type(1)=1, version(2)` (RFC 5246 E.2); no client since 2011 should send it (RFC 6176). */
function isSsl2Hello(head: Uint8Array): boolean {
  return head.length >= 4 && ((head[0] ?? 0) & 0x80) !== 0 && head[2] === 1 && (head[3] === 3 || head[3] === 0);
}

function unknown(why: string): Detected {
  return { kind: "unknown", why };
}
