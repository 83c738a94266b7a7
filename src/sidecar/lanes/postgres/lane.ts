/** PostgreSQL as a lane: protocol 3.0 to 3.2, TLS in-band or by ALPN, each statement judged before it acts. */
import { randomBytes } from "node:crypto";
import { type Clock, systemClock } from "#core/clock.ts";
import type { Lane } from "#sidecar/seam/lane.ts";
import type { AgentAuthentication } from "./agent-proof.ts";
import { CancelKeys } from "./cancel-keys.ts";
import { POSTGRES_LIMITS, type PostgresLimits } from "./limits.ts";
import type { RowMasker } from "./masking.ts";
import { credentialIdentity, type OpeningOptions } from "./opening.ts";
import type { Redact } from "./operations.ts";
import { PostgresSession } from "./session.ts";
import { sniffPostgres } from "./sniff.ts";
import type { SqlReader } from "./sql/reading.ts";
import { redactAlike, redactSql } from "./sql/redact.ts";
import { TurnedAway } from "./turn-away.ts";

export interface PostgresLaneOptions {
  /** One a process; its parser is loaded with the first statement. */
  readonly reader: SqlReader;
  /** Takes secrets out of a statement's text for facts and record. */
  readonly redact?: Redact;
  /** Carries masks out; without one, a statement that must be masked is refused. */
  readonly masker?: RowMasker;
  /** What an agent is asked for where a credential is put in for it; default: nothing. */
  readonly authentication?: AgentAuthentication;
  /** Who is asked for upstream; default: the credential's user and database, else the agent's. UTF-8 bytes as latin1. */
  readonly identity?: OpeningOptions["identity"];
  readonly clock?: Clock;
  readonly random?: (bytes: number) => Uint8Array;
  readonly limits?: Partial<PostgresLimits>;
}

export function createPostgresLane(options: PostgresLaneOptions): Lane {
  const random = options.random ?? randomBytes;
  const session = {
    reader: options.reader,
    redact: options.redact ?? withoutSecrets,
    masker: options.masker ?? null,
    authentication: options.authentication ?? { method: "trust" as const },
    identity: options.identity ?? credentialIdentity,
    clock: options.clock ?? systemClock,
    random,
    limits: { ...POSTGRES_LIMITS, ...options.limits },
    keys: new CancelKeys(random),
  };
  return {
    protocol: "postgres",
    alpn: ["postgresql"],
    sniff: sniffPostgres,
    tlsInBand: true,
    open(ports, from) {
      if (from !== null) throw new Error("no lane hands a connection over to PostgreSQL");
      return new PostgresSession(ports, session);
    },
    turnAway: (agent, refusal) => new TurnedAway(agent, refusal),
  };
}

const withoutSecrets: Redact = (text, statements, alike) =>
  alike === null || alike.literals.length === 0
    ? redactSql(text, statements.length > 0)
    : redactAlike(text, alike.literals, alike.shape);
