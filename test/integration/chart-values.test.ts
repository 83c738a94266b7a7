/**
 * The chart with the values that people set: each rendering is taken by a real API server, field by field (dry run on the server, strict
 * validation), and each wrong value is refused in words that name it.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { CONTROL_SERVICE } from "#contract/control-environment.ts";
import { meshText } from "#injection/mesh-options.ts";
import { readOptions } from "#injection/options.ts";
import { servingNames } from "#kube/serving-names.ts";
import { findHelm, type Rendered, renderChart, renderText } from "../support/chart.ts";
import { CERTIFICATE, DIGESTS, MONITORING, SETS, type Values } from "../support/chart-sets.ts";
import { type As, type ControlPlane, findControlPlane, startControlPlane, until } from "../support/control-plane.ts";
import { foreignCrds, NEEDS_FOREIGN_CRDS } from "../support/foreign-crds.ts";
import { findGoTool, NEEDS_GO_TOOL } from "../support/go-tools.ts";
import { type OpenApi, SCHEMAS, writeSchemas } from "../support/json-schemas.ts";
import { requireThat } from "../support/require.ts";

const bin = findControlPlane();
const helm = findHelm();
const foreign = foreignCrds();
const NEEDED = foreign === null ? NEEDS_FOREIGN_CRDS : "needs a control plane: test/e2e/cluster/build.sh";
let plane: ControlPlane | null = null;

function needed(context: TestContext): string {
  requireThat(context, helm !== null, "no helm: tools/helm/ensure.sh gets one");
  return helm ?? "";
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** What the API server says against it, as on `kubectl create --validate=strict`; "" where it takes it. */
async function refusal(object: Manifest, dryRun: boolean, as?: As): Promise<string> {
  const { apiVersion, kind, metadata } = object;
  const plural = (kind.endsWith("y") ? `${kind.slice(0, -1)}ies` : `${kind}s`).toLowerCase();
  const base = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const inside = metadata.namespace === undefined ? "" : `/namespaces/${metadata.namespace}`;
  const query = `?fieldValidation=Strict${dryRun ? "&dryRun=All" : ""}`;
  const answer = await plane?.call("POST", `${base}${inside}/${plural}${query}`, object, as);
  return answer?.status === 201 ? "" : `${kind} ${metadata.name}: ${answer?.body.message ?? answer?.status}`;
}

/** Manifests that were taken already; most are the same with most values. */
const taken = new Set<string>();

async function refusals(chart: readonly Manifest[]): Promise<string[]> {
  const fresh = chart.filter((object) => !taken.has(JSON.stringify(object)));
  const said = await Promise.all(fresh.map((object) => refusal(object, true)));
  for (const [i, object] of fresh.entries()) if (said[i] === "") taken.add(JSON.stringify(object));
  return said.filter((text) => text !== "");
}

beforeAll(async () => {
  if (bin === null || foreign === null) return;
  plane = await startControlPlane(bin);
  const crds = globSync("charts/gateway/crds/*.yaml").map((file) => parse(readFileSync(file, "utf8")) as Manifest);
  const made = await Promise.all(
    [...crds, ...foreign, { apiVersion: "v1", kind: "Namespace", metadata: { name: "sidegate" } }].map((object) =>
      refusal(object, false),
    ),
  );
  // For the pod of `helm test`.
  made.push(
    await refusal(
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: "sidegate" } },
      false,
    ),
  );
  const refused = made.filter((said) => said !== "");
  if (refused.length > 0) throw new Error(refused.join("\n"));
  await until(20_000, "the custom resources", async () => {
    for (const path of [
      "sidegate.dev/v1alpha1/clusteragentpolicies",
      "cert-manager.io/v1/certificates",
      "monitoring.coreos.com/v1/prometheusrules",
    ])
      if ((await plane?.call("GET", `/apis/${path}`))?.status !== 200) return false;
    return true;
  });
});
afterAll(() => plane?.stop());

