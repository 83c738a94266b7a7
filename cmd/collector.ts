/**
 * The collector process: reads its configuration, listens, and on SIGTERM answers what is under way and ends. Started by
 * `sidegate run` (a Unix socket; it ends with its parent) or in a cluster (TLS, and each sender says by its pod token who it is).
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { startCollector } from "../src/collector/collector.ts";
import type { Sender } from "../src/collector/ingest.ts";
import type { Listen } from "../src/collector/server.ts";
import { systemClock } from "../src/core/clock.ts";
import {
  absolutePath,
  address,
  type Config,
  integer,
  problemText,
  readConfig,
  setting,
  text,
} from "../src/process/config.ts";

function say(event: string, members: Readonly<Record<string, unknown>>): void {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), event, ...members })}\n`);
}

const SHAPE = {
  database: setting("SIDEGATE_AUDIT_DB", absolutePath()),
  /** A Unix socket; else TLS, with everything below. */
  socket: setting("SIDEGATE_COLLECTOR_SOCKET", absolutePath(), { fallback: "" }),
  host: setting("SIDEGATE_LISTEN_ADDRESS", address(), { fallback: "::" }),
  port: setting("SIDEGATE_LISTEN_NUMBER", integer(0, 65_535), { fallback: 8443 }),
  /** A folder with tls.crt and tls.key. */
  certificates: setting("SIDEGATE_CERTIFICATES", absolutePath(), { fallback: "" }),
  /** The API server's public keys, a JSON Web Key Set, and the issuer that it writes into tokens. */
  tokenKeys: setting("SIDEGATE_TOKEN_KEYS", absolutePath(), { fallback: "" }),
  tokenIssuer: setting("SIDEGATE_TOKEN_ISSUER", text(), { fallback: "https://kubernetes.default.svc.cluster.local" }),
} as const;

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

function listenOn(config: Config<typeof SHAPE>): Listen {
  const { socket, host, port, certificates, tokenKeys } = config;
  if (socket !== "") return { kind: "unix", path: socket };
  if (certificates === "" || tokenKeys === "")
    fail("SIDEGATE_COLLECTOR_SOCKET, or SIDEGATE_CERTIFICATES and SIDEGATE_TOKEN_KEYS, must say how to listen.");
  const read = (name: string): string => readFileSync(path.join(certificates, name), "utf8");
  return { kind: "tls", host, port, cert: read("tls.crt"), key: read("tls.key") };
}

/** The verifier of tokens is loaded only where it is used. */
async function podSender(
  config: Config<typeof SHAPE>,
): Promise<(authorization: string | null) => Promise<Sender | null>> {
  const { createPodTokens } = await import("../src/identity/pod-token.ts");
  const keys = JSON.parse(readFileSync(config.tokenKeys, "utf8")) as Parameters<typeof createPodTokens>[0]["keys"];
  const tokens = createPodTokens({ keys, issuer: config.tokenIssuer, wallMs: () => systemClock.wallMs() });
  return async (authorization) => {
    const reading = await tokens(authorization);
    if (reading.kind === "refused") {
      say("sender refused", { why: reading.why });
      return null;
    }
    const { namespace, pod, uid } = reading.identity;
    return { subject: `${namespace}/${pod}`, claims: { namespace, pod, uid } };
  };
}

const reading = readConfig(process.env, SHAPE);
const config = reading.ok ? reading.config : fail(problemText(reading.problems));
const listen = listenOn(config);

const collector = await startCollector({
  database: config.database,
  listen,
  authenticate: listen.kind === "unix" ? null : await podSender(config),
  clock: systemClock,
  onFinding: (finding, boot, seq) => say("finding", { finding, boot, seq }),
  onError: (fault) => say("error", { message: fault.message }),
});
process.send?.({ kind: "ready" });
if (listen.kind === "tls") say("serving", { port: collector.port });

let ending = false;
async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  await collector.close();
  process.exit(0);
}
process.on("SIGTERM", () => void end());
process.on("SIGINT", () => void end());
// The parent that started us is gone: nobody will send any more.
process.on("disconnect", () => void end());
