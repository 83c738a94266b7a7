/**
 * A mesh's proxy in the same pod with `mesh.mode: chain`: agent → our redirect → our proxy → the mesh's redirect → its proxy → network.
 * The rules are Istio's own text; its proxy is a stand-in (a process of uid 1337 that listens where Envoy would). What an agent may try at
 * it must die in each combination of our back ends with Istio's.
 */
import { describe, expect, type TestContext, test } from "vitest";
import { ADMIN_PORT } from "#contract/names.ts";
import type { RulesetOptions } from "#netfilter/model.ts";
import { requireRoot, requireTool } from "../support/require.ts";
import type { Actor } from "./support/actor.ts";
import { INBOUND, ISTIO, ISTIO_UID, MAGIC, OUTBOUND, type Redirects, redirectByMesh } from "./support/istio.ts";
import {
  AGENT_UID,
  type Backend,
  BEYOND,
  FAMILIES,
  type Family,
  INET,
  LOOPBACK,
  listening,
  POD,
  Pod,
  RULES,
  sniffing,
  WORLD,
} from "./support/pod.ts";

const CHAINED = { ...RULES, inbound: { ...RULES.inbound, tcp: [...RULES.inbound.tcp, ADMIN_PORT] }, mesh: ISTIO };
const REFUSED = ["EPERM", "EACCES", "EHOSTUNREACH"];

interface Combination {
  readonly ours: Backend;
  readonly theirs: Redirects;
  /** `before`: as the CNI plug-in, when the pod's sandbox is made; `after`: as istio-init, an init container behind ours. */
  readonly when: "before" | "after";
}
const COMBINATIONS: readonly Combination[] = [
  { ours: "nft", theirs: "iptables", when: "after" },
  { ours: "nft", theirs: "iptables", when: "before" },
  { ours: "nft", theirs: "iptables-legacy", when: "after" },
  { ours: "nft", theirs: "nft", when: "before" },
  { ours: "iptables", theirs: "iptables", when: "after" },
  { ours: "iptables-legacy", theirs: "iptables-legacy", when: "after" },
];

interface Scene {
  readonly pod: Pod;
  readonly agent: Actor;
  readonly proxy: Actor;
  readonly mesh: Actor;
  readonly world: Actor;
  readonly left: () => Promise<readonly string[]>;
}

async function scene(
  context: TestContext,
  { ours, theirs, when }: Combination,
  play: (scene: Scene) => Promise<void>,
  rules: RulesetOptions = CHAINED,
): Promise<void> {
  requireRoot(context);
  for (const tool of [
    "python3",
    "nsenter",
    "setpriv",
    "ip",
    "nft",
    `${theirs === "nft" ? "iptables" : theirs}-restore`,
  ])
    requireTool(context, tool);
  const pod = await Pod.make(when === "before" ? null : ours, { rules });
  try {
    redirectByMesh(pod, theirs);
    if (when === "before") pod.load(ours);
    const [agent, proxy, mesh, world] = [pod.agent(), pod.proxy(), pod.agent(ISTIO_UID), pod.world()];
    await listening(proxy);
    await sniffing(world);
    await play({ pod, agent, proxy, mesh, world, left: () => pod.left(world, proxy) });
  } finally {
    await pod.close();
  }
}

async function serve(actor: Actor, name: string, family: Family, host: string, port: number): Promise<void> {
  await actor.do("socket", { name, family: INET[family] });
  await actor.do("option", { name, level: 1, option: 2, value: 1 });
  await actor.do("bind", { name, address: [host, port] });
  await actor.do("listen", { name });
}

async function dial(
  actor: Actor,
  name: string,
  family: Family,
  host: string,
  port: number,
): Promise<string | undefined> {
  await actor.do("socket", { name, family: INET[family] });
  return (await actor.try("connect", { name, address: [host, port] })).error;
}

