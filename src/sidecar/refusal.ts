/**
 * How a connection is refused before a lane has it (DESIGN section 3), in one table: plain HTTP reads a 403 problem; TLS is
 * answered with our leaf and then the same 403, so that the agent can read why; a protocol whose lane has words for it (PostgreSQL's
 * ErrorResponse) uses them; everything else is reset. The record was written by whoever made the Refusal.
 */
import type { Alarm } from "#core/wheel.ts";
import type { Lane } from "./seam/lane.ts";
import type { Detected, Inbound, LeafSource } from "./seam/stages.ts";
import type { Refusal } from "./seam/verdict.ts";

export interface RefusalWriters {
  /** The complete HTTP/1.1 answer, with `Connection: close`. */
  readonly plainHttp: (refusal: Refusal) => string;
  /** Whether first bytes are an HTTP/1.1 request. */
  readonly isHttp: (head: Uint8Array) => boolean;
  readonly leaves: LeafSource;
  /** Those that can tell a client why. */
  readonly lanes: readonly Lane[];
  readonly after: (ms: number, fire: () => void) => Alarm;
}

/** How long a client may take to read its refusal (handshake and request head). */
const PATIENCE = { maxBytes: 16_384, timeoutMs: 5_000 } as const;

export function refuse(leg: Inbound, detected: Detected, refusal: Refusal, writers: RefusalWriters): void {
  switch (detected.kind) {
    case "plain":
      if (detected.protocol === "http") answer(leg, refusal, writers);
      else
        tell(
          leg,
          writers.lanes.find((lane) => lane.protocol === detected.protocol),
          refusal,
          writers,
        );
      return;
    case "tls": {
      const { hello } = detected;
      const { sni } = hello;
      const named = writers.lanes.find((lane) => lane.turnAway && lane.alpn.some((name) => hello.alpn.includes(name)));
      if (named !== undefined && sni !== null) {
        leg.answerTls(writers.leaves.contextFor(sni), named.alpn, (fault) => {
          if (fault === null) tell(leg, named, refusal, writers);
          else leg.reset();
        });
        return;
      }
      const speaksHttp1 = hello.alpn.length === 0 || hello.alpn.includes("http/1.1");
      // Without a name there is no leaf, and a client that offers no HTTP/1.1 cannot read a problem. A real ECH client gets a leaf
      // for its outer name and stops; one that only greases reads why.
      if (sni === null || !speaksHttp1) {
        leg.reset();
        return;
      }
      leg.answerTls(writers.leaves.contextFor(sni), ["http/1.1"], (fault) => {
        if (fault !== null) {
          leg.reset();
          return;
        }
        leg.peek(PATIENCE, writers.isHttp, (head, why) => {
          if (why !== "failed" && writers.isHttp(head)) answer(leg, refusal, writers);
          else leg.reset();
        });
      });
      return;
    }
    case "silent":
    case "unknown":
      leg.reset();
      return;
  }
}

/** In the lane's own words; it has as long as any client that reads its refusal. */
function tell(leg: Inbound, lane: Lane | undefined, refusal: Refusal, { after }: RefusalWriters): void {
  if (lane?.turnAway === undefined) {
    leg.reset();
    return;
  }
  const alarm = after(PATIENCE.timeoutMs, () => leg.reset());
  leg.onGone(() => alarm.cancel());
  leg.listen(lane.turnAway(leg, refusal));
}

function answer(leg: Inbound, refusal: Refusal, writers: RefusalWriters): void {
  // What the client still sends is thrown away (bounded by its own end or our close): closing with unread bytes would be a
  // reset, and the client would never see the answer.
  let discarded = 0;
  leg.listen({
    opened() {},
    data(chunk) {
      discarded += chunk.length;
      if (discarded > DISCARD_MAX) leg.reset();
    },
    drained() {},
    secured() {},
    ended() {},
    failed() {},
  });
  leg.write(writers.plainHttp(refusal));
  leg.end();
}

const DISCARD_MAX = 1_048_576;
