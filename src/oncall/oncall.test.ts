/** Doctor's and status' parts that a test API server cannot bring about: nodes, clocks, what a sidecar says, a pod that ends. */
import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import { KubeError, type KubeObject } from "#kube/port.ts";
import type { Raw, RawAnswer } from "#kube/raw.ts";
import { fakeKube } from "../../test/support/kube.ts";
import { checkClock, checkNodeClocks, checkVersion } from "./check-api.ts";
import { checkCollector } from "./check-collector.ts";
import { checkSeccomp } from "./check-seccomp.ts";
import { createCluster, MissingRight } from "./cluster.ts";
import { createFacts, type Facts } from "./facts.ts";
import { period } from "./finding.ts";
import { at, listAt } from "./members.ts";
import { nodeKinds } from "./node-kinds.ts";
import { proveNodes, verdict } from "./node-proof.ts";
import { restartLine } from "./owners.ts";
import { isTight, readRun, redteam, redteamPod } from "./redteam.ts";
import { renderRedteam } from "./redteam-text.ts";
import { readLabel, readSample } from "./sample.ts";
import { optedInAt } from "./standing.ts";
import { VSOCK_TRIAL, vsockFinding } from "./vsock-trial.ts";

const NOW = Date.parse("2026-03-01T12:00:00Z");
const answer = (text: string, more: Partial<RawAnswer> = {}): RawAnswer => ({
  status: 200,
  text,
  dateMs: NOW,
  ...more,
});
function world(raw: Raw = async () => answer("")): {
  readonly kube: ReturnType<typeof fakeKube>;
  readonly facts: Facts;
} {
  const kube = fakeKube();
  return { kube, facts: createFacts(createCluster(kube, raw), "sidegate", () => NOW) };
}

describe("doctor and the API server", () => {
  test.each([
    ["28", "fail"],
    ["29+", "warn"],
    ["34", "ok"],
    ["", "fail"],
  ])("of version 1.%s is %s", async (minor, state) => {
    const { kube, facts } = world();
    kube.documents.set("/version", { major: "1", minor, gitVersion: `v1.${minor}` });
    expect(await checkVersion(facts)).toMatchObject([{ state }]);
  });

  test.each([
    [0, "ok"],
    [-10_000, "warn"],
    [120_000, "fail"],
  ])("whose clock is %i ms away is %s", async (awayMs, state) => {
    const { facts } = world(async () => answer("{}", { dateMs: NOW + awayMs }));
    expect(await checkClock(facts)).toMatchObject([{ state }]);
  });

  test("compares a node's own time with when the API server saw it", async () => {
    const { kube, facts } = world();
    const lease = (name: string, renewTime: string): KubeObject =>
      ({
        metadata: { namespace: "kube-node-lease", name, managedFields: [{ time: "2026-03-01T11:59:55Z" }] },
        spec: { renewTime },
      }) as KubeObject;
    kube.seed(ADMIN_RESOURCE.lease, [
      lease("well", "2026-03-01T11:59:55.700000Z"),
      lease("ahead", "2026-03-01T12:01:00.000000Z"),
      lease("behind", "2026-03-01T11:59:50.000000Z"),
    ]);
    expect(await checkNodeClocks(facts)).toMatchObject([
      { state: "fail", says: "node ahead is 64 s ahead of the API server" },
      { state: "warn", says: "node behind is 5.0 s behind the API server" },
    ]);
  });
});

