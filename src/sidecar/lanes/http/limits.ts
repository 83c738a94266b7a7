/** What one message and one connection may cost. Bytes and counts; time limits are the target's. */
export interface HttpLimits {
  /** A head, from its first line to its empty line. */
  readonly headBytes: number;
  readonly fields: number;
  readonly targetBytes: number;
  /** A chunk's size line with its extensions. */
  readonly chunkLineBytes: number;
  /** All extensions of one message together: they are dropped, so a sender could make us read them for ever. */
  readonly extensionBytes: number;
  readonly trailerBytes: number;
  readonly trailerFields: number;
  /** Bytes of a refused request's body that are read and thrown away, so that the connection can go on. */
  readonly discardBytes: number;
  /** Bytes that wait while an exchange is under way (pipelined requests) or held; then the agent's leg is paused. */
  readonly pendingBytes: number;
  /** Interim (1xx) answers before one final. */
  readonly interim: number;
}

export const HTTP_LIMITS: HttpLimits = {
  headBytes: 65_536,
  fields: 256,
  targetBytes: 16_384,
  chunkLineBytes: 1_024,
  extensionBytes: 16_384,
  trailerBytes: 8_192,
  trailerFields: 64,
  discardBytes: 262_144,
  pendingBytes: 65_536,
  interim: 16,
};
