/**
 * What a record takes, measured (sizes.test.ts measures again, and fails where these are not true any more): bytes of the collector's
 * volume and of a sidecar's spool for one operation with its outcome, and for one connection.
 */
export const BYTES = {
  /** A small read over HTTP: its target, path, a few header names, policy, outcome. */
  operation: { volume: 1_030, spool: 820 },
  /** A connection: its session, its `connect`, its end. */
  connection: { volume: 1_340, spool: 930 },
} as const;

export interface Load {
  /** Of all agents together. */
  readonly requestsPerSecond: number;
  /** Requests on one connection, on average. */
  readonly requestsPerConnection: number;
  readonly pods: number;
}

export interface Estimate {
  readonly bytesPerDay: number;
  /** Days until a volume of that size is full without retention. */
  readonly daysOf: (volumeBytes: number) => number;
  /** Seconds that a pod's spool holds while the collector is away. */
  readonly spoolSecondsOf: (spoolBytes: number) => number;
}

export function estimate({ requestsPerSecond, requestsPerConnection, pods }: Load): Estimate {
  const per = (what: "volume" | "spool"): number =>
    BYTES.operation[what] + BYTES.connection[what] / Math.max(1, requestsPerConnection);
  const bytesPerDay = requestsPerSecond * per("volume") * 86_400;
  const podBytesPerSecond = (requestsPerSecond / Math.max(1, pods)) * per("spool");
  return {
    bytesPerDay,
    daysOf: (bytes) => bytes / bytesPerDay,
    spoolSecondsOf: (bytes) => bytes / podBytesPerSecond,
  };
}
