/**
 * Reads the corpus: Markdown, so that a security reviewer can read it. In each `sql` block a row is `-- expectation | why`, then the
 * statement, then an empty line.
 */
import { readFileSync } from "node:fs";
import path from "node:path";

export interface Row {
  readonly expected: string;
  readonly why: string;
  readonly sql: string;
  /** The heading that it stands under. */
  readonly section: string;
}

/** Throws on a row without its first line: nothing is skipped silently. */
export function corpus(file: string): readonly Row[] {
  const text = readFileSync(path.join(import.meta.dirname, file), "utf8");
  const rows: Row[] = [];
  for (const part of text.split(/^## /m).slice(1)) {
    const section = part.slice(0, part.indexOf("\n"));
    for (const block of part.matchAll(/^```sql\n([\s\S]*?)^```$/gm))
      for (const row of (block[1] ?? "").trim().split(/\n\n+/)) {
        const head = /^-- ([a-z]+) \| (.+)\n/.exec(row);
        if (head === null) throw new Error(`${file}: a row without its first line: ${row}`);
        rows.push({ expected: head[1] ?? "", why: head[2] ?? "", sql: row.slice(head[0].length), section });
      }
  }
  return rows;
}
