/** The webhook's process: starts, answers the API server over TLS, takes over an exchanged certificate, drains. */
import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "#core/clock.ts";
import { makeAuthority } from "#sidecar/tls/authority.ts";
import { leafCertificate, pem, spkiOf } from "#sidecar/tls/certificate.ts";

const ROOT = path.join(import.meta.dirname, "../..");
const authority = makeAuthority(systemClock);
let folder: string;

function writeCertificate(hours: number): void {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const now = systemClock.wallMs();
  const validity = { fromMs: now - 60_000, untilMs: now + hours * 3_600_000 };
  writeFileSync(
    path.join(folder, "tls.crt"),
    pem(leafCertificate(authority, "webhook.test", spkiOf(publicKey), validity)),
  );
  writeFileSync(path.join(folder, "tls.key"), privateKey.export({ type: "pkcs8", format: "pem" }));
}

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-webhook-"));
  writeFileSync(
    path.join(folder, "injection.yaml"),
    "image: proxy:1\ncollector: {url: https://collector.example, ca: ''}\nbundle: {url: https://bundles.example, publicKey: PEM}\n",
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Started {
  readonly child: ChildProcess;
  /** The log's next line with this event. */
  event(name: string): Promise<Record<string, unknown>>;
  readonly ended: Promise<number | null>;
}

function start(environment: Readonly<Record<string, string>> = {}): Started {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", path.join(ROOT, "cmd/webhook.ts")], {
    cwd: ROOT,
    env: {
      ...process.env,
      SIDEGATE_LISTEN_ADDRESS: "127.0.0.1",
      SIDEGATE_LISTEN_NUMBER: "0",
      SIDEGATE_CERTIFICATES: folder,
      SIDEGATE_INJECTION: path.join(folder, "injection.yaml"),
      ...environment,
    },
    stdio: ["ignore", "inherit", "pipe"],
  });
  const seen: Record<string, unknown>[] = [];
  const waiting = new Map<string, (line: Record<string, unknown>) => void>();
  createInterface({ input: child.stderr }).on("line", (text) => {
    const line = JSON.parse(text) as Record<string, unknown>;
    seen.push(line);
    waiting.get(String(line["event"]))?.(line);
  });
  return {
    child,
    event: (name) =>
      new Promise((resolve) => {
        const known = seen.find((line) => line["event"] === name);
        if (known === undefined) waiting.set(name, resolve);
        else resolve(known);
      }),
    ended: new Promise((resolve) => {
      child.on("close", resolve);
    }),
  };
}

function ask(port: number, target: string, body: string | null): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: "127.0.0.1",
        port,
        path: target,
        servername: "webhook.test",
        ca: authority.caPem,
        method: body === null ? "GET" : "POST",
        headers: body === null ? {} : { "content-type": "application/json" },
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

const REVIEW = JSON.stringify({
  apiVersion: "admission.k8s.io/v1",
  kind: "AdmissionReview",
  request: {
    uid: "1",
    kind: { group: "", version: "v1", kind: "Pod" },
    resource: { group: "", version: "v1", resource: "pods" },
    operation: "CREATE",
    userInfo: { username: "alice" },
    object: { spec: { containers: [{ name: "app", image: "a" }] } },
  },
});

test("it answers reviews, is ready, and ends when it is asked to", async () => {
  writeCertificate(48);
  const webhook = start();
  try {
    const port = Number((await webhook.event("serving"))["port"]);
    const answer = await ask(port, "/mutate", REVIEW);
    expect(JSON.parse(answer.body)).toMatchObject({ response: { uid: "1", allowed: true, patchType: "JSONPatch" } });
    expect((await ask(port, "/readyz", null)).status).toBe(200);
  } finally {
    webhook.child.kill("SIGTERM");
  }
  expect(await webhook.ended).toBe(0);
});

test("with less than a day left in its certificate it is not ready, and still answers", async () => {
  writeCertificate(23);
  const webhook = start();
  try {
    const port = Number((await webhook.event("serving"))["port"]);
    expect((await ask(port, "/readyz", null)).status).toBe(503);
    expect((await ask(port, "/mutate", REVIEW)).status).toBe(200);
  } finally {
    webhook.child.kill("SIGTERM");
  }
  await webhook.ended;
});

test("without its options it does not start, and says everything that is missing", async () => {
  const webhook = start({ SIDEGATE_INJECTION: "", SIDEGATE_CERTIFICATES: "" });
  const { message } = await webhook.event("cannot start");
  expect(message).toContain("SIDEGATE_INJECTION");
  expect(message).toContain("SIDEGATE_CERTIFICATES");
  expect(await webhook.ended).not.toBe(0);
});
