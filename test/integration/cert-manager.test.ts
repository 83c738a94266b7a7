/**
 * `certificates.certManager`, with cert-manager itself: its own definitions and controllers issue the chart's Certificate on a real API
 * server; our processes serve with it, the API server trusts it, and a renewal goes by without a failed admission.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { connect, type PeerCertificate } from "node:tls";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { stringify } from "yaml";
import { findHelm, renderChart } from "../support/chart.ts";
import { DIGESTS } from "../support/chart-sets.ts";
import { until } from "../support/control-plane.ts";
import { foreignCrds, NEEDS_FOREIGN_CRDS } from "../support/foreign-crds.ts";
import { findGoTool, NEEDS_GO_TOOL } from "../support/go-tools.ts";
import { requireThat } from "../support/require.ts";
import { type Lab, NEEDED, POSSIBLE, type Started, startLab } from "./controller-lab.ts";

// oxlint-disable-next-line typescript/no-explicit-any -- objects of many kinds, reached into at any depth
type Tree = any;
const CERTIFICATES = "/apis/cert-manager.io/v1";
const SECRET = "/api/v1/namespaces/sidegate/secrets/sidegate-certificates";
const INJECTION =
  "image: proxy:1\ncluster: test\ncollector: {url: 'https://collector.example:8443', ca: ''}\nbundle: {url: 'https://bundles.example', publicKey: ''}\n";
const NAMES = ["webhook", "controller", "collector"].map((one) => `sidegate-${one}.sidegate.svc`);

const helm = findHelm();
const program = findGoTool("cert-manager");
const foreign = foreignCrds();
const MISSING = [
  [POSSIBLE, NEEDED],
  [helm !== null, "no helm: tools/helm/ensure.sh gets one"],
  [program !== null, NEEDS_GO_TOOL("cert-manager")],
  [foreign !== null, NEEDS_FOREIGN_CRDS],
].flatMap(([there, reason]) => (there === true ? [] : [String(reason)]));

let lab: Lab;
let folder: string;
let manager: ChildProcess;
let webhook: Started;
let controller: Started;

const cert = (kind: string, namespace: string | undefined, name: string, spec: object): object => ({
  apiVersion: "cert-manager.io/v1",
  kind,
  metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
  spec,
});
const secret = async (): Promise<Record<string, string>> => ((await lab.get(SECRET)) as Tree).data ?? {};
const pem = (data: Record<string, string>, name: string): string => Buffer.from(data[name] ?? "", "base64").toString();

/** Who answers there; rejects unless `ca` signed it for that name. */
function peer(port: number, servername: string, ca: string): Promise<PeerCertificate> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, servername, ca }, () => {
      resolve(socket.getPeerCertificate());
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

let pods = 0;
async function makePod(): Promise<string> {
  const { status, body } = await lab.plane.call("POST", "/api/v1/namespaces/team/pods?dryRun=All", {
    metadata: { name: `agent-${++pods}` },
    spec: { containers: [{ name: "app", image: "app:1" }] },
  });
  return `${status} ${JSON.stringify(body).includes("sidegate-init") ? "injected" : (body.message ?? "not injected")}`;
}

function hook(port: number): string {
  return stringify({
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "MutatingWebhookConfiguration",
    metadata: { name: "sidegate" },
    webhooks: [
      {
        name: "inject.sidegate.dev",
        clientConfig: { url: `https://localhost:${port}/mutate` },
        sideEffects: "NoneOnDryRun",
        admissionReviewVersions: ["v1"],
        failurePolicy: "Fail",
        timeoutSeconds: 10,
        rules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"] }],
        namespaceSelector: { matchLabels: { "sidegate.dev/inject": "all" } },
      },
    ],
  });
}

beforeAll(async () => {
  if (MISSING.length > 0) return;
  lab = await startLab();
  for (const crd of foreign ?? [])
    if (crd.metadata.name.includes("cert-manager.io")) {
      const { status, body } = await lab.plane.call(
        "POST",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        crd,
      );
      if (status !== 201) throw new Error(`${crd.metadata.name}: ${body.message}`);
    }
  await until(20_000, "cert-manager's kinds", async () => {
    const { status } = await lab.plane.call("GET", `${CERTIFICATES}/clusterissuers`);
    return status === 200;
  });
  manager = spawn("setpriv", ["--pdeathsig", "KILL", program ?? "", "--kubeconfig", lab.plane.kubeconfig], {
    stdio: process.env["SHOW"] === "1" ? "inherit" : "ignore",
  });
  // A company's authority, as cert-manager's documentation makes one.
  lab.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "cert-manager" } });
  lab.apply(cert("ClusterIssuer", undefined, "self", { selfSigned: {} }));
  lab.apply(
    cert("Certificate", "cert-manager", "company", {
      isCA: true,
      commonName: "Company",
      secretName: "company",
      privateKey: { algorithm: "ECDSA", size: 256 },
      issuerRef: { name: "self", kind: "ClusterIssuer" },
    }),
  );
  lab.apply(cert("ClusterIssuer", undefined, "company", { ca: { secretName: "company" } }));
});
afterAll(async () => {
  manager?.kill("SIGKILL");
  await lab?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});
beforeEach((context) => requireThat(context, MISSING.length === 0, MISSING.join("; ")));

