/**
 * Retention and verification never run side by side: what is removed while a verification holds one state of the store, the volume
 * keeps. Whichever comes second waits; but where the room would be gone before a verification has ended, that one gives way and begins
 * anew afterwards.
 *
 * Errs towards room. A retention that could remove nothing is not given way to again: else nothing would ever be verified.
 */
export interface TurnsOptions {
  /** Whether room is needed before a verification can end. */
  readonly pressing: () => boolean;
  /** Ends the verification that is under way; its round fails with `yielded`. */
  readonly interrupt: () => void;
}

export class Turns {
  readonly #options: TurnsOptions;
  #waiting = false;
  #verifying = false;
  #futile = false;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  /** Retention's time has come. */
  asked(): void {
    this.#waiting = true;
    this.look();
  }

  /** The room was measured. */
  look(): void {
    if (!this.#options.pressing()) this.#futile = false;
    else if (this.#waiting && this.#verifying && !this.#futile) this.#options.interrupt();
  }

  /** `removed`: lines. */
  retained(removed: number): void {
    this.#waiting = false;
    this.#futile = removed === 0 && this.#options.pressing();
  }

  verifies(now: boolean): void {
    this.#verifying = now;
    if (now) this.look();
  }
}
