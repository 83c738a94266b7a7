/**
 * What came of a pod's review, as an Event on its workload: a refused pod never exists, so its author looks there. Once an hour for the
 * same thing; a dry run leaves none. Anybody may write an owner into a pod: it counts from Kubernetes' own controllers only.
 *
 * Nothing proves that it is the API server who asks: whoever reaches our port may say that he is, and name owners at will. So there are only
 * so many Events, for each namespace and in all.
 */
import { assertNever } from "#core/assert-never.ts";
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";
import { POD_CONTROLLERS } from "#injection/owner.ts";
import type { Tell } from "#kube/events.ts";
import { controllerOf } from "./behind.ts";
import type { Outcome } from "./outcome.ts";
import type { AdmissionRequest } from "./review.ts";

const KEPT = 4_096;
const AGAIN_MS = 3_600_000;
/** At once, and then one every so many milliseconds. */
const OF_NAMESPACE = { burst: 30, everyMs: 10_000 } as const;
const OF_ALL = { burst: 300, everyMs: 500 } as const;
const CONTROLLERS: ReadonlySet<string> = new Set(POD_CONTROLLERS);

export type OwnerEvents = (request: AdmissionRequest, outcome: Outcome) => void;

export function createOwnerEvents({ tell, clock }: { readonly tell: Tell; readonly clock: Clock }): OwnerEvents {
  const told = new Lru<string, number>(KEPT);
  const namespaces = new Lru<string, () => boolean>(KEPT);
  const inAll = tokens(OF_ALL, clock);
  const mayTell = (namespace: string): boolean => {
    let its = namespaces.get(namespace);
    if (its === undefined) namespaces.set(namespace, (its = tokens(OF_NAMESPACE, clock)));
    return its() && inAll();
  };
  return (request, outcome) => {
    const owner = controllerOf(request.object);
    if (owner?.uid === undefined || request.dryRun === true) return;
    if (!CONTROLLERS.has(request.userInfo.username ?? "")) return;
    const said = textOf(outcome);
    if (said === null) return;
    const key = `${owner.uid}\0${said.reason}\0${said.message}`;
    const now = clock.elapsedMs();
    const last = told.get(key);
    if (last !== undefined && now - last < AGAIN_MS) return;
    const namespace = request.namespace ?? "";
    if (!mayTell(namespace)) return;
    told.set(key, now);
    const { apiVersion = "", kind = "", name = "", uid } = owner;
    tell({ about: { apiVersion, kind, metadata: { namespace, name, uid } }, ...said });
  };
}

/** Answers whether there is one left, and takes it. */
function tokens({ burst, everyMs }: { readonly burst: number; readonly everyMs: number }, clock: Clock): () => boolean {
  let left: number = burst;
  let atMs = clock.elapsedMs();
  return () => {
    const now = clock.elapsedMs();
    left = Math.min(burst, left + (now - atMs) / everyMs);
    atMs = now;
    if (left < 1) return false;
    left--;
    return true;
  };
}

interface Said {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

function textOf({ kind, answer }: Outcome): Said | null {
  switch (kind) {
    case "denied":
    case "failed":
      return { type: "Warning", reason: "GatewayRefused", message: answer.response.status?.message ?? "" };
    case "injected":
      return {
        type: "Normal",
        reason: "GatewayInjected",
        message: ["its pods get the gateway", ...(answer.response.warnings ?? [])].join("; "),
      };
    case "exempt":
      return {
        type: "Normal",
        reason: "GatewayExempt",
        message: "its pods run without the gateway: an administrator has exempted their service account",
      };
    case "allowed":
    case "stamped":
    case "misdirected":
      return null;
    default:
      return assertNever(kind);
  }
}
