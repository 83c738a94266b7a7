/**
 * What an agent brings along of its own: an authenticator to a target whose credential we put in (it would act there as somebody
 * else, THREATS H4), a placeholder where nothing is put in. Told as findings, at most once a minute each, so that an agent cannot fill
 * the record with them.
 */
import type { Settings } from "#contract/policy-port.ts";
import type { Target } from "#contract/target.ts";
import type { Clock } from "#core/clock.ts";
import { quote } from "#core/json-text.ts";
import { Lru } from "#core/lru.ts";
import type { Brought } from "#sidecar/seam/verdict.ts";

export type Bringing =
  | { readonly kind: "nothing" }
  | { readonly kind: "strip" }
  | { readonly kind: "deny"; readonly code: "foreign_credential" | "placeholder_misplaced"; readonly what: string };

const FINDING_MS = 60_000;
const MAX_FINDINGS = 256;

export class Findings {
  readonly #told = new Lru<string, number>(MAX_FINDINGS);
  readonly #clock: Clock;
  readonly #note: (kind: string, members: string) => void;

  constructor(clock: Clock, note: (kind: string, members: string) => void) {
    this.#clock = clock;
    this.#note = note;
  }

  tell(kind: string, target: string, host: string, what: string, done: string): void {
    const key = `${kind}\n${target}\n${host}\n${what}\n${done}`;
    const now = this.#clock.elapsedMs();
    const told = this.#told.get(key);
    if (told !== undefined && now - told < FINDING_MS) return;
    this.#told.set(key, now);
    this.#note(kind, `"target":${quote(target)},"host":${quote(host)},"what":${quote(what)},"done":${quote(done)}`);
  }

  /** `settings` of the bundle in force. */
  judge({ foreign, misplaced }: Brought, target: Target | null, host: string, settings: Settings): Bringing {
    const name = target?.name ?? "";
    const observing = settings.mode === "observe";
    if (misplaced.length > 0) {
      const what = misplaced.join(", ");
      this.tell("placeholder-misplaced", name, host, what, observing ? "warn" : "deny");
      if (!observing) return { kind: "deny", code: "placeholder_misplaced", what };
    }
    if (foreign.length === 0 || target?.credential === undefined) return NOTHING;
    const wished = observing ? "warn" : (settings.foreign ?? "deny");
    // What stands in a path cannot be taken out of it.
    const done = wished === "strip" && foreign.includes("path") ? "deny" : wished;
    const what = foreign.join(", ");
    this.tell("foreign-credential", name, host, what, done);
    if (done === "deny") return { kind: "deny", code: "foreign_credential", what };
    return done === "strip" ? { kind: "strip" } : NOTHING;
  }
}

const NOTHING: Bringing = { kind: "nothing" };
