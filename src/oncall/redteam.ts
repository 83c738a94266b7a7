/**
 * `sidegate redteam`: what a hijacked agent would try, tried from inside one ordinary pod of an opted-in namespace, as root and as
 * another user, and shown. The pod is made as any author could make it, and removed in the end.
 *
 * Fails where an attempt escaped, and just so where the attempts could not be carried out: nothing tried is nothing proven.
 */
import { randomInt } from "node:crypto";
import { deflateSync } from "node:zlib";
import { ANNOTATION, LABEL } from "#contract/names.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import { hasStatus, type KubeObject } from "#kube/port.ts";
import type { Cluster } from "./cluster.ts";
import { listAt, numberAt, textAt } from "./members.ts";
import { type EndedPod, podEnded, podLog } from "./short-pod.ts";

export interface RedteamWish {
  readonly namespace: string;
  /** With `python3`. */
  readonly image: string;
  /** The second user; the first is 0. */
  readonly uid: number;
  /** The attempts: a Python program, text. */
  readonly script: string;
  /** What it is told beside `--json`. */
  readonly args: readonly string[];
  readonly limitMs: number;
}

export type Outcome = "died" | "ESCAPED" | "skipped" | "broken";

export interface Attempt {
  readonly id: string;
  readonly outcome: Outcome;
  readonly detail: string;
}

export interface Run {
  readonly uid: number;
  readonly attempts: readonly Attempt[];
  /** Why there are none, or not all; "" where they are whole. */
  readonly why: string;
}

export type Redteam =
  | { readonly kind: "ran"; readonly pod: string; readonly runs: readonly Run[] }
  /** No pod with a gateway came about: why, and what to do. */
  | { readonly kind: "not run"; readonly why: string };

const CONTAINERS = { root: "as-root", other: "as-user" } as const;
/** The program comes as an argument, packed: a ConfigMap would need one right more, and the image need not have it. */
const START =
  "import base64, sys, zlib\n" +
  "t = zlib.decompress(base64.b64decode(sys.argv.pop(1))).decode()\n" +
  "try:\n  exec(compile(t, 'attempts', 'exec'), {'__name__': '__main__', 'SOURCE': t})\n" +
  // Whatever it found, the next container has its turn.
  "except SystemExit as e:\n  sys.exit(e.code if e.code == 64 else 0)\n";

export async function redteam(cluster: Cluster, wish: RedteamWish, signal: AbortSignal): Promise<Redteam> {
  const namespace = await cluster.get(ADMIN_RESOURCE.namespace, wish.namespace);
  const opted = namespace?.metadata.labels?.[LABEL.inject];
  if (namespace === null) return { kind: "not run", why: `there is no namespace ${JSON.stringify(wish.namespace)}` };
  if (opted !== "all" && opted !== "opt-in")
    return {
      kind: "not run",
      why: `namespace ${wish.namespace} has not opted in: kubectl label namespace ${wish.namespace} ${LABEL.inject}=all`,
    };
  const pod = redteamPod(wish, opted === "opt-in");
  const name = { namespace: wish.namespace, name: pod.metadata.name };
  let made: KubeObject;
  try {
    made = await cluster.kube.create(ADMIN_RESOURCE.pod, pod);
  } catch (fault) {
    return { kind: "not run", why: `the pod is refused: ${fault instanceof Error ? fault.message : String(fault)}` };
  }
  try {
    if (made.metadata.annotations?.[ANNOTATION.injected] === undefined)
      return {
        kind: "not run",
        why: `the pod was let in WITHOUT a gateway: has namespace ${wish.namespace} opted in? sidegate doctor says more`,
      };
    const ended = await podEnded(cluster, name, { limitMs: wish.limitMs, signal });
    const runs = await Promise.all(
      [
        { uid: 0, container: CONTAINERS.root },
        { uid: wish.uid, container: CONTAINERS.other },
      ].map(async ({ uid, container }) => {
        const log = await podLog(cluster, name, container).catch(() => "");
        return readRun(uid, log, ended);
      }),
    );
    return { kind: "ran", pod: `${name.namespace}/${name.name}`, runs };
  } finally {
    await cluster.remove(ADMIN_RESOURCE.pod, name).catch((fault: unknown) => {
      if (!hasStatus(fault, 404)) throw fault;
    });
  }
}

/** `asks`: where the namespace leaves it to the pods. */
export function redteamPod(wish: RedteamWish, asks: boolean): KubeObject {
  const { namespace, image, uid, script, args, limitMs } = wish;
  const packed = deflateSync(script, { level: 9 }).toString("base64");
  const container = (name: string, runAsUser: number): object => ({
    name,
    image,
    command: ["python3", "-c", START, packed, "--json", ...args],
    ports: [{ containerPort: 8080 }],
    resources: { requests: { cpu: "50m", memory: "64Mi" }, limits: { cpu: "1", memory: "256Mi" } },
    securityContext: { runAsUser },
  });
  const pod = {
    metadata: {
      namespace,
      name: `sidegate-redteam-${randomInt(2 ** 40).toString(36)}`,
      labels: { app: "sidegate-redteam", ...(asks && { [LABEL.inject]: "true" }) },
    },
    spec: {
      restartPolicy: "Never",
      activeDeadlineSeconds: Math.ceil(limitMs / 1000),
      terminationGracePeriodSeconds: 1,
      // One after the other: they would find each other's listeners.
      initContainers: [container(CONTAINERS.root, 0)],
      containers: [container(CONTAINERS.other, uid)],
    },
  };
  return pod;
}

const OUTCOMES: readonly Outcome[] = ["died", "ESCAPED", "skipped", "broken"];

/** The last JSON object of the log; what stands before it are warnings of whoever. */
export function readRun(uid: number, log: string, ended: EndedPod): Run {
  const start = log.lastIndexOf('{"v": 1');
  const late = ended.kind === "late" ? "not ended in time" : ended.kind === "stopped" ? "stopped" : "it did not end";
  const missing = {
    uid,
    attempts: [],
    why: [`${late}: ${ended.why}`, log.trim().split("\n").at(-1) ?? ""].filter(Boolean).join("; "),
  };
  if (start === -1) return missing;
  let value: unknown;
  try {
    value = JSON.parse(log.slice(start));
  } catch {
    return missing;
  }
  const attempts = listAt(value, "attempts").flatMap((row) => {
    const outcome = OUTCOMES.find((one) => one === textAt(row, "outcome"));
    const id = textAt(row, "id") || textAt(row, "name");
    return outcome === undefined || id === "" ? [] : [{ id, outcome, detail: textAt(row, "detail") }];
  });
  const said =
    numberAt(value, "died") + numberAt(value, "escaped") + numberAt(value, "skipped") + numberAt(value, "broken");
  if (numberAt(value, "uid") !== uid) return { uid, attempts, why: `it ran as uid ${numberAt(value, "uid")}` };
  if (attempts.length === 0 || attempts.length !== said)
    return { uid, attempts, why: `it says ${said} attempts, ${attempts.length} could be read` };
  return { uid, attempts, why: "" };
}

/** Nothing escaped, and everything was tried. */
export function isTight(result: Redteam): boolean {
  return (
    result.kind === "ran" &&
    result.runs.length > 0 &&
    result.runs.every(
      ({ why, attempts }) => why === "" && attempts.every(({ outcome }) => outcome === "died" || outcome === "skipped"),
    )
  );
}
