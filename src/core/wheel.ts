/**
 * Time limits for many connections with one timer. An alarm costs a list insertion; a Node timer a connection would cost a
 * heap operation and an object that V8 keeps. Alarms fire up to one tick late, never early: limits here are seconds.
 */
export interface Alarm {
  cancel(): void;
}

export interface Wheel {
  /** Calls `fire` once, `ms` to `ms + tickMs` from now. */
  after(ms: number, fire: () => void): Alarm;
  stop(): void;
}

class Entry implements Alarm {
  fire: (() => void) | null;
  rounds: number;
  constructor(fire: () => void, rounds: number) {
    this.fire = fire;
    this.rounds = rounds;
  }
  cancel(): void {
    this.fire = null;
  }
}

const SLOTS = 256;

/** `tickMs` is the resolution. The timer runs only while an alarm is pending and keeps no process alive. */
export function createWheel(tickMs = 100): Wheel {
  const slots: Entry[][] = Array.from({ length: SLOTS }, () => []);
  let cursor = 0;
  let pending = 0;
  let timer: NodeJS.Timeout | null = null;
  let last = 0;

  function tick(): void {
    // A late timer (a busy loop) must not stretch the limits: catch up by elapsed time.
    const now = performance.now();
    let steps = Math.max(1, Math.floor((now - last) / tickMs));
    last += steps * tickMs;
    for (; steps > 0; steps--) turn();
    if (pending === 0 && timer !== null) {
      clearInterval(timer);
      timer = null;
    }
  }

  function turn(): void {
    cursor = (cursor + 1) % SLOTS;
    const due = slots[cursor];
    if (due === undefined || due.length === 0) return;
    const later: Entry[] = [];
    slots[cursor] = later;
    for (const entry of due) {
      if (entry.fire === null) pending--;
      else if (entry.rounds > 0) {
        entry.rounds--;
        later.push(entry);
      } else {
        pending--;
        const fire = entry.fire;
        entry.fire = null;
        fire();
      }
    }
  }

  return {
    after(ms, fire) {
      if (timer === null) {
        last = performance.now();
        timer = setInterval(tick, tickMs);
        timer.unref();
      }
      // One tick more than needed: the current tick has partly passed, and an alarm is never early.
      const ticks = Math.max(1, Math.ceil(ms / tickMs) + 1);
      const entry = new Entry(fire, Math.floor((ticks - 1) / SLOTS));
      slots[(cursor + ticks) % SLOTS]?.push(entry);
      pending++;
      return entry;
    },
    stop() {
      if (timer !== null) clearInterval(timer);
      timer = null;
      for (const slot of slots) slot.length = 0;
      pending = 0;
    },
  };
}
