/**
 * Observe mode of a namespace: its label, and the date at which it ends. What begins, ends or cannot begin is told on the namespace and
 * put on record.
 *
 * Errs towards enforcing: without a date, with one that cannot be read, or one more than 14 days after it was written, nothing is
 * observed. When it was written the API server says (`managedFields`), so that a far date does not become a near one by waiting.
 */
import type { Acts } from "#audit/acts.ts";
import { MAX_OBSERVE_MS, NAMESPACE_LABEL, OBSERVE_UNTIL } from "#contract/control-environment.ts";
import type { Tell } from "#kube/events.ts";
import type { KubeObject } from "#kube/port.ts";

export interface Observation {
  /** Wall milliseconds until which it observes, also when that is past; 0: it does not. */
  readonly untilMs: number;
  /** Why it does not although it is asked for; "": there is no fault. */
  readonly fault: string;
}

/** The clocks of the API server's writer and of whoever chose the date need not agree to the second. */
const SLACK_MS = 60_000;
const DAYS = MAX_OBSERVE_MS / 86_400_000;
const NONE: Observation = { untilMs: 0, fault: "" };

/** `nowMs`: counts as the time of writing where the object does not say it. */
export function observationOf(object: KubeObject, nowMs: number): Observation {
  const { labels = {}, annotations = {} } = object.metadata;
  if (labels[NAMESPACE_LABEL.mode] !== "observe") return NONE;
  const text = annotations[OBSERVE_UNTIL];
  if (text === undefined)
    return { untilMs: 0, fault: `the annotation ${OBSERVE_UNTIL} is missing, and without an end it does not begin` };
  const untilMs = RFC3339.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(untilMs)) return { untilMs: 0, fault: `${OBSERVE_UNTIL} is no time like 2026-01-31T18:00:00Z` };
  if (untilMs - (writtenMs(object) ?? nowMs) > MAX_OBSERVE_MS + SLACK_MS)
    return { untilMs: 0, fault: `${OBSERVE_UNTIL} is more than ${DAYS} days ahead` };
  return { untilMs, fault: "" };
}

const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/;

interface ManagedFields {
  readonly time?: string;
  readonly fieldsV1?: { readonly "f:metadata"?: { readonly "f:annotations"?: Readonly<Record<string, unknown>> } };
}

/** The last write of the writer who has the date. */
function writtenMs({ metadata }: KubeObject): number | null {
  const times = ((metadata.managedFields ?? []) as readonly ManagedFields[])
    .filter(({ fieldsV1 }) => fieldsV1?.["f:metadata"]?.["f:annotations"]?.[`f:${OBSERVE_UNTIL}`] !== undefined)
    .map(({ time }) => Date.parse(time ?? ""))
    .filter((time) => !Number.isNaN(time));
  return times.length === 0 ? null : Math.max(...times);
}

/** What is kept of a namespace, as far as this concerns it. */
export interface Observing {
  readonly uid: string;
  readonly observeUntilMs: number;
  readonly observeFault: string;
}

export interface ObservationWork {
  readonly namespaces: ReadonlyMap<string, Observing>;
  readonly tell: Tell;
  /** Null: there is no collector to tell. */
  readonly acts: Acts | null;
  readonly onFault: (fault: unknown) => void;
}

/** What was told of a namespace already. */
export type ToldObservations = Map<string, string>;

/**
 * The leader's round. `told`: emptied for each new leader; acts bear keys and Events names by content, so that telling twice is
 * harmless. What the collector does not take is told again in the next round.
 */
export async function tellObservations(work: ObservationWork, told: ToldObservations, nowMs: number): Promise<void> {
  const { namespaces, tell, acts, onFault } = work;
  for (const name of told.keys()) if (!namespaces.has(name)) told.delete(name);
  for (const [name, { uid, observeUntilMs, observeFault }] of namespaces) {
    const until = observeUntilMs === 0 ? "" : new Date(observeUntilMs).toISOString();
    const state =
      observeFault !== ""
        ? `fault ${observeFault}`
        : until === ""
          ? ""
          : `${observeUntilMs > nowMs ? "begun" : "over"} ${until}`;
    if ((told.get(name) ?? "") === state) continue;
    const about: KubeObject = { apiVersion: "v1", kind: "Namespace", metadata: { name, uid } };
    try {
      if (observeFault !== "")
        tell({
          about,
          type: "Warning",
          reason: "NotObserving",
          message: `observe mode does not begin: ${observeFault}; the namespace is enforced`,
        });
      else if (until !== "") {
        const begins = observeUntilMs > nowMs;
        await acts?.record({
          key: `observe/${uid}/${until}/${begins ? "begin" : "end"}`,
          act: begins ? "observe" : "enforce",
          members: { namespace: name, until },
        });
        tell(
          begins
            ? {
                about,
                type: "Normal",
                reason: "Observing",
                message: `until ${until} what policy would deny goes on, and is recorded as such`,
              }
            : {
                about,
                type: "Normal",
                reason: "Enforced",
                message: `observe mode ended at ${until}: what policy denies is denied`,
              },
        );
      } else if (told.get(name)?.startsWith("begun ") === true) {
        // Taken back before its date. The begin has the date in its key, and so has this.
        const before = told.get(name)?.slice("begun ".length) ?? "";
        await acts?.record({
          key: `observe/${uid}/${before}/taken-back`,
          act: "enforce",
          members: { namespace: name, until: before },
        });
        tell({
          about,
          type: "Normal",
          reason: "Enforced",
          message: "observe mode was ended: what policy denies is denied",
        });
      }
      told.set(name, state);
    } catch (fault) {
      onFault(fault);
    }
  }
}