test("until cert-manager has issued, the controller does not start, and says whom it waits for", async () => {
  const early = lab.start("controller", "early", { SIDEGATE_CERTIFICATES_BY: "secret" });
  await expect(early.port).rejects.toThrow(
    /Secret sidegate-certificates has no tls\.crt and ca\.crt yet: whoever issues certificates here has to write them/,
  );
});

test("cert-manager takes the chart's Certificate and issues it for every name that our processes serve", async () => {
  const chart = renderChart(helm ?? "", {
    ...DIGESTS,
    "certificates.certManager": { enabled: true, issuer: { name: "company", kind: "ClusterIssuer" } },
  });
  const certificate = chart.find(({ kind }) => kind === "Certificate") as Tree;
  // The API server of this test has no Services: it calls the webhook by this name.
  certificate.spec.dnsNames.push("localhost");
  const { status, body } = await lab.plane.call(
    "POST",
    `${CERTIFICATES}/namespaces/sidegate/certificates?fieldValidation=Strict`,
    certificate,
  );
  expect(status, body.message).toBe(201);
  await until(60_000, "the Secret", async () => (await secret())["tls.crt"] !== undefined);
  const data = await secret();
  expect(Object.keys(data).toSorted()).toEqual(["ca.crt", "tls.crt", "tls.key"]);
  const company = ((await lab.get("/api/v1/namespaces/cert-manager/secrets/company")) as Tree).data;
  expect(pem(data, "ca.crt")).toBe(pem(company, "tls.crt"));
});

test("our processes serve with it, and the API server trusts the webhook by the company's authority", async () => {
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-cert-manager-"));
  const file = path.join(folder, "injection.yaml");
  writeFileSync(file, INJECTION);
  const environment = { SIDEGATE_INJECTION: file, SIDEGATE_CLUSTER: "test", SIDEGATE_CERTIFICATES_BY: "secret" };
  controller = lab.start("controller", "controller", environment);
  webhook = lab.start("webhook", "webhook", environment);
  const [bundles, port] = await Promise.all([controller.port, webhook.port]);
  const ca = pem(await secret(), "ca.crt");
  for (const name of NAMES) {
    expect((await peer(port, name, ca)).fingerprint256).toBe((await peer(bundles, name, ca)).fingerprint256);
    expect((await peer(port, name, ca)).issuer.CN).toBe("Company");
  }
  lab.apply({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace: "sidegate", name: "sidegate-guarded" },
    data: { "webhooks.yaml": hook(port) },
  });
  lab.apply({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "team", labels: { "sidegate.dev/inject": "all", "sidegate.dev/tier": "enforced" } },
  });
  await until(20_000, "admission", async () => (await makePod()) === "201 injected");
  const runtime: Tree = await lab.get("/api/v1/namespaces/sidegate/configmaps/sidegate-runtime");
  expect(runtime.data["ca.crt"]).toBe(ca);
});

test("a renewal with a new key is taken over without a restart, and no admission fails meanwhile", async () => {
  const [bundles, port] = await Promise.all([controller.port, webhook.port]);
  const ca = pem(await secret(), "ca.crt");
  const before = await peer(port, NAMES[0] ?? "", ca);
  const said: string[] = [];
  const renewed = new AbortController();
  const load = (async () => {
    while (!renewed.signal.aborted) said.push(await makePod());
  })();
  // What `cmctl renew` does.
  const at = `${CERTIFICATES}/namespaces/sidegate/certificates/sidegate-certificates`;
  const { body } = await lab.plane.call("GET", at);
  const condition = {
    type: "Issuing",
    status: "True",
    reason: "ManuallyTriggered",
    message: "renew",
    lastTransitionTime: new Date().toISOString(),
  };
  const status = body["status"] as Tree;
  const asked = await lab.plane.call("PATCH", `${at}/status`, {
    status: { conditions: [...status.conditions.filter(({ type }: Tree) => type !== "Issuing"), condition] },
  });
  expect(asked.status, asked.body.message).toBe(200);
  await until(60_000, "both serve the new one", async () => {
    const now = await Promise.all([port, bundles].map((one) => peer(one, NAMES[0] ?? "", ca)));
    return now.every(({ fingerprint256 }) => fingerprint256 !== before.fingerprint256);
  });
  renewed.abort();
  await load;
  const now = await peer(port, NAMES[0] ?? "", ca);
  expect(now.pubkey).not.toEqual(before.pubkey);
  expect(said.length).toBeGreaterThan(5);
  expect([...new Set(said)]).toEqual(["201 injected"]);
  expect([webhook.child.exitCode, controller.child.exitCode]).toEqual([null, null]);
});

test("a Secret that somebody empties is issued anew, and what was served is served on", async () => {
  const port = await webhook.port;
  const ca = pem(await secret(), "ca.crt");
  const { fingerprint256 } = await peer(port, NAMES[0] ?? "", ca);
  await lab.plane.call("DELETE", SECRET);
  expect(await makePod()).toBe("201 injected");
  await until(60_000, "another Secret", async () => (await secret())["tls.crt"] !== undefined);
  await until(30_000, "it is served", async () => {
    const now = await peer(port, NAMES[0] ?? "", ca);
    return now.fingerprint256 !== fingerprint256;
  });
  expect(await makePod()).toBe("201 injected");
});
