/** What of a session decides how a statement is understood. */
import type { PostgresLimits } from "./limits.ts";
import type { SqlReader } from "./sql/reading.ts";

export interface ReadingState {
  readonly sql: SqlReader;
  readonly limits: PostgresLimits;
  /** Counts statements that nobody understood: what was known of names before is not known after. */
  readonly generation: number;
  readonly readOnly: boolean;
}
