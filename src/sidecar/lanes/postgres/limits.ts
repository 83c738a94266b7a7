/** What one message and one session may cost. Bytes and counts; time limits are the target's. */
export interface PostgresLimits {
  /** A Query or Parse; a longer one is refused, never forwarded unread. The reader's own bounds (sql/bounds.ts) make it incomplete before. */
  readonly textBytes: number;
  /** A Bind that is held in memory. */
  readonly bindBytes: number;
  /** Describe, Execute, Close, CopyFail and the like. */
  readonly smallBytes: number;
  /** PasswordMessage, SASL messages. */
  readonly passwordBytes: number;
  /** What waits for its Execute, Flush or Sync; more is judged and sent as if the client had said Flush. */
  readonly pendingBytes: number;
  /** Bytes that wait while a statement is held or one is under way; then the agent's leg is paused. */
  readonly keptBytes: number;
  /** Answers that are awaited at a time; then the agent's leg waits. */
  readonly awaited: number;
  readonly statements: number;
  /** Texts and parameter types of all prepared statements of a session. */
  readonly statementBytes: number;
  readonly portals: number;
  /** Statements in one Query string. */
  readonly perQuery: number;
  /** An answer of the upstream that must be read whole: CommandComplete, ParameterStatus, ReadyForQuery, … */
  readonly answerBytes: number;
  /** A RowDescription, or an ErrorResponse whose code is read; longer errors are passed on unread. */
  readonly describedBytes: number;
  /** One row that is to be masked. */
  readonly rowBytes: number;
}

export const POSTGRES_LIMITS: PostgresLimits = {
  textBytes: 1_048_576,
  bindBytes: 1_048_576,
  smallBytes: 8_192,
  passwordBytes: 65_536,
  pendingBytes: 1_048_576,
  keptBytes: 65_536,
  awaited: 4_096,
  statements: 4_096,
  statementBytes: 16_777_216,
  portals: 1_024,
  perQuery: 1_000,
  answerBytes: 65_536,
  describedBytes: 262_144,
  rowBytes: 8_388_608,
};
