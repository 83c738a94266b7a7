/** HTTP/1.1 as a lane: what the pipeline opens where a connection speaks it. */
import { type Clock, systemClock } from "#core/clock.ts";
import type { Dialect } from "#sidecar/seam/exchange.ts";
import type { Lane } from "#sidecar/seam/lane.ts";
import { createHttpDialect } from "./dialects/http.ts";
import { HTTP_LIMITS, type HttpLimits } from "./limits.ts";
import { HttpSession } from "./session.ts";
import { sniffHttp } from "./sniff.ts";

export { refusePlainHttp } from "./refuse.ts";

/** Whether first bytes are an HTTP/1 request. */
export function isHttp(head: Uint8Array): boolean {
  return sniffHttp(head).kind === "match";
}

export interface HttpLaneOptions {
  readonly clock?: Clock;
  readonly limits?: Partial<HttpLimits>;
  /** Asked in order before plain HTTP, which claims everything. */
  readonly dialects?: readonly Dialect[];
}

export function createHttpLane(options: HttpLaneOptions = {}): Lane {
  const session = {
    clock: options.clock ?? systemClock,
    limits: { ...HTTP_LIMITS, ...options.limits },
    dialects: [...(options.dialects ?? []), createHttpDialect()],
  };
  return {
    protocol: "http",
    alpn: ["http/1.1"],
    sniff: sniffHttp,
    open(ports, from) {
      if (from !== null) throw new Error("no lane hands a connection over to HTTP/1.1");
      return new HttpSession(ports, session);
    },
  };
}
