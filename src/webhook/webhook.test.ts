import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import path from "node:path";
import { applyPatch } from "rfc6902";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { ANNOTATION, PROXY_UID } from "#contract/names.ts";
import { type Clock, systemClock } from "#core/clock.ts";
import { type InjectionOptions, readOptions } from "#injection/options.ts";
import { createRegistry } from "#process/metrics.ts";
import { pollFiles } from "#process/polled-files.ts";
import { register } from "#process/register-metrics.ts";
import { makeAuthority } from "#sidecar/tls/authority.ts";
import { leafCertificate, pem, spkiOf } from "#sidecar/tls/certificate.ts";
import { readCertificate, type ServingCertificate } from "./certificate.ts";
import { WEBHOOK_METRICS } from "./metrics.ts";
import { mutate } from "./mutate.ts";
import { reasonLabel } from "./outcome.ts";
import { type AdmissionAnswer, type AdmissionRequest, readReview } from "./review.ts";
import { serveWebhook, type WebhookServer } from "./server.ts";
import { validate } from "./validate.ts";

function options(): InjectionOptions {
  const reading = readOptions({
    image: "proxy:1",
    collector: { url: "https://collector.example", ca: "" },
    bundle: { url: "https://bundles.example", publicKey: "PEM" },
  });
  if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
  return reading.options;
}
const OPTIONS = options();
const UID = PROXY_UID.first + 7;
const MUTATE = { injection: () => OPTIONS, drawUid: () => UID, nowMs: () => 0 };
const check = (request: AdmissionRequest) => validate(request, OPTIONS, 0);

const POD = { metadata: { name: "agent" }, spec: { containers: [{ name: "app", image: "a:1" }] } };

function review(changed: object = {}): Readonly<Record<string, unknown>> & { request: AdmissionRequest } {
  return {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: {
      uid: "7f0b2a",
      kind: { group: "", version: "v1", kind: "Pod" },
      resource: { group: "", version: "v1", resource: "pods" },
      namespace: "team",
      operation: "CREATE",
      userInfo: { username: "alice" },
      object: POD,
      ...changed,
    },
  };
}
const asked = (changed: object = {}): AdmissionRequest => review(changed).request;

function patchOf(answer: AdmissionAnswer): unknown[] {
  return JSON.parse(Buffer.from(answer.response.patch ?? "W10=", "base64").toString()) as unknown[];
}

function injected(): object {
  const pod = structuredClone(POD);
  applyPatch(pod, patchOf(mutate(asked(), MUTATE).answer) as never);
  return pod;
}

test("a new pod is patched, and the patched one passes validation", () => {
  const outcome = mutate(asked(), MUTATE);
  expect(outcome.kind).toBe("injected");
  expect(outcome.answer.response).toMatchObject({ uid: "7f0b2a", allowed: true, patchType: "JSONPatch" });
  expect(check(asked({ object: injected() }))).toMatchObject({ kind: "allowed" });
});

test("called again, it changes nothing", () => {
  const answer = mutate(asked({ object: injected() }), MUTATE).answer;
  expect(answer.response.allowed).toBe(true);
  expect(answer.response.patch).toBeUndefined();
});

test("who made the pod is what the API server says, not the author", () => {
  const forged = { ...POD, metadata: { annotations: { [ANNOTATION.creator]: "bob" } } };
  const pod = structuredClone(forged);
  applyPatch(pod, patchOf(mutate(asked({ object: forged }), MUTATE).answer) as never);
  expect(pod.metadata.annotations[ANNOTATION.creator]).toBe("alice");
});

test("an exempt pod is left as it is until its last day is over, and then it is injected like any other", () => {
  const exemptions = [{ namespace: "team", serviceAccount: "legacy", reason: "moves", until: "2026-03-31" }];
  const at = (nowMs: number) => ({ ...MUTATE, injection: () => ({ ...OPTIONS, exemptions }), nowMs: () => nowMs });
  const request = asked({ object: { ...POD, spec: { ...POD.spec, serviceAccountName: "legacy" } } });
  const end = Date.parse("2026-04-01T00:00:00Z");
  const before = mutate(request, at(end - 1));
  expect([before.kind, before.answer.response.patch]).toEqual(["exempt", undefined]);
  expect(validate(request, { ...OPTIONS, exemptions }, end - 1).answer.response.allowed).toBe(true);
  expect(mutate(request, at(end)).kind).toBe("injected");
  expect(validate(request, { ...OPTIONS, exemptions }, end).kind).toBe("denied");
});

