/** What `verify` finds, named as exactly as the record allows. Bounded: a ruined store yields a report, not an avalanche. */
export interface VerifyFinding {
  readonly kind:
    | "record"
    | "column"
    | "detail"
    | "chain"
    | "gap"
    | "order"
    | "tree"
    | "signature"
    | "tail"
    | "fault"
    | "removal";
  readonly boot: string;
  /** First and last line that it may concern; 0: none in particular. */
  readonly seq: number;
  readonly lastSeq: number;
  readonly message: string;
}

const MAX_FINDINGS = 1_000;

export class Findings {
  readonly list: VerifyFinding[] = [];
  count = 0;

  add(kind: VerifyFinding["kind"], boot: string, seq: number, message: string, lastSeq = seq): void {
    this.count++;
    if (this.list.length < MAX_FINDINGS) this.list.push({ kind, boot, seq, lastSeq, message });
  }
}
