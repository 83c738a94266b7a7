/**
 * The credentials' part of a controller, joined: which Secrets are watched, who is handed what, and what a target's status says.
 * Every replica has one; statuses are written by the leader.
 */
import { randomUUID } from "node:crypto";
import type { Acts } from "#audit/acts.ts";
import type { Clock } from "#core/clock.ts";
import { fetchToken } from "#identity/client-credentials.ts";
import type { InjectionOptions } from "#injection/options.ts";
import type { Kube } from "#kube/port.ts";
import type { Fleet, Known } from "../fleet.ts";
import type { ObservedTarget } from "../observed.ts";
import type { HandOut } from "./asking.ts";
import { createHandOut } from "./hand-out.ts";
import { type Lack, lookUp, referenceOf } from "./make.ts";
import { whyNotNow } from "./pod-now.ts";
import { createSecrets } from "./secrets.ts";
import { createTokens } from "./tokens.ts";

export interface CredentialRoomOptions {
  readonly kube: Kube;
  readonly known: Known;
  readonly fleet: Fleet;
  readonly own: string;
  /** Namespaces whose Secrets may be read. */
  readonly allowed: readonly string[];
  /** How long a sidecar may use one without asking again. */
  readonly lifetimeMs: number;
  readonly checkCaller: boolean;
  readonly injection: () => InjectionOptions | null;
  readonly acts: Pick<Acts, "record"> | null;
  readonly clock: Clock;
  readonly counted: (outcome: string) => void;
  readonly log: (event: string, fields: Readonly<Record<string, string>>) => void;
  /** A Secret came or went: statuses may differ. */
  readonly onChange: () => void;
  readonly onFault: (fault: unknown) => void;
  readonly signal: AbortSignal;
}

export interface CredentialRoom {
  readonly handOut: HandOut;
  /** Targets, policies or pods have changed. */
  refresh(): void;
  /** What keeps a target's credential from being handed out; null: nothing, or it has none. */
  lack(target: ObservedTarget): Lack | null;
}

export function createCredentialRoom(options: CredentialRoomOptions): CredentialRoom {
  const { kube, known, fleet, own, allowed, clock, signal } = options;
  const secrets = createSecrets({
    kube,
    onChange() {
      handOut.changed();
      options.onChange();
    },
    onFault: options.onFault,
    signal,
  });
  const handOut = createHandOut({
    known,
    fleet,
    own,
    allowed,
    checkCaller: options.checkCaller,
    secrets,
    tokens: createTokens({ clock, fetch: fetchToken }),
    lifetimeMs: options.lifetimeMs,
    whyNotNow: (identity) =>
      whyNotNow(kube, identity, {
        injection: options.injection(),
        namespaceLabels: known.namespaces.get(identity.namespace)?.labels ?? {},
      }),
    acts: options.acts,
    randomId: randomUUID,
    clock,
    counted: options.counted,
    log: options.log,
    onFault: options.onFault,
  });
  return {
    handOut,
    refresh() {
      const keys = new Set<string>();
      for (const target of known.targets.values()) {
        if (target.malformed !== "" || target.spec.credentialFrom === undefined) continue;
        const reference = referenceOf(target, { own, allowed });
        if (!("kind" in reference)) keys.add(reference.key);
      }
      secrets.want(keys);
      handOut.changed();
    },
    lack(target) {
      if (target.malformed !== "" || target.spec.credential === undefined) return null;
      const found = lookUp(referenceOf(target, { own, allowed }), secrets);
      return found.kind === "lack" ? found : null;
    },
  };
}