test("what cannot be guarded is denied with the field, and nothing is patched", () => {
  const object = { spec: { ...POD.spec, hostNetwork: true } };
  const { kind, answer } = mutate(asked({ object }), MUTATE);
  expect(kind).toBe("denied");
  expect(answer.response).toMatchObject({ allowed: false, status: { code: 403 } });
  expect(answer.response.status?.message).toContain("spec.hostNetwork: ");
  expect(answer.response.patch).toBeUndefined();
});

test("an uninjected pod does not pass validation", () => {
  expect(check(asked()).answer.response.allowed).toBe(false);
});

test("an update is compared with the pod as it was", () => {
  const pod = injected();
  const labelled = { ...pod, metadata: { ...POD.metadata, ...(pod as typeof POD).metadata, labels: { a: "b" } } };
  expect(check(asked({ operation: "UPDATE", oldObject: pod, object: labelled })).kind).toBe("allowed");
  const stripped = { ...pod, spec: POD.spec };
  expect(check(asked({ operation: "UPDATE", oldObject: pod, object: stripped })).kind).toBe("denied");
});

test.each(["exec", "attach"])("nobody gets into the gateway's container by %s", (subResource) => {
  const into = (container: string) => check(asked({ operation: "CONNECT", subResource, object: { container } })).kind;
  expect([into("sidegate"), into("sidegate-init"), into("app")]).toEqual(["denied", "denied", "allowed"]);
});

test.each([
  ["a deployment", { resource: { group: "apps", version: "v1", resource: "deployments" } }],
  ["a deletion", { operation: "DELETE" }],
  ["a subresource that nobody knows", { subResource: "later", operation: "UPDATE" }],
])("%s is refused: the webhook's rules are wrong then", (_what, changed) => {
  expect(mutate(asked(changed), MUTATE).answer.response.allowed).toBe(false);
  expect(check(asked(changed))).toMatchObject({
    kind: "misdirected",
    answer: { response: { allowed: false } },
  });
});

test("warnings are cut to what the API server passes on", () => {
  const env = Array.from({ length: 40 }, (_, i) => ({ name: `A${i}_TOKEN`, value: "x" }));
  const object = { spec: { containers: [{ name: "app".padEnd(300, "p"), image: "a", env }] } };
  const { warnings } = mutate(asked({ object }), MUTATE).answer.response;
  expect(warnings).toHaveLength(16);
  expect(Math.max(...(warnings ?? []).map((w) => w.length))).toBeLessThanOrEqual(256);
  expect(warnings?.at(-1)).toContain("25 more");
});

test("a metric's reason holds no word of an author's", () => {
  expect(reasonLabel("spec.containers[3].resources.limits[evil.example/x]")).toBe("spec.containers.resources.limits");
});

test.each([[null], [{}], [{ apiVersion: "admission.k8s.io/v1beta1", kind: "AdmissionReview", request: asked() }]])(
  "%# is no review",
  (value) => {
    expect(readReview(value)).toBeNull();
  },
);

// Served over TLS.

function certificate(clock: Clock = systemClock): ServingCertificate & { readonly ca: string } {
  const authority = makeAuthority(clock);
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const validity = { fromMs: clock.wallMs() - 60_000, untilMs: clock.wallMs() + 3_600_000 };
  const cert = pem(leafCertificate(authority, "webhook.test", spkiOf(publicKey), validity));
  const key = privateKey.export({ type: "pkcs8", format: "pem" });
  return { ...readCertificate([cert, key]), ca: authority.caPem };
}

const first = certificate();
const registry = createRegistry();
let faults: unknown[] = [];
let server: WebhookServer;