/** Begins a handshake, lets one that is allowed go through after it, and says whether the first is through. */
async function reaches(actor: Actor, family: Family, host: string, port: number): Promise<boolean> {
  await actor.do("socket", { name: "tried", family: INET[family] });
  await actor.try("connect_begin", { name: "tried", address: [host, port] });
  await serve(actor, "control", family, LOOPBACK[family], 0);
  const { address } = await actor.do("getsockname", { name: "control" });
  await actor.do("socket", { name: "known", family: INET[family] });
  await actor.do("connect", { name: "known", address: [LOOPBACK[family], address?.[1]] });
  const { connected } = await actor.do("connected", { name: "tried" });
  for (const name of ["tried", "control", "known"]) await actor.do("close", { name });
  return connected ?? false;
}

/** What an agent may try differs by our back end, and by who came first; the mesh's own way of writing its rules changes none of it. */
const EACH = COMBINATIONS.filter(
  ({ ours, theirs, when }) => ours !== "iptables-legacy" && theirs === "iptables" && when === "after",
);

describe.each(COMBINATIONS)("ours by $ours, Istio's by $theirs, loaded $when ours", (combination) => {
  test.for(FAMILIES)(
    "N15: a connection meets us once, then the mesh's proxy once, then the network (IPv%s)",
    (family, context) =>
      scene(context, combination, async ({ agent, proxy, mesh, world }) => {
        await serve(mesh, "out", family, LOOPBACK[family], OUTBOUND);
        await serve(world, "web", family, WORLD[family], 80);
        await dial(agent, "a", family, WORLD[family], 80);
        expect((await proxy.do("accept", { name: `tcp${family}`, to: "fromAgent" })).original).toEqual([
          WORLD[family],
          80,
        ]);
        expect((await mesh.do("pending", { name: "out" })).pending).toBe(false);
        expect(await dial(proxy, "toMesh", family, WORLD[family], 80)).toBeUndefined();
        expect((await mesh.do("accept", { name: "out", to: "fromProxy" })).original).toEqual([WORLD[family], 80]);
        expect((await world.do("pending", { name: "web" })).pending).toBe(false);
        expect(await dial(mesh, "toWorld", family, WORLD[family], 80)).toBeUndefined();
        expect((await world.do("accept", { name: "web", to: "in" })).peer?.[0]).toBe(POD[family]);
        // Both ways along the whole chain.
        const way = [
          [agent, "a", proxy, "fromAgent"],
          [proxy, "toMesh", mesh, "fromProxy"],
          [mesh, "toWorld", world, "in"],
        ] as const;
        for (const [from, leg, to, other] of way) {
          await from.do("send", { name: leg, data: "question" });
          expect((await to.do("recv", { name: other })).data).toBe("question");
        }
        for (const [from, leg, to, other] of way.toReversed()) {
          await to.do("send", { name: other, data: "answer" });
          expect((await from.do("recv", { name: leg })).data).toBe("answer");
        }
        // Nobody was asked twice.
        expect((await proxy.do("pending", { name: `tcp${family}` })).pending).toBe(false);
        expect((await mesh.do("pending", { name: "out" })).pending).toBe(false);
      }),
  );

  test.for(FAMILIES)(
    "N15: the kubelet asks our own listener, whether the mesh's proxy is up or not (IPv%s)",
    (family, context) =>
      scene(context, combination, async ({ proxy, mesh, world }) => {
        await serve(proxy, "admin", family, POD[family], ADMIN_PORT);
        for (const up of [false, true]) {
          if (up) await serve(mesh, "in", family, family === 4 ? "0.0.0.0" : "::", INBOUND);
          expect(await dial(world, "k", family, POD[family], ADMIN_PORT)).toBeUndefined();
          await proxy.do("accept", { name: "admin", to: "c" });
          for (const [actor, name] of [
            [world, "k"],
            [proxy, "c"],
          ] as const)
            await actor.do("close", { name });
        }
        expect((await mesh.do("pending", { name: "in" })).pending).toBe(false);
      }),
  );
});

