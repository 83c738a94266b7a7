/** Whose Secrets the control plane may read, as the chart renders it: by a Role in each namespace that is named, and nowhere else. */
import { expect, type TestContext, test } from "vitest";
import { findHelm, type Rendered, renderChart, renderText } from "../support/chart.ts";
import { requireThat } from "../support/require.ts";

const VALUES = {
  "images.proxy.digest": `sha256:${"a".repeat(64)}`,
  "images.control.digest": `sha256:${"b".repeat(64)}`,
};

interface Rule {
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}
interface Role extends Rendered {
  readonly rules: readonly Rule[];
}

function helmOf(context: TestContext): string {
  const helm = findHelm();
  requireThat(context, helm !== null, "no helm: tools/helm/ensure.sh gets one");
  return helm ?? "";
}

const aboutSecrets = (chart: readonly Rendered[], kind: string): (readonly [string, Rule])[] =>
  (chart as readonly Role[])
    .filter((one) => one.kind === kind)
    .flatMap(({ metadata, rules }) =>
      rules
        .filter(({ resources = [] }) => resources.includes("secrets") || resources.includes("*"))
        .map((rule) => [metadata.namespace ?? "", rule] as const),
    );

test("no role of the cluster reads Secrets, whatever is set", (context) => {
  const set = { ...VALUES, "credentials.namespaces": [{ name: "shop" }] };
  expect(aboutSecrets(renderChart(helmOf(context), set), "ClusterRole")).toEqual([]);
});

test("without a list only the gateway's own namespace has a role for Secrets", (context) => {
  const roles = aboutSecrets(renderChart(helmOf(context), VALUES), "Role");
  expect(new Set(roles.map(([namespace]) => namespace))).toEqual(new Set(["sidegate"]));
});

test("each namespace of the list has a role that reads its Secrets, or those that are named; controllers and webhooks know the list", (context) => {
  const namespaces = [{ name: "shop", secrets: ["orders-db", "billing"] }, { name: "vault" }];
  const chart = renderChart(helmOf(context), { ...VALUES, "credentials.namespaces": namespaces });
  const roles = aboutSecrets(chart, "Role").filter(([namespace]) => namespace !== "sidegate");
  const verbs = ["get", "list", "watch"];
  expect(roles).toEqual([
    ["shop", { apiGroups: [""], resources: ["secrets"], resourceNames: ["orders-db", "billing"], verbs }],
    ["vault", { apiGroups: [""], resources: ["secrets"], verbs }],
  ]);
  const bound = chart.filter(({ kind, metadata }) => kind === "RoleBinding" && metadata.namespace !== "sidegate");
  for (const binding of bound)
    expect(binding["subjects"]).toEqual([
      { kind: "ServiceAccount", name: "sidegate-controller", namespace: "sidegate" },
    ]);
  for (const name of ["sidegate-controller", "sidegate-webhook"]) {
    const workload = chart.find(({ kind, metadata }) => kind === "Deployment" && metadata.name === name);
    expect(JSON.stringify(workload)).toContain('{"name":"SIDEGATE_CREDENTIAL_NAMESPACES","value":"shop,vault"}');
  }
});

test("the gateway's own namespace cannot be listed: its keys are there", (context) => {
  const helm = helmOf(context);
  expect(() => renderText(helm, { ...VALUES, "credentials.namespaces": [{ name: "sidegate" }] })).toThrow(
    /own namespace sidegate are never handed out/,
  );
  expect(() => renderText(helm, { ...VALUES, "credentials.namespaces": ["shop"] })).toThrow(/credentials/);
  expect(() => renderText(helm, { ...VALUES, "credentials.lifetimeSeconds": 5 })).toThrow(/lifetimeSeconds/);
});
