/** What the parts of the lane say to each other about one statement: how it is judged, asked for and written down. Types only. */
import type { Action } from "#contract/operation.ts";
import type { Profile } from "#contract/policy-port.ts";
import type { SettingObjection } from "./settings.ts";
import type { Alike, Statement } from "./sql/reading.ts";

/** One judgement's worth: usually one statement; with EXECUTE the one that it runs, too. */
export interface Judged {
  readonly statements: readonly Statement[];
  readonly text: string;
  readonly complete: boolean;
  readonly doubts: readonly string[];
  /** It is one statement, understood, that says nothing but what stands in its text. Null: something else. */
  readonly alike: Alike | null;
}

export interface Question {
  readonly judged: Judged;
  /** Further members of the record, each with a comma in front. */
  readonly extra: string;
  /** It may not run here, whatever a policy says. */
  readonly objection: SettingObjection | null;
  /** As it stands in the text; null where that was not understood. */
  readonly statement: Statement | null;
  /** Its text, UTF-8 bytes as latin1. */
  readonly bytes: string;
}

/** The part of an operation that does not change with its parameters. */
export interface Written {
  readonly profile: Profile | null;
  readonly action: Action;
  readonly complete: boolean;
  readonly facts: string;
  /** Members of `rest.sql`, each with a comma in front. */
  readonly rest: string;
}
