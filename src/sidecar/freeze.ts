/** A freeze, as this sidecar tells of it: a line of the record and of the log when it begins and when it ends. The bundle carries it. */
import { frozenText } from "#contract/freeze.ts";
import type { LoadedPolicy } from "#contract/policy-port.ts";
import type { Recorder } from "#contract/record.ts";
import { quote } from "#core/json-text.ts";

/** Called with each bundle that comes into force. */
export function followFreeze(
  recorder: Pick<Recorder, "note">,
  say: (message: string) => void,
): (loaded: LoadedPolicy) => void {
  let current = "";
  return ({ settings: { freeze } }) => {
    const id = freeze?.id ?? "";
    if (id === current) return;
    current = id;
    if (freeze === undefined) {
      recorder.note("unfrozen", "");
      say("no longer frozen");
      return;
    }
    const { scope, by, reason, since } = freeze;
    const members = `"freeze":${quote(id)},"scope":"${scope}","by":${quote(by)},"reason":${quote(reason)},"since":${quote(since)}`;
    recorder.note("frozen", members);
    say(frozenText(freeze));
  };
}
