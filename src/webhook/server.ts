/**
 * Serves reviews over TLS. The API server is the only caller: bounded bodies, bounded times, two paths, and a fault of ours is an
 * answer that refuses.
 */
import type { Server } from "node:https";
import fastify, { type FastifyInstance } from "fastify";
import { REVIEW_PATH } from "#contract/control-environment.ts";
import type { Clock } from "#core/clock.ts";
import { shareConnections } from "#process/fair-connections.ts";
import { CONTENT_TYPE, type Registry } from "#process/metrics.ts";
import type { ServingCertificate } from "./certificate.ts";
import type { WebhookMetrics } from "./metrics.ts";
import { type Outcome, reasonLabel } from "./outcome.ts";
import { type AdmissionRequest, failed, readReview } from "./review.ts";

/** An object may have 1.5 MiB in etcd, and an UPDATE shows the old one too, both as JSON. */
const MAX_BODY = 8 * 1024 * 1024;
/** The API server waits for at most 30 s, as configured for 5. */
const REQUEST_MS = 10_000;
/** Longer than the API server keeps an idle connection (90 s in Go), so it is never we who close one under its hands. */
const KEEP_ALIVE_MS = 120_000;
const MAX_CONNECTIONS = 1_000;

export interface WebhookServerOptions {
  readonly certificate: ServingCertificate;
  readonly mutate: (request: AdmissionRequest) => Outcome | Promise<Outcome>;
  readonly validate: (request: AdmissionRequest) => Outcome;
  /** Our own resources; absent: that path is not served. */
  readonly policies?: (request: AdmissionRequest) => Promise<Outcome>;
  /** Workloads' stamps; absent: that path is not served. */
  readonly workloads?: (request: AdmissionRequest) => Outcome;
  readonly ready: () => boolean;
  readonly registry: Registry;
  readonly metrics: WebhookMetrics;
  readonly clock: Clock;
  /** A fault that was answered with a refusal. */
  readonly onFault: (fault: unknown) => void;
}

export interface WebhookServer {
  readonly port: number;
  /** New connections get it at once; open ones keep theirs. */
  useCertificate(certificate: ServingCertificate): void;
  close(): Promise<void>;
}

export async function serveWebhook(
  options: WebhookServerOptions,
  listen: { readonly host: string; readonly port: number },
): Promise<WebhookServer> {
  const { certificate, registry, metrics, ready } = options;
  const app: FastifyInstance<Server> = fastify({
    https: { cert: certificate.cert, key: certificate.key, minVersion: "TLSv1.2", handshakeTimeout: REQUEST_MS },
    bodyLimit: MAX_BODY,
    requestTimeout: REQUEST_MS,
    connectionTimeout: KEEP_ALIVE_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: "idle",
    return503OnClosing: false,
  });
  // Everybody in the cluster reaches this port; nobody but the API server may fill it.
  shareConnections(app.server, MAX_CONNECTIONS);
  metrics.certificate.with().value = certificate.notAfterMs / 1000;

  const judges = {
    mutate: options.mutate,
    validate: options.validate,
    ...(options.policies === undefined ? {} : { policies: options.policies }),
    ...(options.workloads === undefined ? {} : { workloads: options.workloads }),
  };
  for (const [path, judge] of Object.entries(judges))
    app.post(REVIEW_PATH[path as keyof typeof REVIEW_PATH], async (incoming, reply) => {
      const start = options.clock.elapsedMs();
      const request = readReview(incoming.body);
      if (request === null)
        return reply.code(400).send({ error: "an AdmissionReview of admission.k8s.io/v1 is expected" });
      const outcome = await judged(judge, request, options.onFault);
      metrics.reviews.with(path, outcome.kind, reasonLabel(outcome.reason)).add(1);
      metrics.duration.with(path).observe((options.clock.elapsedMs() - start) / 1000);
      return reply.send(outcome.answer);
    });
  app.get("/healthz", (_incoming, reply) => reply.send("ok\n"));
  app.get("/readyz", (_incoming, reply) => (ready() ? reply.send("ok\n") : reply.code(503).send("not ready\n")));
  app.get("/metrics", (_incoming, reply) => reply.type(CONTENT_TYPE).send(registry.text()));

  await app.listen(listen);
  const address = app.server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : listen.port,
    useCertificate({ cert, key, notAfterMs }) {
      app.server.setSecureContext({ cert, key, minVersion: "TLSv1.2" });
      metrics.certificate.with().value = notAfterMs / 1000;
    },
    close: () => app.close(),
  };
}

async function judged(
  judge: (request: AdmissionRequest) => Outcome | Promise<Outcome>,
  request: AdmissionRequest,
  onFault: (fault: unknown) => void,
): Promise<Outcome> {
  try {
    return await judge(request);
  } catch (fault) {
    onFault(fault);
    return { kind: "failed", reason: "", answer: failed(request) };
  }
}
