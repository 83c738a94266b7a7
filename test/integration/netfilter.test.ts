/**
 * init as it runs in a pod, in a real network namespace: rules loaded, proven, and left behind; and the probe itself: with a rule
 * missing it must say which property the kernel does not hold.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, type TestContext, test } from "vitest";
import { ISTIO, redirectByMesh } from "../bypass/support/istio.ts";
import { BACKENDS, Pod, PROXY_UID } from "../bypass/support/pod.ts";
import { requireRoot, requireTool } from "../support/require.ts";

const INIT = fileURLToPath(new URL("../../cmd/init.ts", import.meta.url));
const PROBE = fileURLToPath(new URL("../bypass/support/probe-mutated.ts", import.meta.url));
const NODE = [process.execPath, "--disable-warning=ExperimentalWarning"];
const ENV = { SIDEGATE_UID: String(PROXY_UID), SIDEGATE_INBOUND: "8080", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };

interface Ran {
  readonly code: number | null;
  readonly said: string;
}

async function inPod(context: TestContext, tools: readonly string[], play: (pod: Pod) => void): Promise<void> {
  requireRoot(context);
  for (const tool of ["nsenter", "setpriv", "ip", ...tools]) requireTool(context, tool);
  const pod = await Pod.make(null);
  try {
    play(pod);
  } finally {
    await pod.close();
  }
}

/** `before`: what it is started by, in the pod's network. */
function init(pod: Pod, env: Readonly<Record<string, string>>, before: readonly string[] = []): Ran {
  const argv = ["-t", String(pod.pid), "-n", "--", ...before, ...NODE, INIT];
  const done = spawnSync("nsenter", argv, { env: { ...ENV, ...env }, encoding: "utf8" });
  return { code: done.status, said: done.stderr };
}

/** As the container has it: NET_ADMIN and nothing else. */
const ONLY_NET_ADMIN = ["setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all", "--"];