describe.each(EACH)("ours by $ours, Istio's by $theirs, loaded $when ours", (combination) => {
  test.for(FAMILIES)("N16: the mesh's ports are closed to the agent, by TCP and UDP (IPv%s)", (family, context) =>
    scene(context, combination, async ({ pod, mesh, left }) => {
      for (const port of [15_000, OUTBOUND, INBOUND, 15_020, 15_053])
        await serve(mesh, `l${port}`, family, family === 4 ? "0.0.0.0" : "::", port);
      await mesh.do("socket", { name: "dns", family: INET[family], type: "datagram" });
      await mesh.do("bind", { name: "dns", address: [LOOPBACK[family], 15_053] });
      for (const uid of [AGENT_UID, 0]) {
        const agent = pod.agent(uid);
        // IPv6 tells a refusal with the second SYN, a second later.
        for (const host of [LOOPBACK[family], POD[family]])
          for (const port of family === 4 ? ISTIO.ports : [OUTBOUND]) {
            expect(REFUSED).toContain(await dial(agent, "s", family, host, port));
            await agent.do("close", { name: "s" });
          }
        await agent.do("socket", { name: "q", family: INET[family], type: "datagram" });
        const asked = await agent.try("sendto", { name: "q", data: "leak", address: [LOOPBACK[family], 15_053] });
        expect(REFUSED).toContain(asked.error);
      }
      for (const name of ["dns", "l15000", `l${OUTBOUND}`, `l${INBOUND}`, "l15053"])
        expect([name, (await mesh.do("pending", { name })).pending]).toEqual([name, false]);
      expect(await left()).toEqual([]);
    }),
  );

  test.for(FAMILIES)(
    "N16: a port that nobody listed is no way into the mesh's proxy either (IPv%s)",
    (family, context) =>
      scene(context, combination, async ({ agent, mesh, left }) => {
        await serve(mesh, "rogue", family, LOOPBACK[family], 9999);
        expect(await reaches(agent, family, LOOPBACK[family], 9999)).toBe(false);
        expect((await mesh.do("pending", { name: "rogue" })).pending).toBe(false);
        // A datagram arrives; its answer does not leave.
        await mesh.do("socket", { name: "u", family: INET[family], type: "datagram" });
        await mesh.do("bind", { name: "u", address: [LOOPBACK[family], 9998] });
        await agent.do("socket", { name: "q", family: INET[family], type: "datagram" });
        await agent.do("sendto", { name: "q", data: "?", address: [LOOPBACK[family], 9998] });
        const { from } = await mesh.do("recvfrom", { name: "u" });
        expect((await mesh.try("sendto", { name: "u", data: "!", address: from })).error).toBe("EPERM");
        // Itself, it reaches: Envoy and its agent talk to each other.
        expect(await dial(mesh, "self", family, LOOPBACK[family], 9999)).toBeUndefined();
        expect(await left()).toEqual([]);
      }),
  );

  test.for(FAMILIES)(
    "N17: what the mesh exempts is not exempt from us: its group, its magic source address (IPv%s)",
    (family, context) =>
      scene(context, combination, async ({ agent, proxy, left }) => {
        await agent.do("socket", { name: "m", family: INET[family] });
        // 127.0.0.6: from a loopback address the kernel itself opens no way out. ::6 is nobody's until the mesh's init gives it to lo.
        const bound = await agent.try("bind", { name: "m", address: [MAGIC[family], 0] });
        const connected = await agent.try("connect", { name: "m", address: [BEYOND[family], 443] });
        const captured = bound.ok && connected.ok;
        const original = captured ? (await proxy.do("accept", { name: `tcp${family}`, to: "c" })).original : null;
        expect(original).toEqual(captured ? [BEYOND[family], 443] : null);
        const { out } = await agent.do("python", {
          text: "import os\ntry:\n  os.setuid(1337)\n  out='became'\nexcept OSError as e:\n  out=e.errno",
        });
        expect(out).toBe(1);
        await agent.do("socket", { name: "u", family: INET[family], type: "datagram" });
        expect((await agent.try("sendto", { name: "u", data: "x", address: [BEYOND[family], 443] })).error).toMatch(
          /EPERM|EACCES/,
        );
        expect(await left()).toEqual([]);
      }),
  );

  test.for(FAMILIES)(
    "N16: while the mesh's proxy is down nobody answers in its place, and nothing leaves (IPv%s)",
    (family, context) =>
      scene(context, combination, async ({ agent, proxy, left }) => {
        // To iptables, the kernel's own RST of IPv4 has another owner than the mesh.
        expect(["ECONNREFUSED", "TIMEOUT"]).toContain(await dial(proxy, "early", family, WORLD[family], 80));
        await serve(agent, "squat", family, LOOPBACK[family], OUTBOUND);
        await proxy.do("socket", { name: "p", family: INET[family] });
        await proxy.try("connect_begin", { name: "p", address: [WORLD[family], 80] });
        expect(await reaches(proxy, family, WORLD[family], 80)).toBe(false);
        expect((await agent.do("pending", { name: "squat" })).pending).toBe(false);
        expect(await left()).toEqual([]);
      }),
  );

  test.for(FAMILIES)(
    "N16: our own proxy, asked to go there, does not reach the mesh's admin port (IPv%s)",
    (family, context) =>
      scene(context, combination, async ({ proxy, mesh }) => {
        await serve(mesh, "admin", family, family === 4 ? "0.0.0.0" : "::", 15_000);
        for (const host of [LOOPBACK[family], POD[family]]) {
          expect(REFUSED).toContain(await dial(proxy, "p", family, host, 15_000));
          await proxy.do("close", { name: "p" });
        }
        expect((await mesh.do("pending", { name: "admin" })).pending).toBe(false);
      }),
  );

  test.for(FAMILIES)(
    "N16: from outside, declared ports come in through the mesh, and its own are closed (IPv%s)",
    (family, context) =>
      scene(context, combination, async ({ agent, mesh, world }) => {
        await serve(mesh, "in", family, family === 4 ? "0.0.0.0" : "::", INBOUND);
        await serve(mesh, "out", family, family === 4 ? "0.0.0.0" : "::", OUTBOUND);
        await serve(agent, "app", family, family === 4 ? "0.0.0.0" : "::", 8080);
        expect(await dial(world, "w", family, POD[family], 8080)).toBeUndefined();
        expect((await mesh.do("accept", { name: "in", to: "c" })).original).toEqual([POD[family], 8080]);
        // Its proxy hands it to the application, and the answer goes back.
        expect(await dial(mesh, "local", family, LOOPBACK[family], 8080)).toBeUndefined();
        await agent.do("accept", { name: "app", to: "served" });
        await agent.do("send", { name: "served", data: "hello" });
        expect((await mesh.do("recv", { name: "local" })).data).toBe("hello");
        await mesh.do("send", { name: "c", data: "hello" });
        expect((await world.do("recv", { name: "w" })).data).toBe("hello");
        for (const port of [9090, INBOUND, OUTBOUND]) {
          expect([port, await knocks(world, family, port)]).toEqual([port, false]);
          // The knock on the declared port that came after it, and nothing else.
          expect((await mesh.do("accept", { name: "in", to: "k" })).original).toEqual([POD[family], 8080]);
        }
        for (const name of ["in", "out"]) expect((await mesh.do("pending", { name })).pending).toBe(false);
      }),
  );

  test.for(FAMILIES)(
    "N17: configured but not in this pod, its uid is an agent's like any other (IPv%s)",
    (family, context) =>
      scene(
        context,
        combination,
        async ({ proxy, mesh, left }) => {
          await dial(mesh, "s", family, BEYOND[family], 443);
          expect((await proxy.do("accept", { name: `tcp${family}`, to: "c" })).original).toEqual([BEYOND[family], 443]);
          await mesh.do("socket", { name: "u", family: INET[family], type: "datagram" });
          expect((await mesh.try("sendto", { name: "u", data: "x", address: [BEYOND[family], 443] })).error).toMatch(
            /EPERM|EACCES/,
          );
          expect(await left()).toEqual([]);
        },
        RULES,
      ),
  );
});

/** A handshake from outside to a port, with one to a declared port after it on the same way. */
async function knocks(world: Actor, family: Family, port: number): Promise<boolean> {
  await world.do("socket", { name: "k", family: INET[family] });
  await world.try("connect_begin", { name: "k", address: [POD[family], port] });
  await world.do("socket", { name: "ok", family: INET[family] });
  await world.do("connect", { name: "ok", address: [POD[family], 8080] });
  const { connected } = await world.do("connected", { name: "k" });
  for (const name of ["k", "ok"]) await world.do("close", { name });
  return connected ?? false;
}
