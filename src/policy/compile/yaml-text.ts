/** Parses YAML (and JSON, which is a part of it) with problems that name file and line. */
import { type Document, LineCounter, parseAllDocuments } from "yaml";
import type { Problem } from "./problem.ts";
import type { SourceFile } from "./sources.ts";

export interface ParsedDocument {
  readonly value: unknown;
  /** Line of the node at this path, or of the nearest one above it. */
  lineOf(path: readonly (string | number)[]): number;
}

/** Empty documents are left out. No aliases beyond a few: a document must not grow when it is read. */
export function parseYamlDocuments(file: SourceFile, problems: Problem[]): ParsedDocument[] {
  const counter = new LineCounter();
  const documents = parseAllDocuments(file.text, { lineCounter: counter, version: "1.2", uniqueKeys: true });
  const parsed: ParsedDocument[] = [];
  if (!Array.isArray(documents)) return parsed;
  for (const document of documents as Document.Parsed[]) {
    const [error] = document.errors;
    if (error !== undefined) {
      problems.push({
        file: file.name,
        line: error.linePos?.[0].line ?? 0,
        message: error.message.split("\n")[0] ?? "not YAML",
      });
      continue;
    }
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: 100 });
    } catch (fault) {
      problems.push({ file: file.name, line: 0, message: String(fault) });
      continue;
    }
    if (value === null || value === undefined) continue;
    parsed.push({
      value,
      lineOf(path) {
        for (let length = path.length; length >= 0; length--) {
          const node: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
          const range = (node as { range?: readonly number[] } | null | undefined)?.range;
          if (range?.[0] !== undefined) return counter.linePos(range[0]).line;
        }
        return 0;
      },
    });
  }
  return parsed;
}

/** Exactly one document; undefined with a problem otherwise. */
export function parseYaml(file: SourceFile, problems: Problem[]): unknown {
  const before = problems.length;
  const documents = parseYamlDocuments(file, problems);
  if (documents.length === 1) return documents[0]?.value;
  if (problems.length === before) problems.push({ file: file.name, line: 0, message: "one document is expected" });
  return undefined;
}