describe("init", () => {
  test.for(["nft", "iptables"] as const)(
    "with %s loads the rules, proves each property, and ends with 0",
    (dataplane, context) =>
      inPod(context, dataplane === "nft" ? ["nft"] : ["iptables-restore", "ip6tables-restore"], (pod) => {
        const { code, said } = init(pod, { SIDEGATE_DATAPLANE: dataplane }, ONLY_NET_ADMIN);
        expect([code, said.includes("FAILS")]).toEqual([0, false]);
        expect(said.match(/holds: /g)).toHaveLength(16);
        expect(said).toContain(`rules loaded by ${dataplane}\n`);
        const rules = dataplane === "nft" ? pod.inside(["nft", "list", "ruleset"]) : pod.inside(["iptables-save"]);
        // The real uid, in every place: nothing of the probe's own stays.
        expect(rules).toContain(String(PROXY_UID));
        expect(rules).not.toMatch(/skuid (!= )?0|uid-owner 0/);
        expect(rules).toContain("8080");
      }),
  );

  test.for(["nft", "iptables"] as const)(
    "with %s and a mesh in the pod, it proves that its uid goes out and that nobody else talks to it",
    (dataplane, context) =>
      inPod(context, dataplane === "nft" ? ["nft"] : ["iptables-restore", "ip6tables-restore"], (pod) => {
        const mesh = "1337:15000,15001,15006,15053,15090";
        const { code, said } = init(pod, { SIDEGATE_DATAPLANE: dataplane, SIDEGATE_MESH: mesh }, ONLY_NET_ADMIN);
        expect([code, said.includes("FAILS")]).toEqual([0, false]);
        expect(said.match(/holds: /g)).toHaveLength(22);
        expect(said).toContain("goes out as uid 1337");
        const rules = dataplane === "nft" ? pod.inside(["nft", "list", "ruleset"]) : pod.inside(["iptables-save"]);
        expect(rules).toContain("1337");
        expect(rules).not.toMatch(/skuid (!= )?0|uid-owner 0/);
      }),
  );

  test("where a mesh's CNI plug-in has redirected already, nft goes ahead of it, and iptables is refused", (context) =>
    inPod(context, ["nft", "iptables-restore", "ip6tables-restore"], (pod) => {
      redirectByMesh(pod, "iptables");
      const env = { SIDEGATE_MESH: `1337:${ISTIO.ports.join(",")}` };
      const { code, said } = init(pod, { ...env, SIDEGATE_DATAPLANE: "nft" }, ONLY_NET_ADMIN);
      expect([code, said.includes("FAILS")]).toEqual([0, false]);
      const refused = init(pod, { ...env, SIDEGATE_DATAPLANE: "iptables" }, ONLY_NET_ADMIN);
      expect([refused.code, refused.said]).toEqual([
        1,
        expect.stringMatching(/another program redirects.*ISTIO_OUTPUT/),
      ]);
      expect(pod.inside(["iptables-save", "-t", "nat"])).toContain("-A OUTPUT -j ISTIO_OUTPUT");
    }));

  test("run again, it replaces what it loaded", (context) =>
    inPod(context, ["nft"], (pod) => {
      expect(init(pod, {}).code).toBe(0);
      const before = pod.inside(["nft", "-s", "list", "ruleset"]);
      expect(init(pod, {}).code).toBe(0);
      expect(pod.inside(["nft", "-s", "list", "ruleset"])).toBe(before);
    }));

  test("`auto` takes iptables where nft does not work, and says why", (context) =>
    inPod(context, ["iptables-restore"], (pod) => {
      const without = [
        "unshare",
        "--mount",
        "--",
        "sh",
        "-c",
        'mount --bind /dev/null "$(command -v nft)" && exec "$@"',
        "sh",
      ];
      const { code, said } = init(pod, { SIDEGATE_DATAPLANE: "auto" }, without);
      expect([code, said]).toEqual([
        0,
        expect.stringMatching(/rules loaded by iptables \(not by nft: nft is not installed/),
      ]);
    }));

  test("where IPv6 is switched off in the pod, it is loaded for it and nothing of it is asked", (context) =>
    inPod(context, ["nft"], (pod) => {
      pod.inside(["sh", "-c", "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 >$f; done"]);
      const { code, said } = init(pod, {}, ONLY_NET_ADMIN);
      expect([code, said.includes("FAILS")]).toEqual([0, false]);
      expect(said).toContain("TCP is redirected, and its destination can be read (IPv4 captured, no IPv6 route)");
      expect(pod.inside(["nft", "list", "ruleset"])).toContain("icmpv6 type");
    }));

  test("where only loopback's IPv6 is switched off, the pod must not run", (context) =>
    inPod(context, ["nft"], (pod) => {
      pod.inside(["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6"]);
      expect(pod.inside(["ip", "-6", "address"])).toContain("inet6");
      const { code, said } = init(pod, {}, ONLY_NET_ADMIN);
      expect([code, said]).toEqual([3, expect.stringContaining("FAILS: TCP is redirected")]);
    }));

  test("without NET_ADMIN it says what its container needs, and ends with 1", (context) =>
    inPod(context, [], (pod) => {
      const { code, said } = init(pod, {}, ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]);
      expect([code, said]).toEqual([1, expect.stringContaining("capabilities.add: [NET_ADMIN]")]);
      expect(pod.inside(["nft", "list", "ruleset"])).toBe("");
    }));

  test("with a wrong configuration it ends with 2 and touches nothing", (context) =>
    inPod(context, ["nft"], (pod) => {
      const { code, said } = init(pod, { SIDEGATE_UID: "1000", SIDEGATE_INBOUND: "http" });
      expect([code, said]).toEqual([2, expect.stringContaining("SIDEGATE_UID")]);
      expect(said).toContain('"http" is no port');
      expect(pod.inside(["nft", "list", "ruleset"])).toBe("");
    }));
});

describe("the probe, with rules left out", () => {
  test.for([
    ["redirect:0", ["the proxy's uid is not redirected (UDP)", "the proxy's uid is not redirected (TCP)"]],
    [
      "redirect:1",
      [
        "UDP 53 is redirected, and answered from the address asked",
        "UDP 53 to a local resolver is redirected",
        "TCP 53 is redirected",
        "TCP 53 to a local resolver is redirected",
      ],
    ],
    ["redirect:3", ["TCP is redirected, and its destination can be read"]],
    [
      "output:0",
      [
        "nobody else answers on the capture port",
        "nobody else answers on the resolver's port",
        "nobody else sends from the proxy's ports",
      ],
    ],
    ["output:2", ["the proxy's uid goes out"]],
    ["exit:1", ["the proxy's uid goes out"]],
    ["exit:4,exit:policy", ["nothing leaves by another interface for a loopback address"]],
    [
      "output:5,output:7,output:policy,exit:4,exit:policy",
      [
        "UDP is refused at once",
        "raw IP is refused",
        "nothing leaves by another interface for a loopback address",
        "UDP is refused under the final rules",
      ],
    ],
    ["", []],
  ] as const)("%s: names exactly the properties that are lost", ([mutation, lost], context) =>
    inPod(context, ["nft"], (pod) => {
      const out = pod.inside([...NODE, PROBE], "", { SIDEGATE_MUTATION: mutation });
      expect(JSON.parse(out)).toEqual(lost);
    }),
  );

  test.for(BACKENDS)("the golden rules of %s are loaded as they are written", (backend, context) =>
    inPod(context, [backend === "nft" ? "nft" : `${backend}-restore`], (pod) => {
      expect(() => pod.load(backend)).not.toThrow();
    }),
  );
});