describe("an API server takes every manifest, the same bytes twice,", () => {
  for (const [name, values] of Object.entries(SETS))
    test(`with ${name}`, async (context) => {
      const text = renderText(needed(context), values);
      expect(renderText(needed(context), values)).toBe(text);
      requireThat(context, plane !== null, NEEDED);
      const chart = renderChart(needed(context), values) as readonly Manifest[];
      expect(chart.length).toBeGreaterThan(20);
      expect(await refusals(chart)).toEqual([]);
    });

  test("and the samples of deploy/kind, with a policy that means what it says", async (context) => {
    requireThat(context, plane !== null, NEEDED);
    const samples = globSync("deploy/kind/samples/*.yaml")
      .toSorted()
      .flatMap((file) => parseAllDocuments(readFileSync(file, "utf8")).map((document) => document.toJS() as Manifest));
    const [namespace, ...rest] = samples;
    expect([namespace?.kind, await refusal(namespace as Manifest, false)]).toEqual(["Namespace", ""]);
    expect(rest.map(({ kind }) => kind)).toEqual([
      "EgressTarget",
      "AgentPolicy",
      "Deployment",
      "Service",
      "Deployment",
    ]);
    expect(await refusals(rest)).toEqual([]);
    for (const script of [...globSync("deploy/kind/*.sh"), "test/e2e/elsewhere.sh", "test/e2e/cluster/choose.sh"])
      expect(execFileSync("bash", ["-n", script], { encoding: "utf8" }), script).toBe("");
  });

  test("and it does refuse a field that does not exist", async (context) => {
    requireThat(context, plane !== null, NEEDED);
    const text = renderText(needed(context), { ...DIGESTS, ...MONITORING });
    const spoilt = text
      .replaceAll("readinessProbe:", "readynessProbe:")
      .replaceAll("podMetricsEndpoints:", "podMetricEndpoints:");
    const chart = parseAllDocuments(spoilt).flatMap((document) => (document.toJS() as Manifest | null) ?? []);
    const said = await refusals(chart);
    expect(said.length).toBe(4);
    expect(said.filter((text) => text.includes("readynessProbe")).length).toBe(3);
    expect(said.find((text) => text.startsWith("PodMonitor"))).toContain("podMetricEndpoints");
  });
});

// oxlint-disable-next-line typescript/no-explicit-any -- manifests of many kinds, reached into at any depth
type Tree = any;
const chartOf = (context: TestContext, name: string): Rendered[] => renderChart(needed(context), SETS[name]);
const podsOf = (chart: readonly Rendered[]): Tree[] =>
  (chart as Tree[])
    .filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet")
    .map(({ spec }) => spec.template);

