/**
 * Where masks are carried out: what the session asks of whoever knows which columns are confidential. The session knows the wire;
 * the masker sees fields and rows, never a socket.
 *
 * Fails closed: what the masker objects to is refused before it is forwarded; a result that it cannot attribute ends the statement.
 */
import type { MaskRule } from "#contract/decision.ts";
import type { Field } from "./codec/backend.ts";
import type { Statement } from "./sql/reading.ts";

/** Made once a process. */
export interface RowMasker {
  /** One session's: user and database are the upstream's. */
  open(place: { readonly target: string; readonly database: string; readonly user: string }): SessionMasker;
}

/** Why an act is not sent: the masks cannot be carried out at all, or this statement could get around them. */
export interface Objection {
  readonly code: "obligation_unsupported" | "mask_evaded";
  readonly why: string;
}

/** Whatever is done with rows: statements in the order of a Query string; for EXECUTE and FETCH the one that they run. */
export interface MaskedAct {
  readonly masks: readonly MaskRule[];
  readonly statements: readonly Statement[];
}

/**
 * What one session's transaction has done to the catalogue is seen by that session alone and may be taken back: from a change until the
 * session is outside of a transaction again, nothing is learnt from it, and nothing of it is shown.
 */
export interface SessionMasker {
  /**
   * A query of the sidecar's own that this upstream session must answer before the masks can be applied (names → OIDs); null: all
   * is known. One statement, read-only, names and operators qualified with pg_catalog, results in text format.
   */
  question(masks: readonly MaskRule[]): string | null;
  /** Its answer; null in a row is NULL, bytes are latin1. Not called between `follow` of a change and `settled`. */
  learn(masks: readonly MaskRule[], rows: readonly (readonly (string | null)[])[]): void;
  /** Whether what the masks mean may be something else behind these. */
  changes(statements: readonly Statement[]): boolean;
  /** These are sent now, with masks or without. */
  follow(statements: readonly Statement[]): void;
  /** The upstream session is outside of a transaction, and has answered all that it was sent. */
  settled(): void;
  /** The session is over, whatever became of its transaction. */
  ended(): void;
  /**
   * Asked before the act is forwarded, after `question` was answered. `changed`: something that is sent in front of it changes what the
   * masks mean. Null: it can be masked; else why not, for the refusal.
   */
  objection(act: MaskedAct, changed: boolean): Objection | null;
  /** A result set of `statement` begins. Null: nothing in it is masked, its rows pass as they are. A text: it must not be shown. */
  result(act: MaskedAct, statement: Statement | null, fields: readonly Field[]): ResultMask | string | null;
  /** COPY … TO STDOUT begins. `binary`: the overall format; `columns`: how many there are. As `result`. */
  copy(act: MaskedAct, statement: Statement | null, binary: boolean, columns: number): CopyMask | string | null;
  /** Whether what the server says from here to the end of the transaction may quote a confidential value. */
  quotes(act: MaskedAct): boolean;
  /**
   * An ErrorResponse or NoticeResponse in a transaction with such an act (`quotes`), or with others that have masks: the text fields that
   * may quote a value, by letter. The same map: as it is.
   */
  notice(masks: readonly MaskRule[], quotes: boolean, fields: ReadonlyMap<string, string>): ReadonlyMap<string, string>;
  /** What a NotificationResponse carries, for a session that listens under these masks. Nobody can say where it comes from. Latin1. */
  payload(masks: readonly MaskRule[], payload: string): string;
}

export interface ResultMask {
  /** A DataRow's body behind its length (Int16 count, then Int32 length and bytes each); may be changed in place. Same or new bytes. */
  row(body: Uint8Array): Uint8Array;
  /** Values that were masked so far. */
  readonly masked: number;
}

export interface CopyMask {
  /** The body of one CopyData, which PostgreSQL makes of one row each; or null: it is not what was expected, and the copy must end. */
  data(body: Uint8Array): Uint8Array | null;
  readonly masked: number;
}
