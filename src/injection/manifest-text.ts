/**
 * Injects the pods of a YAML or JSON text and gives back the text: comments, order and style of what is not touched are kept.
 *
 * Fails closed: the result is read again, and must be what the patch makes of the original; else there is no text, only a reason.
 */
import { type Document, isAlias, isCollection, isMap, isSeq, parseAllDocuments, type ScalarTag, visit } from "yaml";
import { applyJson, pointerTokens } from "#core/json-apply.ts";
import { equalJson, type PatchOperation } from "#core/json-diff.ts";
import { checkManifest, injectManifest } from "./manifest.ts";
import type { InjectionOptions } from "./options.ts";
import type { Violation } from "./violation.ts";

export type TextInjection =
  | {
      readonly kind: "injected";
      readonly text: string;
      /** The documents as values, those without pods included; for output as JSON. */
      readonly documents: readonly unknown[];
      readonly pods: number;
      readonly warnings: readonly Violation[];
    }
  | { readonly kind: "denied"; readonly violations: readonly Violation[] }
  | { readonly kind: "unreadable"; readonly message: string };

/** Our own caps: a manifest is written by people, or rendered by a chart. Characters; documents. */
const MAX_TEXT = 16 * 1024 * 1024;
const MAX_DOCUMENTS = 10_000;

// Kubernetes reads YAML 1.1 here: `defaultMode: 0644` is 420, and has to be written back as it was.
const OCTAL: ScalarTag = {
  default: true,
  tag: "tag:yaml.org,2002:int",
  identify: (value) => typeof value === "number",
  test: /^0[0-7]+$/,
  format: "OCT",
  resolve: (text) => Number.parseInt(text, 8),
  stringify: ({ value }) => `0${Number(value).toString(8)}`,
};

/** `text`: one or more documents. Fields of violations are told from their document's root. */
export function injectText(text: string, options: InjectionOptions, drawUid: () => number): TextInjection {
  if (text.length > MAX_TEXT) return { kind: "unreadable", message: `longer than ${MAX_TEXT} characters` };
  const documents = read(text);
  if (typeof documents === "string") return { kind: "unreadable", message: documents };
  const violations: Violation[] = [];
  const warnings: Violation[] = [];
  const results: unknown[] = [];
  let pods = 0;
  for (const [index, document] of documents.entries()) {
    const manifest: unknown = document.toJS();
    const injection = injectManifest(manifest, options, drawUid);
    const at = (violation: Violation): Violation => placed(violation, index, documents.length);
    if (injection.kind === "denied") {
      violations.push(...injection.violations.map(at));
      continue;
    }
    pods += injection.pods;
    warnings.push(...injection.warnings.map(at));
    results.push(applyJson(manifest, injection.patch));
    if (injection.patch.length === 0) continue;
    expandAliases(document);
    for (const operation of injection.patch) apply(document, operation);
  }
  if (violations.length > 0) return { kind: "denied", violations };
  const result = write(documents, text);
  const again = read(result);
  if (
    typeof again !== "string" &&
    equalJson(
      again.map((document): unknown => document.toJS()),
      results,
    )
  )
    return { kind: "injected", text: result, documents: results, pods, warnings };
  return { kind: "unreadable", message: "the file uses YAML in a way that this command cannot edit; use JSON" };
}

export type TextCheck =
  | { readonly kind: "checked"; readonly pods: number; readonly violations: readonly Violation[] }
  | { readonly kind: "unreadable"; readonly message: string };

/** What is broken in the pods of a text; nothing is changed. */
export function checkText(text: string, options: InjectionOptions): TextCheck {
  const documents = text.length > MAX_TEXT ? `longer than ${MAX_TEXT} characters` : read(text);
  if (typeof documents === "string") return { kind: "unreadable", message: documents };
  const checks = documents.map((document) => checkManifest(document.toJS(), options));
  return {
    kind: "checked",
    pods: checks.reduce((sum, { pods }) => sum + pods, 0),
    violations: checks.flatMap(({ violations }, index) => violations.map((v) => placed(v, index, documents.length))),
  };
}

/** Told from its document's root; which document, where there are several. */
function placed(violation: Violation, index: number, count: number): Violation {
  return count === 1 ? violation : { ...violation, field: `document ${index + 1}: ${violation.field}` };
}

function read(text: string): Document[] | string {
  try {
    const documents = parseAllDocuments(text, { merge: true, customTags: (tags) => [OCTAL, ...tags] });
    if (!Array.isArray(documents)) return [];
    if (documents.length > MAX_DOCUMENTS) return `more than ${MAX_DOCUMENTS} documents`;
    const fault = documents.flatMap((document) => document.errors)[0];
    if (fault !== undefined) return fault.message;
    for (const document of documents) document.toJS(); // too many aliases throw here
    return documents;
  } catch (fault) {
    return fault instanceof Error ? fault.message : String(fault);
  }
}

/** What is changed in one place must not change in another: aliases become copies. */
function expandAliases(document: Document): void {
  visit(document, {
    Alias: (_key, alias) => document.createNode(alias.toJS(document)),
  });
  visit(document, {
    Node: (_key, node) => {
      if (!isAlias(node)) delete node.anchor;
    },
  });
}

const PLAIN = { aliasDuplicateObjects: false } as const;

function apply(document: Document, operation: PatchOperation): void {
  const tokens = pointerTokens(operation.path);
  const last = tokens.pop();
  const parent: unknown = tokens.length === 0 ? document.contents : document.getIn(tokens, true);
  if (last === undefined || !isCollection(parent)) return; // found out when the result is read again
  if (operation.op === "remove") parent.delete(isSeq(parent) ? Number(last) : last);
  else if (isMap(parent)) parent.set(last, document.createNode(operation.value, PLAIN));
  else if (isSeq(parent)) {
    const node = document.createNode(operation.value, PLAIN);
    if (operation.op === "replace") parent.set(Number(last), node);
    else parent.items.splice(last === "-" ? parent.items.length : Number(last), 0, node);
    // A list that was written in one line would become a line of hundreds.
    parent.flow = false;
  }
}

function write(documents: readonly Document[], original: string): string {
  const style = {
    lineWidth: 0,
    flowCollectionPadding: /[[{] \S/.test(original),
    indentSeq: !/^(\s*)\S.*:\s*\n\1- /m.test(original),
  };
  return documents.map((document) => document.toString(style)).join("");
}
