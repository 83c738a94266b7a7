/**
 * Keeps our custom resource definitions at this release, and tells of it: log, metrics, acts. Every replica looks at its start, before
 * it watches anything: in a rolling upgrade the first new one brings new kinds and fields before an old one goes. Later the leader does.
 *
 * Fails closed at the start: with a definition behind its release, a controller does not serve. Old replicas go on, the rollout waits.
 */
import type { Act, Acts } from "#audit/acts.ts";
import type { CustomResource } from "#contract/custom-resources.ts";
import type { Kube } from "#kube/port.ts";
import { type DefinitionChange, type DefinitionOptions, keepDefinitions } from "./definitions.ts";
import type { ControllerMetrics } from "./metrics.ts";

/** A definition is missing or behind, and could not be brought up to this release. */
export class DefinitionsBehind extends Error {
  readonly code = "definitions_behind";
}

export interface DefinitionKeeperOptions {
  readonly kube: Pick<Kube, "get" | "applyAs">;
  readonly definitions: readonly CustomResource[];
  readonly by: DefinitionOptions["by"];
  /** Null: there is no collector to tell. */
  readonly acts: Acts | null;
  readonly metrics: Pick<ControllerMetrics, "definitions" | "definitionChanges">;
  readonly log: (event: string, fields: Readonly<Record<string, string>>) => void;
}

export interface DefinitionKeeper {
  /** Rejects with DefinitionsBehind, which names each one and the ways out; also where the API server cannot be reached. */
  start(): Promise<void>;
  /** Looks again; writes where `leading`. Rejects as `start`, and also for one that was changed. */
  round(leading: boolean): Promise<void>;
  /** Puts on record what was written. Rejects where the collector does not take it: it is told again in the next call. */
  tell(): Promise<void>;
}

/** Acts that the collector did not take yet; what more there is, is in the log only. */
const MAX_UNTOLD = 64;

export function createDefinitionKeeper(options: DefinitionKeeperOptions): DefinitionKeeper {
  const { kube, definitions, acts, metrics, log } = options;
  const untold = new Map<string, Act>();
  let saidNewer = "";

  function changed(change: DefinitionChange): void {
    const { name, how, from, to, by, key } = change;
    const differs = change.differs.join(", ");
    metrics.definitionChanges.with(how).add(1);
    log("definition written", { name, how, from, to, differs, by });
    if (acts !== null && untold.size < MAX_UNTOLD)
      untold.set(key, { key, act: "definition", members: { name, how, from, to, differs, by } });
  }

  /** What is behind; and what was changed, said apart: that alone keeps nobody from starting. */
  async function keep(by: DefinitionOptions["by"]): Promise<{ readonly behind: string; readonly changed: string }> {
    const kept = await keepDefinitions({ kube, definitions, by, changed });
    for (const state of ["current", "newer", "changed", "behind"] as const)
      metrics.definitions.with(state).value = kept.filter((one) => one.state === state).length;
    const says = (state: string): string => kept.flatMap((one) => (one.state === state ? one.says : [])).join("; ");
    if (says("newer") !== saidNewer) {
      saidNewer = says("newer");
      if (saidNewer !== "") log("definitions of a newer release are left alone", { which: saidNewer });
    }
    return { behind: says("behind"), changed: says("changed") };
  }

  return {
    async start() {
      const { behind, changed: differs } = await keep(options.by);
      if (behind !== "") throw new DefinitionsBehind(behind);
      if (differs !== "") log("definitions differ", { which: differs });
    },
    async round(leading) {
      const { behind, changed: differs } = await keep(leading ? options.by : "others");
      if (behind + differs !== "")
        throw new DefinitionsBehind([behind, differs].filter((one) => one !== "").join("; "));
    },
    async tell() {
      for (const [key, act] of untold) {
        await acts?.record(act);
        untold.delete(key);
      }
    },
  };
}