describe("the collector's room", () => {
  const page = (used: number, left: string, full = 0): string =>
    `# TYPE sidegate_collector_disk_used_bytes gauge\nsidegate_collector_disk_used_bytes ${used}\nsidegate_collector_disk_limit_bytes 100\nsidegate_collector_disk_left_seconds ${left}\nsidegate_collector_full ${full}\n`;
  test.each([
    [page(10, "+Inf"), "ok", /10 % of its .* without end/],
    [page(10, "3600"), "warn", /room left for 1 h$/],
    [page(85, "+Inf"), "warn", /85 %/],
    [page(96, "+Inf"), "fail", /96 %/],
    [page(100, "0", 1), "fail", /full: agents' operations are denied/],
    ["", "warn", /does not say how full/],
  ])("is read from its own figures: %#", async (text, state, says) => {
    const { facts } = world(async () => answer(text));
    expect(await checkCollector(facts)).toMatchObject([{ state, says: expect.stringMatching(says) as string }]);
  });

  test("is a failure where it does not answer, or may not be asked", async () => {
    for (const status of [403, 503]) {
      const { facts } = world(async () => answer("", { status }));
      expect(await checkCollector(facts)).toMatchObject([{ state: "fail" }]);
    }
  });
});

describe("rights", () => {
  test("that are missing are named by verb, resource and place", async () => {
    const { kube } = world();
    kube.list = () =>
      Promise.reject(new KubeError(403, "Forbidden", 'pods is forbidden: User "x" cannot list resource "pods"'));
    const cluster = createCluster(kube, async () => answer(""));
    await expect(cluster.all(ADMIN_RESOURCE.pod, { namespace: "shop" })).rejects.toThrow(
      new MissingRight("list", ADMIN_RESOURCE.pod, "shop"),
    );
    await expect(cluster.all(ADMIN_RESOURCE.agentPolicy)).rejects.toThrow(
      "your account may not list agentpolicies.sidegate.dev in the whole cluster",
    );
  });

  test("are not confused with what admission refuses", async () => {
    const { kube } = world();
    kube.remove = () =>
      Promise.reject(new KubeError(403, "Forbidden", "ValidatingAdmissionPolicy 'x' denied request: no"));
    const cluster = createCluster(kube, async () => answer(""));
    await expect(cluster.remove(ADMIN_RESOURCE.pod, { namespace: "a", name: "b" })).rejects.toThrow(/denied request/);
  });
});

const node = (name: string, kernelVersion: string, more: object = {}): KubeObject =>
  ({
    metadata: { name, labels: { "kubernetes.io/os": "linux", ...more } },
    status: {
      nodeInfo: { kernelVersion },
      conditions: [{ type: "Ready", status: name.startsWith("off") ? "False" : "True" }],
    },
  }) as KubeObject;

const RUNTIMES = { type: "RuntimeDefault", localhostProfile: "sidegate/agent.json" } as const;
const OPTIONS =
  "image: proxy:1\ncollector: {url: 'https://c.example', ca: x}\nbundle: {url: 'https://b.example', publicKey: x}\n";
const OURS = { type: "Localhost", localhostProfile: "sidegate/agent.json" } as const;

describe("doctor --nodes", () => {
  test("tries one node of each kind, and says which kinds have none that is ready", () => {
    const { kinds, unready } = nodeKinds([
      node("a1", "6.1"),
      node("a2", "6.1"),
      node("b1", "5.10", { "eks.amazonaws.com/nodegroup": "gpu" }),
      node("off1", "4.19"),
      node("w", "10", { "kubernetes.io/os": "windows" }),
    ]);
    expect(kinds.map((kind) => [kind.node, kind.nodes])).toEqual([
      ["a1", 2],
      ["b1", 1],
    ]);
    expect(kinds[1]?.says).toMatch(/^pool gpu, 5\.10/);
    expect(unready).toEqual(["4.19"]);
  });

  test.each([
    ["succeeded", "sidegate-init: holds: a (x)\nsidegate-init: rules loaded by nft\n", "ok"],
    ["failed", "sidegate-init: holds: a (x)\nsidegate-init: FAILS: udp is rejected (got nothing)\n", "fail"],
    // It ended well, but proved nothing.
    ["succeeded", "", "fail"],
    ["late", "", "fail"],
    ["stopped", "", "fail"],
  ] as const)("a pod that %s with %j is %s", (kind, log, state) => {
    expect(verdict("n", { kind, why: "" }, log)).toMatchObject({ state });
  });

  test.each([
    ["vsock: refused 1\n", "ok"],
    ["a warning\nvsock: made 19\n", "warn"],
    ["vsock: made 104\n", "fail"],
    ["vsock: made 0\n", "fail"],
    ["vsock: made 104 by a 32-bit program\n", "fail"],
    ["vsock: made 19 by a 32-bit program\n", "warn"],
    ["", "fail"],
  ] as const)("a container that says %j of VSOCK is %s", (log, state) => {
    expect(vsockFinding("n", log, { seccomp: RUNTIMES })).toMatchObject({ state });
    expect(vsockFinding("n", log, { seccomp: OURS })).toMatchObject({ state });
  });

  test("the way out of VSOCK is the value, and where it is set, the file on the node", () => {
    const fix = (seccomp: typeof RUNTIMES | typeof OURS): string =>
      vsockFinding("n", "vsock: made 104\n", { seccomp }).fix;
    expect(fix(RUNTIMES)).toContain("injection.seccomp.type: Localhost");
    expect(fix(OURS)).toContain("sidegate/agent.json on these nodes is not the profile of this release");
    expect(vsockFinding("n", "vsock: refused 1\n", { seccomp: OURS }).says).toContain(
      "profile sidegate/agent.json refuses",
    );
  });

  const SECCOMP = "\nseccomp: {type: Localhost}\n";
  /** As a kubelet reports it: our init ended well, the container with the profile was never made. */
  const unmade = (message: string, exitCode = 0): object => ({
    phase: "Pending",
    containerStatuses: [
      { name: "sidegate-init", state: { terminated: { exitCode } } },
      { name: "vsock", state: { waiting: { reason: "CreateContainerError", message } } },
    ],
  });
  test.each([
    [
      unmade("cannot load seccomp profile: open …/sidegate/agent.json: no such file"),
      ["ok node proof", "fail node seccomp"],
    ],
    [unmade("cannot load seccomp profile: open …: no such file", 1), ["fail node proof", "fail node seccomp"]],
    [unmade("no space left on device"), ["ok node proof", "fail node vsock"]],
    [{ phase: "Succeeded" }, ["ok node proof", "ok node vsock"]],
  ])(
    "says of a node whether the profile that agents get is there, without waiting for a container that never comes: %#",
    async (status, said) => {
      const { kube, facts } = world(async () => answer("sidegate-init: holds: a (x)\nvsock: refused 1\n"));
      kube.seed(ADMIN_RESOURCE.configMap, [
        {
          metadata: { namespace: "sidegate", name: "sidegate-injection" },
          data: { "options.yaml": OPTIONS + SECCOMP },
        } as KubeObject,
      ]);
      kube.seed(ADMIN_RESOURCE.node, [node("a1", "6.1")]);
      const create = kube.create.bind(kube);
      let trial: unknown;
      kube.create = async (resource, object) => {
        const made = await create(resource, object);
        trial = listAt(made, "spec", "containers")[1];
        kube.seed(resource, [Object.assign(made, { status })]);
        return made;
      };
      const found: string[] = [];
      for await (const { state, check } of proveNodes(facts, new AbortController().signal))
        found.push(`${state} ${check}`);
      expect(found).toEqual(said);
      expect(at(trial, "securityContext", "seccompProfile")).toEqual(OURS);
      expect(kube.all(ADMIN_RESOURCE.pod)).toEqual([]);
    },
  );

  test.each([
    ["", null, []],
    [SECCOMP, null, ["ok"]],
    [SECCOMP, [3, 3], ["ok"]],
    [SECCOMP, [3, 2], ["fail"]],
    [SECCOMP, [0, 0], ["fail"]],
  ] as const)(
    "with the options %j and an installer on %j nodes, doctor says %j of the profile",
    async (more, counts, states) => {
      const { kube, facts } = world();
      kube.seed(ADMIN_RESOURCE.configMap, [
        {
          metadata: { namespace: "sidegate", name: "sidegate-injection" },
          data: { "options.yaml": OPTIONS + more },
        } as KubeObject,
      ]);
      if (counts !== null)
        kube.seed(ADMIN_RESOURCE.daemonSet, [
          {
            metadata: { namespace: "sidegate", name: "sidegate-seccomp" },
            status: { desiredNumberScheduled: counts[0], numberReady: counts[1] },
          } as unknown as KubeObject,
        ]);
      expect((await checkSeccomp(facts)).map(({ state }) => state)).toEqual(states);
    },
  );

  test("the trial of VSOCK runs as it is, on any machine", () => {
    const flags = ["--disable-warning=ExperimentalWarning", "-e", VSOCK_TRIAL];
    expect(execFileSync(process.execPath, flags, { encoding: "utf8" })).toMatch(
      /^vsock: (refused|made) \d+( by a 32-bit program)?\n$/,
    );
  });

  test("counts every kind of node that was not tried as a failure: too many, none ready, stopped before its turn", async () => {
    const { kube, facts } = world();
    const data = { "options.yaml": OPTIONS };
    kube.seed(ADMIN_RESOURCE.configMap, [
      { metadata: { namespace: "sidegate", name: "sidegate-injection" }, data } as KubeObject,
    ]);
    const kinds = Array.from({ length: 32 }, (_, n) => node(`a${n}`, `6.${n}`));
    kube.seed(ADMIN_RESOURCE.node, [...kinds, node("off1", "4.19")]);
    const said: string[] = [];
    for await (const { state, says } of proveNodes(facts, AbortSignal.abort())) {
      expect(state).toBe("fail");
      said.push(says.replace(/: .*/, ""));
    }
    expect(new Set(said)).toEqual(
      new Set([
        "not tried, no node is ready of",
        "not tried, there are more than 30 kinds of nodes",
        "not tried, it was stopped before",
      ]),
    );
    expect(said).toHaveLength(33);
    expect(kube.all(ADMIN_RESOURCE.pod)).toEqual([]);
  });

  test("removes its pod, whether it proved something, failed, or somebody pressed Ctrl-C", async () => {
    for (const phase of ["Succeeded", "Failed", "Running"]) {
      const { kube, facts } = world(async () => answer("sidegate-init: holds: a (x)\nvsock: refused 1\n"));
      kube.seed(ADMIN_RESOURCE.configMap, [
        {
          metadata: { namespace: "sidegate", name: "sidegate-injection" },
          data: { "options.yaml": OPTIONS },
        } as KubeObject,
      ]);
      kube.seed(ADMIN_RESOURCE.node, [node("a1", "6.1")]);
      const stop = new AbortController();
      const create = kube.create.bind(kube);
      kube.create = async (resource, object) => {
        const made = await create(resource, object);
        kube.seed(resource, [Object.assign(made, { status: { phase } })]);
        if (phase === "Running") stop.abort();
        return made;
      };
      const states: string[] = [];
      for await (const { state } of proveNodes(facts, stop.signal)) states.push(state);
      expect(states).toEqual([phase === "Succeeded" ? "ok" : "fail", "ok"]);
      expect(kube.all(ADMIN_RESOURCE.pod)).toEqual([]);
      expect(kube.calls.get("create pods")).toBe(1);
    }
  });
});

describe("redteam", () => {
  const wish = {
    namespace: "shop",
    image: "agent:1",
    uid: 1000,
    script: "print('x')\n",
    args: ["--only", "N5"],
    limitMs: 60_000,
  };
  const log = (uid: number, rows: readonly (readonly [string, string])[]): string => {
    const count = (outcome: string): number => rows.filter((row) => row[1] === outcome).length;
    const attempts = rows.map(([id, outcome]) => ({ id, outcome, detail: `of ${id}`, ms: 1 }));
    return `a warning\n${JSON.stringify({ v: 1, uid, seconds: 1, died: count("died"), escaped: count("ESCAPED"), skipped: count("skipped"), broken: count("broken"), attempts }).replace('{"v":1', '{"v": 1')}\n`;
  };
  const ended = { kind: "succeeded", why: "" } as const;

  test("makes a pod as any author could: root first, then the other, nothing asked for", () => {
    const pod = redteamPod(wish, false) as unknown as {
      readonly spec: {
        readonly initContainers: { securityContext: object; command: string[] }[];
        readonly containers: { securityContext: object }[];
      };
    };
    expect(pod.spec.initContainers[0]?.securityContext).toEqual({ runAsUser: 0 });
    expect(pod.spec.containers[0]?.securityContext).toEqual({ runAsUser: 1000 });
    expect(pod.spec.initContainers[0]?.command.slice(-3)).toEqual(["--json", "--only", "N5"]);
    expect(Object.keys(pod.spec)).not.toContain("volumes");
  });

  test("is tight only when everything was tried and nothing escaped", () => {
    const whole = readRun(
      0,
      log(0, [
        ["N1", "died"],
        ["N2", "skipped"],
      ]),
      ended,
    );
    const escaped = readRun(0, log(0, [["N1", "ESCAPED"]]), ended);
    const broken = readRun(0, log(0, [["N1", "broken"]]), ended);
    const nothing = readRun(0, "python3: not found\n", { kind: "failed", why: "as-root: StartError" });
    const wrongUid = readRun(1000, log(0, [["N1", "died"]]), ended);
    const cut = readRun(0, log(0, [["N1", "died"]]).replace('"died":1', '"died":7'), ended);
    expect(nothing.why).toMatch(/StartError; python3: not found/);
    const tight = (run: typeof whole): boolean => isTight({ kind: "ran", pod: "shop/p", runs: [run] });
    expect([whole, escaped, broken, nothing, wrongUid, cut].map(tight)).toEqual([
      true,
      false,
      false,
      false,
      false,
      false,
    ]);
    expect(isTight({ kind: "ran", pod: "shop/p", runs: [] })).toBe(false);
  });

  test("shows a table with both users, and the details of whatever did not die", () => {
    const runs = [
      readRun(
        0,
        log(0, [
          ["N1/udp", "died"],
          ["N2", "ESCAPED"],
        ]),
        ended,
      ),
      readRun(1000, log(1000, [["N1/udp", "died"]]), ended),
    ];
    expect(renderRedteam({ kind: "ran", pod: "shop/p", runs })).toBe(
      "attempt   uid 0     uid 1000\nN1/udp    died      died\nN2        ESCAPED   -\n\n  uid 0: N2: ESCAPED: of N2\n\nuid 0: 1 died, 1 ESCAPED, 0 skipped, 0 broken\nuid 1000: 1 died, 0 ESCAPED, 0 skipped, 0 broken\n",
    );
  });

  test("makes nothing in a namespace that has not opted in", async () => {
    const { kube, facts } = world();
    kube.seed(ADMIN_RESOURCE.namespace, [{ metadata: { name: "shop" } }]);
    const why = expect.stringMatching(/has not opted in: kubectl label namespace shop/) as string;
    expect(await redteam(facts.cluster, wish, new AbortController().signal)).toEqual({ kind: "not run", why });
    expect(kube.calls.get("create pods")).toBeUndefined();
  });

  test("refuses to believe in a pod that has no gateway, and removes it", async () => {
    const { kube, facts } = world();
    kube.seed(ADMIN_RESOURCE.namespace, [{ metadata: { name: "shop", labels: { "sidegate.dev/inject": "all" } } }]);
    expect(await redteam(facts.cluster, wish, new AbortController().signal)).toMatchObject({
      kind: "not run",
      why: expect.stringMatching(/WITHOUT a gateway/) as string,
    });
    expect(kube.all(ADMIN_RESOURCE.pod)).toEqual([]);
  });
});

describe("what is shown", () => {
  test.each([
    ["Deployment/agent", "kubectl -n shop rollout restart deployment/agent"],
    ["StatefulSet/db", "kubectl -n shop rollout restart statefulset/db"],
    ["DaemonSet/log", "kubectl -n shop rollout restart daemonset/log"],
  ])("for %s is the line that makes its pods anew", (owner, line) => {
    expect(restartLine("shop", owner)).toBe(line);
  });

  test("never restarts by itself what would not come back: a lone pod is kept in a file first", () => {
    expect(restartLine("shop", "Pod/alone")).toMatch(/^kubectl -n shop get pod alone -o yaml > alone\.yaml/);
  });

  test.each([
    [0, "0 s"],
    [59_000, "59 s"],
    [3_600_000, "1 h"],
    [90_061_000, "1 d 1 h"],
    [Number.POSITIVE_INFINITY, "for ever"],
  ])("%d ms reads %s", (ms, text) => {
    expect(period(ms)).toBe(text);
  });

  test("figures are read from a metrics page, by name, whatever comes after", () => {
    const page = '# HELP a_info x\na_info{revision="abc",mode="enforce"} 1\na 2.5 1700000000\nab 3\n';
    expect([readSample(page, "a"), readSample(page, "ab"), readSample(page, "b")]).toEqual([2.5, 3, null]);
    expect([readLabel(page, "a_info", "mode"), readLabel(page, "a_info", "none")]).toEqual(["enforce", null]);
  });

  test("a namespace without a trace of its label has no time", () => {
    expect(optedInAt({ metadata: { name: "a", managedFields: [] } })).toBeNaN();
  });
});
