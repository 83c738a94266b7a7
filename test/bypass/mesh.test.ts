/**
 * A service mesh in the same pod: a second table that redirects at the usual priority, loaded before ours or after. Ours must see
 * the agent's traffic first either way; where it cannot (iptables), it must refuse to be loaded.
 */
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { requireRoot, requireTool } from "../support/require.ts";
import { BEYOND, FAMILIES, INET, LOOPBACK, listening, Pod } from "./support/pod.ts";

const LOAD = fileURLToPath(new URL("support/load-flavour.ts", import.meta.url));
const MESH_PORT = 15_999;
const MESH = `table inet mesh {
  chain out { type nat hook output priority -100; policy accept;
    meta skuid 1337 return
    meta l4proto tcp redirect to :${MESH_PORT}
    udp dport 53 redirect to :${MESH_PORT}
  }
}`;
const MESH_IPTABLES = `*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:MESH_OUTPUT - [0:0]
-A OUTPUT -p tcp -j MESH_OUTPUT
-A MESH_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A MESH_OUTPUT -p tcp -j REDIRECT --to-ports ${MESH_PORT}
COMMIT
`;

describe.each([
  ["before", { before: MESH }],
  ["after", { after: MESH }],
] as const)("a mesh's redirects loaded %s ours", (_, around) => {
  test.for(FAMILIES)("the agent's connections and questions meet us, not the mesh (IPv%s)", async (family, context) => {
    requireRoot(context);
    for (const tool of ["nft", "python3", "nsenter"]) requireTool(context, tool);
    const pod = await Pod.make("nft", around);
    try {
      const [agent, proxy, mesh] = [pod.agent(), await listening(pod.proxy()), pod.agent(1337)];
      await mesh.do("socket", { name: "l", family: INET[family] });
      await mesh.do("bind", { name: "l", address: [LOOPBACK[family], MESH_PORT] });
      await mesh.do("listen", { name: "l" });
      await agent.do("socket", { name: "s", family: INET[family] });
      await agent.do("connect", { name: "s", address: [BEYOND[family], 443] });
      const { original } = await proxy.do("accept", { name: `tcp${family}`, to: "c" });
      expect(original).toEqual([BEYOND[family], 443]);
      await agent.do("socket", { name: "q", family: INET[family], type: "datagram" });
      await agent.do("sendto", { name: "q", data: "question", address: [BEYOND[family], 53] });
      expect((await proxy.do("recvfrom", { name: `dnsUdp${family}` })).data).toBe("question");
      expect((await mesh.do("pending", { name: "l" })).pending).toBe(false);
    } finally {
      await pod.close();
    }
  });
});

test("the mesh would win where nobody is ahead of it: the scene is a real one", async (context) => {
  requireRoot(context);
  for (const tool of ["nft", "python3", "nsenter"]) requireTool(context, tool);
  const pod = await Pod.make(null, { before: MESH });
  try {
    const [agent, mesh] = [pod.agent(), pod.agent(1337)];
    await mesh.do("socket", { name: "l" });
    await mesh.do("bind", { name: "l", address: ["127.0.0.1", MESH_PORT] });
    await mesh.do("listen", { name: "l" });
    await agent.do("socket", { name: "s" });
    await agent.do("connect", { name: "s", address: [BEYOND[4], 443] });
    expect((await mesh.do("accept", { name: "l", to: "c" })).original).toEqual([BEYOND[4], 443]);
  } finally {
    await pod.close();
  }
});

test.for(["iptables", "iptables-legacy"] as const)(
  "with %s, which cannot go ahead of a mesh, our rules are not loaded at all",
  async (flavour, context) => {
    requireRoot(context);
    for (const tool of [`${flavour}-restore`, `${flavour}-save`, "nsenter"]) requireTool(context, tool);
    const pod = await Pod.make(null);
    try {
      pod.inside([`${flavour}-restore`], MESH_IPTABLES);
      const before = pod.inside([`${flavour}-save`]);
      expect(() => pod.inside([process.execPath, "--disable-warning=ExperimentalWarning", LOAD, flavour])).toThrow(
        /another program redirects.*MESH_OUTPUT/,
      );
      const rules = (text: string): string[] => text.split("\n").filter((line) => /^[-:*]/.test(line));
      expect(rules(pod.inside([`${flavour}-save`]))).toEqual(rules(before));
    } finally {
      await pod.close();
    }
  },
);

test.for(["nft", "iptables", "iptables-legacy"] as const)(
  "loading the rules of %s twice leaves them once, and open connections go on",
  async (backend, context) => {
    requireRoot(context);
    for (const tool of [backend === "nft" ? "nft" : `${backend}-restore`, "python3", "nsenter"])
      requireTool(context, tool);
    const pod = await Pod.make(backend);
    try {
      const listed = (): string =>
        backend === "nft"
          ? pod.inside(["nft", "-s", "list", "ruleset"])
          : pod.inside([`${backend}-save`]).replace(/^#.*$|\[\d+:\d+\]/gm, "");
      const [agent, proxy] = [pod.agent(), await listening(pod.proxy())];
      await agent.do("socket", { name: "s" });
      await agent.do("connect", { name: "s", address: [BEYOND[4], 443] });
      await proxy.do("accept", { name: "tcp4", to: "c" });
      const before = listed();
      pod.load(backend);
      expect(listed()).toBe(before);
      await agent.do("send", { name: "s", data: "still here" });
      expect((await proxy.do("recv", { name: "c" })).data).toBe("still here");
    } finally {
      await pod.close();
    }
  },
);
