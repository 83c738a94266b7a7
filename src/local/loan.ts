/**
 * The terminal, lent to the command while it runs in the foreground. As a shell with one job: keys go to the command's group; when
 * it stops (Ctrl-Z), we take the terminal back and stop too, so that our own shell sees a stopped job; `fg` wakes us, and we lend
 * it again. In a pipeline the command begins in the background, since the neighbour (a pager) needs the keys; it is lent the
 * terminal when it first wants to read.
 */
import { isatty } from "node:tty";
import { inForeground, openTerminal, readModes, restoreModes, takeForeground } from "./tty.ts";

/** What the keeper is told. `resume`: let the group go on, and first take the terminal where `foreground`. */
export interface Borrower {
  resume(foreground: boolean): void;
}

export class TerminalLoan {
  readonly #terminal: number | null = openTerminal();
  readonly #modes: Buffer | null;
  readonly #stop: () => void;
  #lent = false;

  /** `stop`: stops every process of our group, until someone continues it. */
  constructor(stop: () => void) {
    this.#stop = stop;
    this.#modes = this.#terminal === null ? null : readModes(this.#terminal);
  }

  /** Whether the command begins with the terminal: nobody beside us wants it. */
  lendAtStart(): boolean {
    this.#lent = isatty(0) && isatty(1) && this.#available();
    return this.#lent;
  }

  /** The command has stopped. */
  stopped(signal: string, borrower: Borrower): void {
    const wantsTerminal = signal === "SIGTTIN" || signal === "SIGTTOU";
    if (wantsTerminal && this.#available()) {
      this.#lent = true;
      borrower.resume(true);
      return;
    }
    this.#takeBack();
    this.#stop();
  }

  /** We have been continued. */
  continued(borrower: Borrower): void {
    borrower.resume(this.#lent && this.#available());
  }

  /** Takes the terminal back, as it was. */
  end(): void {
    if (!this.#lent || this.#terminal === null) return;
    this.#takeBack();
    if (this.#modes !== null && this.#available()) restoreModes(this.#terminal, this.#modes);
    this.#lent = false;
  }

  #available(): boolean {
    return this.#terminal !== null && inForeground(this.#terminal);
  }

  #takeBack(): void {
    if (this.#lent && this.#terminal !== null) takeForeground(this.#terminal);
  }
}
