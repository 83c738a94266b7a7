/**
 * The second lock where agents get a seccomp profile of ours (`injection.seccomp.type: Localhost`), on a real API server: no author
 * runs with another one, in no kind of container, and nothing of it is left where the value is not set.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { PROXY_UID } from "#contract/names.ts";
import { injectPod } from "#injection/inject.ts";
import { type InjectionOptions, readOptions } from "#injection/options.ts";
import { findHelm, type Rendered, renderChart } from "../support/chart.ts";
import {
  type Answer,
  type ControlPlane,
  findControlPlane,
  startControlPlane,
  until,
} from "../support/control-plane.ts";
import { requireThat } from "../support/require.ts";

const VALUES = {
  "images.allowTags": true,
  "certificates.managed": false,
  "certificates.authority": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
  "bundle.publicKey": "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n",
  "bundle.configMap": "policy",
  "injection.resolvers": ["10.96.0.10"],
  "injection.seccomp": { type: "Localhost", localhostProfile: "team/agent.json" },
};
const OURS = { type: "Localhost", localhostProfile: "team/agent.json" } as const;
const RUNTIMES = { type: "RuntimeDefault" } as const;
const OTHERS = [
  { type: "Unconfined" },
  { type: "Localhost", localhostProfile: "mine.json" },
  { type: "Localhost", localhostProfile: "sidegate/agent.json" },
] as const;

const bin = findControlPlane();
const helm = findHelm();
let plane: ControlPlane;
let options: InjectionOptions;

// oxlint-disable-next-line typescript/no-explicit-any -- manifests of many kinds, reached into at any depth
type Tree = any;

async function post(path: string, object: unknown): Promise<void> {
  const { status, body } = await plane.call("POST", path, object);
  if (status !== 201) throw new Error(`${path}: ${body.message ?? status}`);
}

beforeAll(async () => {
  if (bin === null || helm === null) return;
  plane = await startControlPlane(bin);
  const chart = renderChart(helm, VALUES);
  const settings = chart.find(({ metadata }) => metadata.name === "sidegate-injection") as Tree;
  const reading = readOptions(parse(settings.data["options.yaml"]));
  if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
  options = reading.options;
  for (const [name, labels] of [
    ["sidegate", {}],
    ["agents", { "sidegate.dev/inject": "all" }],
  ] as const) {
    await post("/api/v1/namespaces", { metadata: { name, labels } });
    await post(`/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: "default" } });
  }
  const admission = "/apis/admissionregistration.k8s.io/v1";
  const paths: Readonly<Record<string, string>> = {
    ConfigMap: "/api/v1/namespaces/sidegate/configmaps",
    ValidatingAdmissionPolicy: `${admission}/validatingadmissionpolicies`,
    ValidatingAdmissionPolicyBinding: `${admission}/validatingadmissionpolicybindings`,
  };
  for (const object of chart as readonly Rendered[])
    if (paths[object.kind] !== undefined) await post(paths[object.kind] ?? "", object);
  await until(20_000, "the policies", async () => (await create(plain())).status === 403);
  await until(20_000, "the parameters", async () => (await create(injected())).status === 201);
  await post("/api/v1/namespaces/agents/pods", injected(plain("running")));
});
afterAll(() => plane?.stop());

function plain(name = "agent"): Tree {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      initContainers: [{ name: "native", image: "agent:1", restartPolicy: "Always" }],
      containers: [{ name: "app", image: "agent:1" }],
    },
  };
}

function injected(pod: Tree = plain()): Tree {
  const result = injectPod(pod, options, () => PROXY_UID.first + 4_711, { "sidegate.dev/creator": "admin" });
  if (result.kind === "denied") throw new Error(JSON.stringify(result.violations));
  return structuredClone(result.pod);
}

const create = (pod: Tree): Promise<Answer> => plane.call("POST", "/api/v1/namespaces/agents/pods?dryRun=All", pod);

function expectRefused({ status, body }: Answer): void {
  expect({ status, message: body.message }).toEqual({
    status: 403,
    message: expect.stringMatching(/seccompProfile/) as unknown,
  });
}

describe("with a profile of ours demanded, the second lock alone", () => {
  test("THREATS P6: takes what injection makes, whatever of the two the author had written", async (context) => {
    requireThat(context, bin !== null && helm !== null, "needs a control plane and helm");
    for (const own of [undefined, RUNTIMES, OURS]) {
      const pod = plain();
      pod.spec.securityContext = { seccompProfile: own };
      pod.spec.containers[0].securityContext = { seccompProfile: own };
      expect(await create(injected(pod))).toMatchObject({ status: 201 });
    }
  });

  test("THREATS P6: refuses any other in any container, also the runtime's and none, and at the pod", async (context) => {
    requireThat(context, bin !== null && helm !== null, "needs a control plane and helm");
    for (const list of ["containers", "initContainers"])
      for (const other of [...OTHERS, RUNTIMES, undefined]) {
        const pod = injected();
        pod.spec[list].at(-1).securityContext.seccompProfile = other;
        expectRefused(await create(pod));
      }
    for (const other of OTHERS) {
      const pod = injected();
      pod.spec.securityContext = { seccompProfile: other };
      expectRefused(await create(pod));
    }
  });

  test("THREATS P1: keeps the gateway's own containers on the runtime's", async (context) => {
    requireThat(context, bin !== null && helm !== null, "needs a control plane and helm");
    for (const index of [0, 1]) {
      const pod = injected();
      pod.spec.initContainers[index].securityContext.seccompProfile = OURS;
      const { status, body } = await create(pod);
      expect([status, body.message]).toEqual([403, expect.stringContaining(`initContainers[${index}]`)]);
    }
  });

  test("THREATS P2: lets an ephemeral container in with the profile of the pod's agents only, said by it or by the pod", async (context) => {
    requireThat(context, bin !== null && helm !== null, "needs a control plane and helm");
    const debug = (seccompProfile: unknown): Promise<Answer> =>
      plane.call("PATCH", "/api/v1/namespaces/agents/pods/running/ephemeralcontainers?dryRun=All", {
        spec: {
          ephemeralContainers: [
            {
              name: "debug",
              image: "agent:1",
              securityContext: {
                runAsUser: 1000,
                allowPrivilegeEscalation: false,
                capabilities: { drop: ["ALL"] },
                seccompProfile,
              },
            },
          ],
        },
      });
    expect(await debug(OURS)).toMatchObject({ status: 200 });
    for (const other of [...OTHERS, RUNTIMES, undefined]) expectRefused(await debug(other));
  });
});
