/**
 * What a collector in a cluster is given from outside, and follows while it runs: its certificate, token keys of this cluster and of
 * others, retention rules; and the API server that is asked about readers. What cannot be read or does not fit changes nothing.
 */
import { X509Certificate } from "node:crypto";
import path from "node:path";
import { createSecureContext } from "node:tls";
import type { Worker } from "node:worker_threads";
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { systemClock } from "#core/clock.ts";
import { createKube } from "#kube/client.ts";
import { podAccess } from "#kube/pod-access.ts";
import type { Kube } from "#kube/port.ts";
import { findAccess } from "#kube/user-access.ts";
import { createRegistry } from "#process/metrics.ts";
import { type PolledFiles, pollFiles } from "#process/polled-files.ts";
import type { ClusterOptions } from "./cluster-work.ts";
import type { Collector } from "./collector.ts";
import { KEEP_ALL, type RetentionRules, readRetention } from "./retention.ts";
import { createSenders, type Senders, type TokenIssuer } from "./senders.ts";

export interface ClusterSettings {
  readonly certificates: string;
  readonly tokenKeys: string;
  readonly tokenIssuer: string;
  readonly issuers: string;
  readonly cluster: string;
  readonly actors: readonly string[];
  readonly retention: string;
  readonly retainSeconds: number;
  readonly maxBytes: number;
  readonly verifySeconds: number;
  readonly kubeconfig: string;
  readonly apiHost: string;
  readonly apiPort: string;
}

export interface ClusterParts {
  readonly certificate: { readonly cert: string; readonly key: string };
  readonly senders: Senders;
  readonly options: ClusterOptions;
  /** From here on what changes outside reaches the collector. */
  follow(collector: Collector): void;
  close(): void;
}

type Say = (event: string, members: Readonly<Record<string, unknown>>) => void;

const POLL_MS = 5_000;
const Issuers = Compile(
  Type.Array(
    Type.Object({
      cluster: Type.String({ minLength: 1, maxLength: 253 }),
      issuer: Type.String({ minLength: 1, maxLength: 1_000 }),
      keys: Type.Object({ keys: Type.Array(Type.Record(Type.String(), Type.Unknown())) }),
    }),
    { maxItems: 16 },
  ),
);

/** Rejects where something of it cannot be read for the first time. */
export async function openClusterParts(
  settings: ClusterSettings,
  say: Say,
  thread: () => Worker,
): Promise<ClusterParts> {
  let collector: Collector | null = null;
  const refused = (what: "certificate" | "keys" | "retention") => (fault: unknown) => {
    collector?.reloaded(what, "refused");
    say("not taken over", { what, why: fault instanceof Error ? fault.message : String(fault) });
  };
  const taken = (what: "certificate" | "keys" | "retention"): void => {
    collector?.reloaded(what, "taken");
    say("taken over", { what });
  };
  const senders = createSenders({
    wallMs: () => systemClock.wallMs(),
    actors: new Set(settings.actors),
    refused: (why) => say("sender refused", { why }),
  });

  const { certificates, tokenKeys, issuers, retention } = settings;
  const certificate = pollFiles({
    paths: [path.join(certificates, "tls.crt"), path.join(certificates, "tls.key")],
    parse: readServing,
    everyMs: POLL_MS,
    onChange(value) {
      collector?.useCertificate(value);
      taken("certificate");
    },
    onFault: refused("certificate"),
  });
  const keys = pollFiles({
    paths: issuers === "" ? [tokenKeys] : [tokenKeys, issuers],
    // Tried at once, so that a set that cannot be read takes nobody's place.
    parse: ([own = "", others = "[]"]) => {
      const read = issuersOf(settings, own, others);
      createSenders({ wallMs: () => 0, actors: new Set(), refused: () => undefined }).use(read);
      return read;
    },
    everyMs: POLL_MS,
    onChange(value) {
      senders.use(value);
      taken("keys");
    },
    onFault: refused("keys"),
  });
  senders.use(keys.current);
  const rules: PolledFiles<RetentionRules> | null =
    retention === ""
      ? null
      : pollFiles({
          paths: [retention],
          parse: ([text = ""]) => readRetention(text),
          everyMs: POLL_MS,
          onChange: () => taken("retention"),
          onFault: refused("retention"),
        });

  return {
    certificate: certificate.current,
    senders,
    options: {
      kube: await kubeOf(settings, say),
      actor: (authorization) => senders.actor(authorization),
      retention: () => rules?.current ?? KEEP_ALL,
      maxBytes: settings.maxBytes,
      retainEveryMs: settings.retainSeconds * 1_000,
      verifyEveryMs: settings.verifySeconds * 1_000,
      registry: createRegistry(),
      thread,
      certificateEndsMs: () => certificate.current.endsMs,
    },
    follow(started) {
      collector = started;
    },
    close() {
      for (const polled of [certificate, keys, rules]) polled?.close();
    },
  };
}

/** Throws where they do not belong together: half of a rotation must not end us. */
export function readServing([cert = "", key = ""]: readonly string[]): {
  readonly cert: string;
  readonly key: string;
  readonly endsMs: number;
} {
  createSecureContext({ cert, key });
  return { cert, key, endsMs: new X509Certificate(cert).validToDate.getTime() };
}

function issuersOf({ cluster, tokenIssuer }: ClusterSettings, own: string, others: string): readonly TokenIssuer[] {
  const given: unknown = JSON.parse(others);
  if (!Issuers.Check(given)) throw new TypeError("token issuers: must be [{cluster, issuer, keys}]");
  if (given.some((one) => one.cluster === cluster))
    throw new TypeError(`token issuers: ${cluster} is this cluster's own name`);
  return [
    { cluster, issuer: tokenIssuer, keys: own, own: true },
    ...given.map((one) => ({ cluster: one.cluster, issuer: one.issuer, keys: JSON.stringify(one.keys), own: false })),
  ];
}

async function kubeOf({ kubeconfig, apiHost, apiPort }: ClusterSettings, say: Say): Promise<Kube | null> {
  const around = { env: {}, home: "", interactive: false, wallMs: () => systemClock.wallMs() };
  if (kubeconfig !== "") return createKube(await findAccess({ kubeconfig, context: "" }, around));
  // A pod without a token (an older chart): nobody reads, everything else goes on.
  if (apiHost === "") return null;
  return await podAccess(apiHost, apiPort).then(createKube, (fault: unknown) => {
    say("nobody can read", { why: fault instanceof Error ? fault.message : String(fault) });
    return null;
  });
}