describe("kubeconform, with schemas of that API server's own OpenAPI,", () => {
  let schemas = "";
  const folder = mkdtempSync(path.join(tmpdir(), "sidegate-schemas-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** What it says of the files, as one object; each is a manifest or several. */
  function conform(program: string, files: readonly string[]): Tree {
    const args = ["-strict", "-summary", "-output", "json", "-schema-location", path.join(schemas, SCHEMAS), ...files];
    const run = spawnSync(program, args, { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
    return JSON.parse(run.stdout);
  }
  async function prepared(context: TestContext): Promise<string> {
    const program = findGoTool("kubeconform");
    requireThat(context, program !== null, NEEDS_GO_TOOL("kubeconform"));
    requireThat(context, plane !== null, NEEDED);
    if (schemas === "") {
      const made = path.join(folder, "schemas");
      mkdirSync(made);
      const kinds = [
        "dev.sidegate.v1alpha1.Freeze",
        "io.cert-manager.v1.Certificate",
        "com.coreos.monitoring.v1.PodMonitor",
      ];
      await until(20_000, "the custom resources' OpenAPI", async () => {
        const { body } = (await plane?.call("GET", "/openapi/v2")) ?? { body: {} };
        const { definitions } = body as unknown as OpenApi;
        if (!kinds.every((kind) => Object.hasOwn(definitions, kind))) return false;
        return writeSchemas({ definitions }, made) > 60;
      });
      schemas = made;
    }
    return program ?? "";
  }

  test("finds each manifest of each set of values, and our definitions, as they should be", async (context) => {
    const program = await prepared(context);
    const files = globSync("charts/gateway/crds/*.yaml");
    for (const [at, values] of Object.values(SETS).entries()) {
      const file = path.join(folder, `${at}.yaml`);
      writeFileSync(file, renderText(needed(context), values));
      files.push(file);
    }
    const said = conform(program, files);
    expect(said.resources ?? []).toEqual([]);
    expect(said.summary).toMatchObject({ invalid: 0, errors: 0, skipped: 0 });
    expect(said.summary.valid).toBeGreaterThan(20 * Object.keys(SETS).length);
  });

  const WRONG: readonly (readonly [string, string, string, RegExp])[] = [
    ["a member that a kind does not have", "readinessProbe:", "readynessProbe:", /readynessProbe/],
    ["a word where a number belongs", "replicas: 2", "replicas: two", /replicas.*integer/],
    ["a list where a word belongs", "failurePolicy: Fail", "failurePolicy: [Fail]", /failurePolicy/],
    ["a member that our own kind does not have", "data: { opaque", "date: { opaque", /date/],
    ["a member that another software's kind does not have", "podMetricsEndpoints:", "podMetricEndpoints:", /podMetric/],
    ["a kind that nobody serves", "kind: PodMonitor", "kind: PotMonitor", /PotMonitor|schema/],
  ];
  test("refuses members, words and kinds that do not exist, in ours and in others' kinds", async (context) => {
    const program = await prepared(context);
    const text = renderText(needed(context), { ...DIGESTS, ...MONITORING });
    const files = WRONG.map(([what, right, wrong]) => {
      expect(text, what).toContain(right);
      const file = path.join(folder, `${what}.yaml`);
      writeFileSync(file, text.replaceAll(right, wrong));
      return file;
    });
    const said = conform(program, files);
    for (const [what, , , words] of WRONG) {
      const about = said.resources.filter(({ filename }: Tree) => path.basename(filename, ".yaml") === what);
      expect(JSON.stringify(about), what).toMatch(words);
    }
  });
});

test("the controller may make anew every admission object that it guards, by the rights that the chart gives it", async (context) => {
  const chart = renderChart(needed(context), DIGESTS) as readonly Manifest[];
  requireThat(context, plane !== null, NEEDED);
  const rights = chart.filter(({ kind }) => /^(Cluster)?Role(Binding)?$/.test(kind));
  for (const object of rights) expect(await refusal(object, false)).toBe("");
  const controller = { user: "system:serviceaccount:sidegate:sidegate-controller", groups: ["system:authenticated"] };
  const policies = chart.filter(({ kind }) => kind === "ValidatingAdmissionPolicy");
  const others = chart.filter(
    ({ kind }) => kind === "ValidatingAdmissionPolicyBinding" || kind.endsWith("WebhookConfiguration"),
  );
  expect([policies.length > 8, others.length > 15]).toEqual([true, true]);
  // A binding is asked about together with its policy.
  const said = [];
  for (const object of policies) said.push(await refusal(object, false, controller));
  for (const object of others) said.push(await refusal(object, true, controller));
  expect(said.filter((text) => text !== "")).toEqual([]);
  const read = await plane?.call(
    "GET",
    "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication",
    undefined,
    controller,
  );
  expect(read?.status).toBe(403);
});

test("helm-unittest: the suites of charts/gateway/tests pass, and are not in what is installed", (context) => {
  const program = findGoTool("helm-unittest");
  requireThat(context, program !== null, NEEDS_GO_TOOL("helm-unittest"));
  const run = spawnSync(program ?? "", ["--strict", "charts/gateway"], { encoding: "utf8" });
  const suites = globSync("charts/gateway/tests/*_test.yaml").length;
  expect(run.stdout + run.stderr, run.stdout).toMatch(new RegExp(`Test Suites: ${suites} passed, ${suites} total`));
  expect(run.status, run.stdout).toBe(0);
  const folder = mkdtempSync(path.join(tmpdir(), "sidegate-package-"));
  try {
    execFileSync(needed(context), ["package", "charts/gateway", "-d", folder], { stdio: "pipe" });
    const inside = execFileSync("tar", ["-tzf", path.join(folder, globSync("*.tgz", { cwd: folder })[0] ?? "")], {
      encoding: "utf8",
    });
    expect(inside).toContain("gateway/templates/tests/answers.yaml");
    expect(inside).not.toContain("gateway/tests/");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

describe("each value does what its description says:", () => {
  test("an air-gapped registry is in every image, also in those that agents get, with the secrets to pull by", (context) => {
    const chart = chartOf(context, "an air-gapped registry with secrets to pull");
    for (const { spec } of podsOf(chart)) {
      expect(spec.imagePullSecrets).toEqual([{ name: "mirror" }]);
      for (const { image, imagePullPolicy } of spec.containers) {
        expect(image).toMatch(/^mirror\.example:5000\/team\/sidegate\/sidegate-control@sha256:b{64}$/);
        expect(imagePullPolicy).toBe("Always");
      }
    }
    const options = parse(
      (chart.find(({ metadata }) => metadata.name === "sidegate-injection") as Tree).data["options.yaml"],
    ) as Record<string, unknown>;
    expect(options).toMatchObject({
      image: `mirror.example:5000/team/sidegate/sidegate-proxy@sha256:${"a".repeat(64)}`,
      imagePullPolicy: "Always",
      imagePullSecrets: ["mirror"],
    });
    expect(JSON.stringify(chart)).not.toContain("ghcr.io");
  });

  test("OpenShift leaves uids to the namespace and is not root all the same", (context) => {
    for (const { spec } of podsOf(chartOf(context, "OpenShift"))) {
      expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
      for (const left of ["runAsUser", "runAsGroup", "fsGroup"]) expect(spec.securityContext).not.toHaveProperty(left);
      for (const { securityContext } of spec.containers)
        expect(securityContext.capabilities).toEqual({ drop: ["ALL"] });
    }
  });

  test("nodes are those that the images are built for, and those that were asked for", (context) => {
    for (const { spec } of podsOf(chartOf(context, "nodes, tolerations, priority, exemptions, guards, resolvers"))) {
      expect(spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms).toEqual([
        { matchExpressions: [{ key: "kubernetes.io/arch", operator: "In", values: ["amd64", "arm64"] }] },
      ]);
      expect(spec.nodeSelector).toEqual({ "kubernetes.io/os": "linux", "node-role.kubernetes.io/infra": "" });
      expect(spec.tolerations).toEqual([{ key: "infra", operator: "Exists", effect: "NoSchedule" }]);
      expect(spec.priorityClassName).toBe("system-node-critical");
    }
  });

  test("two replicas keep one through an eviction; a single one does not keep its node from being drained", (context) => {
    const budgets = (name: string): string[] =>
      chartOf(context, name).flatMap(({ kind, metadata }) => (kind === "PodDisruptionBudget" ? metadata.name : []));
    expect(budgets("nothing but the images' digests")).toEqual(["sidegate-controller", "sidegate-webhook"]);
    expect(budgets("one replica of each, an ephemeral record, no second lock, no NetworkPolicies")).toEqual([]);
  });

  test("cert-manager issues one certificate for the names that the processes serve, and they only read it", (context) => {
    const chart = chartOf(context, "certificates by cert-manager") as Tree[];
    const certificate = chart.find(({ kind }) => kind === "Certificate");
    expect(certificate.spec).toMatchObject({
      secretName: "sidegate-certificates",
      issuerRef: { name: "company", kind: "ClusterIssuer", group: "cert-manager.io" },
    });
    expect(certificate.spec.dnsNames.toSorted()).toEqual(
      servingNames(Object.values(CONTROL_SERVICE), "sidegate").toSorted(),
    );
    for (const { spec, metadata } of podsOf(chart).filter(({ spec }) => spec.containers[0].name !== "collector"))
      expect(spec.containers[0].env, metadata.name).toContainEqual({
        name: "SIDEGATE_CERTIFICATES_BY",
        value: "secret",
      });
  });

  test("monitoring is off by default, and its links lead to where the runbooks are", (context) => {
    const kinds = (name: string): string[] => chartOf(context, name).map(({ kind }) => kind);
    for (const kind of ["ServiceMonitor", "PodMonitor", "PrometheusRule"]) {
      expect(kinds("nothing but the images' digests")).not.toContain(kind);
      expect(kinds("monitoring of every kind")).toContain(kind);
    }
    const chart = chartOf(context, "monitoring of every kind") as Tree[];
    const rule = chart.find(({ kind }) => kind === "PrometheusRule");
    expect(rule.metadata.labels.release).toBe("prometheus");
    const alerts = rule.spec.groups
      .flatMap((group: Tree) => group.rules)
      .filter((one: Tree) => one.alert !== undefined);
    for (const { annotations, alert } of alerts)
      expect(annotations.runbook_url, alert).toBe(`https://wiki.example/sidegate#${alert.toLowerCase()}`);
    for (const { metadata } of podsOf(chart))
      expect(metadata.annotations).toMatchObject({ "prometheus.io/scrape": "true", "prometheus.io/port": "8443" });
    const dashboards = chart.filter(({ metadata }) => metadata.labels?.grafana_dashboard === "1");
    expect(dashboards.length).toBe(5);
    for (const { data } of dashboards)
      for (const json of Object.values(data as Record<string, string>))
        expect(JSON.parse(json)).toMatchObject({ tags: ["sidegate"] });
  });

  test("without the monitors' values nobody's API server has to know Prometheus Operator", (context) => {
    expect(renderText(needed(context), DIGESTS)).not.toContain("monitoring.coreos.com");
  });
});

describe("a chained mesh", () => {
  const settings = (context: TestContext, name: string): Record<string, string> =>
    (chartOf(context, name).find(
      ({ kind, metadata }) => kind === "ConfigMap" && metadata.name === "sidegate-injection",
    )?.["data"] ?? {}) as Record<string, string>;
  const meshOf = (context: TestContext, name: string) => {
    const reading = readOptions(parse(settings(context, name)["options.yaml"] ?? ""));
    if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
    return reading.options.mesh;
  };

  test("is none by default, for the webhook and for the admission policies", (context) => {
    const name = "nothing but the images' digests";
    expect(meshOf(context, name)).toBeNull();
    expect(settings(context, name)).toMatchObject({ mesh: "", meshUid: "-1", meshProxy: "", meshNames: "" });
  });

  test.for([
    ["Istio chained", 1337, "istio-proxy,istio-init,istio-validation", "proxy\nsidecar"],
    ["Linkerd chained", 2102, "linkerd-proxy,linkerd-init", ""],
  ] as const)("%s: the webhook and the admission policies are told the same", ([name, uid, names, args], context) => {
    const mesh = meshOf(context, name);
    expect(mesh?.uid).toBe(uid);
    expect(settings(context, name)).toMatchObject({
      mesh: meshText(mesh),
      meshUid: String(uid),
      meshNames: names,
      meshProxyArgs: args,
      meshPorts: mesh?.ports.join(","),
      meshImages: mesh?.images.join(","),
    });
  });
});

describe("a wrong value is refused in words that name it: the chart", () => {
  const refused = (context: TestContext, values: Values): string => {
    try {
      renderText(needed(context), values);
    } catch (fault) {
      return String((fault as { stderr?: unknown }).stderr);
    }
    return "";
  };
  const WRONG: readonly (readonly [string, Values, RegExp])[] = [
    ["no digest", {}, /images\.proxy\.digest: name the image by its digest .* or set images\.allowTags: true/],
    ["a digest that is a tag", { "images.proxy.digest": "latest" }, /\/images\/proxy\/digest.*sha256/],
    [
      "a value that does not exist",
      { "webhook.replica": 3 },
      /\/webhook'?: additional properties 'replica' not allowed/,
    ],
    ["a registry that is a URL", { "images.registry": "https://mirror.example" }, /images\.registry: .*is a URL/],
    ["no authority", { "certificates.managed": false }, /certificates\.authority: .*PEM of who signed/],
    [
      "an authority that is no PEM",
      { "certificates.authority": "ca.crt" },
      /--set-file certificates\.authority=ca\.crt/,
    ],
    [
      "cert-manager without an issuer",
      { "certificates.certManager.enabled": true },
      /certificates\.certManager\.issuer\.name: name the Issuer/,
    ],
    [
      "no source of policies",
      { "certificates.managed": false, "certificates.authority": CERTIFICATE },
      /bundle\.configMap and bundle\.publicKey/,
    ],
    [
      "a resolver that is a name",
      { "injection.resolvers": ["kube-dns"] },
      /injection\.resolvers: "kube-dns" is no address/,
    ],
    ["a size that is none", { "collector.storage.size": "big" }, /collector\.storage\.size: "big" is no size/],
    ["a negative size", { "injection.stateSize": "-1Mi" }, /injection\.stateSize: "-1Mi" is no size/],
    ["agents without a profile", { "injection.seccomp.type": "Unconfined" }, /\/injection\/seccomp\/type/],
    [
      "a profile outside the kubelet's folder",
      { "injection.seccomp.localhostProfile": "../../etc/agent.json" },
      /\/injection\/seccomp\/localhostProfile/,
    ],
    [
      "a folder of profiles that leads elsewhere",
      { "seccompInstaller.kubeletFolder": "/var/lib/kubelet/../../etc" },
      /\/seccompInstaller\/kubeletFolder/,
    ],
    [
      "an installer that OpenShift would not let write",
      { "openshift.enabled": true, "seccompInstaller.enabled": true },
      /seccompInstaller\.enabled: on OpenShift .*MachineConfig/,
    ],
    ["an unknown tier", { "injection.tier": "advisory" }, /\/injection\/tier.*'enforced', 'locked'/],
    [
      "an exemption without a reason",
      { exemptions: [{ namespace: "a", serviceAccount: "b", until: "2030-01-01" }] },
      /\/exemptions\/0.*reason/,
    ],
    ["an interval in words", { "monitoring.monitors.interval": "often" }, /\/monitoring\/monitors\/interval/],
    [
      "a runbook's place with an anchor",
      { "monitoring.rules.runbooks": "https://wiki.example/x#y" },
      /\/monitoring\/rules\/runbooks/,
    ],
    [
      "a namespace of which no Secret may be read, which would be every one",
      { "credentials.namespaces": [{ name: "team", secrets: [] }] },
      /\/credentials\/namespaces\/0\/secrets.*minItems/,
    ],
    ["a chained mesh without images", { "mesh.mode": "chain" }, /mesh\.images: .*exactly as its injector writes them/],
    ["another mode of a mesh", { "mesh.mode": "allow" }, /\/mesh\/mode.*'deny', 'chain'/],
    [
      "a mesh on our port",
      { "mesh.mode": "chain", "mesh.images": ["x"], "mesh.ports": [15_801] },
      /mesh\.ports: 15801/,
    ],
    ["a mesh as our uid", { "mesh.mode": "chain", "mesh.images": ["x"], "mesh.uid": 1_900_000_000 }, /mesh\.uid: uids/],
    ["a mesh as root", { "mesh.uid": 0 }, /\/mesh\/uid/],
    ["an excluded namespace that cannot be one", { excludedNamespaces: ["Kube_System"] }, /\/excludedNamespaces\/0/],
  ];
  for (const [name, values, words] of WRONG)
    test(`refuses ${name}`, (context) => {
      expect(refused(context, name === "no digest" ? values : { ...DIGESTS, ...values })).toMatch(words);
    });

  test("an API server that is too old", (context) => {
    const attempt = (): string =>
      execFileSync(needed(context), ["template", "sidegate", "charts/gateway", "--kube-version", "1.28.0"], {
        encoding: "utf8",
        stdio: "pipe",
      });
    expect(attempt).toThrow(/>=1\.29\.0-0/);
  });
});
