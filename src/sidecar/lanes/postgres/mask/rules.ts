/**
 * A policy's masks, as far as rows are concerned:
 *
 *   selector   schema.table.column   by origin; `*` for any schema, table or column
 *              column:NAME           any column of that name, and any output that is called so
 *              detect:NAME           what a detector finds (mask/detectors.ts); `detect:*`: all of them
 *   with       token | redact | null
 *
 * Errs towards refusing: a selector or a form that is not understood cannot be carried out, so nothing that it is about is shown.
 */
import type { MaskRule } from "#contract/decision.ts";
import type { Cover } from "#mask/cover.ts";
import { DETECTORS, type DetectorName, isDetector } from "#mask/detectors.ts";

export type Form = "token" | "redact" | "null";

/** Null stands for any. */
export interface ColumnRule {
  readonly schema: string | null;
  readonly table: string | null;
  readonly column: string | null;
  readonly form: Form;
}

export interface Rules {
  /** `columns` as one text: equal for equal ones. Made once, since what is known of a place is found by it at every result. */
  readonly key: string;
  readonly columns: readonly ColumnRule[];
  /** Output names. */
  readonly names: ReadonlyMap<string, Form>;
  readonly detectors: ReadonlyMap<DetectorName, Cover>;
}

const FORMS = new Set<string>(["token", "redact", "null"]);

/** A text: which mask was not understood. */
export function readRules(masks: readonly MaskRule[]): Rules | string {
  const columns: ColumnRule[] = [];
  const names = new Map<string, Form>();
  const detectors = new Map<DetectorName, Cover>();
  for (const { selector, with: how } of masks) {
    if (!FORMS.has(how)) return `no mask has the form ${how}`;
    const form = how as Form;
    const [kind, rest] = split(selector);
    if (kind === "detect") {
      const wanted = rest === "*" ? (Object.keys(DETECTORS) as DetectorName[]) : [rest];
      for (const name of wanted) {
        if (!isDetector(name)) return `there is no detector ${rest}`;
        if (detectors.get(name) !== "redact") detectors.set(name, form === "token" ? "token" : "redact");
      }
    } else if (kind === "column") {
      if (rest === "" || rest === "*") return `${selector} names no column`;
      names.set(rest, stricter(names.get(rest), form));
      columns.push({ schema: null, table: null, column: rest, form });
    } else {
      const parts = selector.split(".");
      if (parts.length !== 3 || parts.some((part) => part === "")) return `${selector} is not schema.table.column`;
      const [schema, table, column] = parts.map((part) => (part === "*" ? null : part));
      columns.push({ schema: schema ?? null, table: table ?? null, column: column ?? null, form });
    }
  }
  return { key: JSON.stringify(columns), columns, names, detectors };
}

function split(selector: string): readonly [string, string] {
  const colon = selector.indexOf(":");
  return colon < 0 ? ["", selector] : [selector.slice(0, colon), selector.slice(colon + 1)];
}

const STRICTNESS: Readonly<Record<Form, number>> = { token: 0, redact: 1, null: 2 };

/** Masks of several policies add up: the one that says less counts. */
export function stricter(a: Form | undefined, b: Form): Form {
  return a === undefined || STRICTNESS[b] > STRICTNESS[a] ? b : a;
}
