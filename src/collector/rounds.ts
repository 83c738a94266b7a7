/**
 * Work that comes back: never two of a kind at once, some of it never beside other such work, and all of it waited for at the end. A
 * fault of one round is told, and ends none.
 */
export class Rounds {
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #running = new Map<string, Promise<void>>();
  readonly #work = new Map<string, () => Promise<void>>();
  readonly #fault: (where: string, cause: unknown) => void;
  #alone: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(fault: (where: string, cause: unknown) => void) {
    this.#fault = fault;
  }

  /** `everyMs`: 0: only when asked for. */
  every(everyMs: number, name: string, work: () => Promise<void>): void {
    this.#work.set(name, work);
    if (everyMs <= 0) return;
    const timer = setInterval(() => this.soon(name), everyMs);
    timer.unref();
    this.#timers.push(timer);
  }

  /** As `every`; a round waits until no other of this kind is under way. `asked`: called before it waits. */
  everyAlone(everyMs: number, name: string, work: () => Promise<void>, asked: () => void = () => undefined): void {
    this.every(everyMs, name, () => {
      asked();
      const mine = this.#alone.then(() => (this.#closed ? undefined : work()));
      this.#alone = mine.catch(() => undefined);
      return mine;
    });
  }

  soon(name: string): void {
    const work = this.#work.get(name);
    if (work === undefined || this.#running.has(name)) return;
    const round = work()
      .catch((cause: unknown) => this.#fault(name, cause))
      .finally(() => this.#running.delete(name));
    this.#running.set(name, round);
  }

  /** What waits for its turn is left out. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all(this.#running.values());
  }
}
