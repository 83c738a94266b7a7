/** What is wrong with a policy folder: where, and one sentence. Reported all together; none of them is thrown. */
export interface Problem {
  /** Relative to the folder. */
  readonly file: string;
  /** From 1; 0 where the whole file is meant. */
  readonly line: number;
  readonly message: string;
}

export function formatProblem({ file, line, message }: Problem): string {
  return line > 0 ? `${file}:${line}: ${message}` : `${file}: ${message}`;
}