beforeAll(async () => {
  server = await serveWebhook(
    {
      certificate: first,
      mutate: (asked) => mutate(asked, MUTATE),
      validate: () => {
        throw new Error("a fault of ours");
      },
      ready: () => true,
      registry,
      metrics: register(registry, WEBHOOK_METRICS),
      clock: systemClock,
      onFault: (fault) => faults.push(fault),
    },
    { host: "127.0.0.1", port: 0 },
  );
});
afterEach(() => {
  faults = [];
});
afterAll(() => server.close());

interface Answer {
  readonly status: number;
  readonly body: string;
}

function ask(
  method: string,
  target: string,
  body: string | null,
  ca = first.ca,
  type = "application/json",
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = body === null ? {} : { "content-type": type };
    const outgoing = request(
      {
        host: "127.0.0.1",
        port: server.port,
        servername: "webhook.test",
        path: target,
        method,
        ca,
        headers,
        agent: false,
      },
      (incoming) => {
        let text = "";
        incoming.setEncoding("utf8").on("data", (part: string) => {
          text += part;
        });
        incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, body: text }));
      },
    );
    outgoing.on("error", reject).end(body ?? undefined);
  });
}

test("a review over TLS is answered with its own uid", async () => {
  const { status, body } = await ask("POST", "/mutate", JSON.stringify(review()));
  expect(status).toBe(200);
  expect(JSON.parse(body)).toMatchObject({ kind: "AdmissionReview", response: { uid: "7f0b2a", allowed: true } });
});

test("a fault of ours refuses, and is told", async () => {
  const { status, body } = await ask("POST", "/validate", JSON.stringify(review()));
  expect(status).toBe(200);
  expect(JSON.parse(body)).toMatchObject({ response: { uid: "7f0b2a", allowed: false, status: { code: 500 } } });
  expect(body).not.toContain("a fault of ours");
  expect(faults).toHaveLength(1);
});

test.each([
  ["no JSON", "{", 400, "application/json"],
  ["no review", "{}", 400, "application/json"],
  ["another type of body", "a=b", 415, "application/x-www-form-urlencoded"],
  ["a body without end", `"${"x".repeat(8 * 1024 * 1024)}"`, 413, "application/json"],
])("%s is refused", async (_what, body, status, type) => {
  const answer = await ask("POST", "/mutate", body, first.ca, type).catch((fault: unknown) => {
    // The connection may be closed while we are still sending.
    if (status === 413) return { status, body: String(fault) };
    throw fault;
  });
  expect(answer.status).toBe(status);
});

test("health, readiness and metrics are told", async () => {
  expect((await ask("GET", "/healthz", null)).status).toBe(200);
  expect((await ask("GET", "/readyz", null)).status).toBe(200);
  const { body } = await ask("GET", "/metrics", null);
  expect(body).toMatch(/sidegate_admission_reviews_total\{path="mutate",outcome="injected",reason=""\} 1/);
});

test("a new certificate is served to new connections", async () => {
  const second = certificate();
  server.useCertificate(second);
  await expect(ask("GET", "/healthz", null, first.ca)).rejects.toThrow(/certificate|signature/i);
  expect((await ask("GET", "/healthz", null, second.ca)).status).toBe(200);
  server.useCertificate(first);
});

test("half of an exchanged pair is not taken over", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "sidegate-webhook-"));
  try {
    const paths = ["tls.crt", "tls.key"].map((name) => path.join(folder, name));
    const write = (at: number, text: string): void => writeFileSync(paths[at] ?? "", text);
    const second = certificate();
    write(0, first.cert);
    write(1, first.key);
    const refused: unknown[] = [];
    const files = pollFiles({
      paths,
      parse: readCertificate,
      everyMs: 0,
      onChange: () => undefined,
      onFault: (fault) => refused.push(fault),
    });
    expect(files.poll()).toBe(false);
    write(0, second.cert);
    expect(files.poll()).toBe(false);
    expect(refused).toHaveLength(1);
    expect(files.current.cert).toBe(first.cert);
    write(1, second.key);
    expect(files.poll()).toBe(true);
    expect(files.current.cert).toBe(second.cert);
    rmSync(paths[0] ?? "");
    expect(files.poll()).toBe(false);
    expect(files.current.cert).toBe(second.cert);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
