/** Events (core/v1) on objects, for `kubectl describe`. An event that cannot be written is a fault for the log, never for the work. */
import { createHash } from "node:crypto";
import type { Clock } from "#core/clock.ts";
import { escapeAndCut } from "#core/escape.ts";
import { hasStatus, type Kube, type KubeObject } from "./port.ts";
import { RESOURCE } from "./resources.ts";

export interface Told {
  readonly about: KubeObject;
  readonly type: "Normal" | "Warning";
  /** CamelCase, a constant of ours. */
  readonly reason: string;
  readonly message: string;
}

export type Tell = (told: Told) => void;

const MAX_MESSAGE = 1_000;

/** Where Kubernetes wants events on objects that have no namespace. */
const CLUSTER = "default";

/** The same thing about the same object is one event, however often it is told. */
export function createTell(kube: Kube, clock: Clock, onFault: (fault: unknown) => void): Tell {
  return ({ about, type, reason, message }) => {
    const { name, uid = "", namespace: own = "" } = about.metadata;
    const at = own === "" ? CLUSTER : own;
    const id = createHash("sha256").update(`${uid}\0${reason}\0${message}`).digest("hex").slice(0, 16);
    const time = new Date(clock.wallMs()).toISOString().replace(/\.\d+Z$/, "Z");
    const event = {
      metadata: { namespace: at, name: `${name.slice(0, 200)}.${id}` },
      involvedObject: {
        apiVersion: about.apiVersion,
        kind: about.kind,
        name,
        uid,
        ...(own === "" ? {} : { namespace: own }),
      },
      type,
      reason,
      message: escapeAndCut(message, MAX_MESSAGE),
      source: { component: "sidegate" },
      reportingComponent: "sidegate.dev/controller",
      reportingInstance: "sidegate",
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    };
    void kube.create(RESOURCE.event, event).catch((fault: unknown) => {
      if (!hasStatus(fault, 409)) onFault(fault);
    });
  };
}
