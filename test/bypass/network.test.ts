/**
 * Rows N of the threat model, in real network namespaces: what a hijacked agent (any uid, no capability) can do with sockets, and
 * what of it leaves the pod. Every back end passes the same scenarios. "Nothing left" always means: a packet that the proxy sent
 * afterwards arrived at the other end of the wire, and nothing else had.
 */
import { describe, expect, type TestContext, test } from "vitest";
import { CAPTURE_PORT, DNS_PORT } from "#contract/names.ts";
import { requireRoot, requireTool } from "../support/require.ts";
import type { Actor, Address } from "./support/actor.ts";
import {
  BACKENDS,
  type Backend,
  BEYOND,
  FAMILIES,
  type Family,
  INET,
  LOOPBACK,
  listening,
  POD,
  Pod,
  PROXY_UID,
  sniffing,
  WORLD,
} from "./support/pod.ts";

interface Scene {
  readonly pod: Pod;
  readonly agent: Actor;
  readonly proxy: Actor;
  readonly world: Actor;
  /** What left the pod so far. */
  readonly left: () => Promise<readonly string[]>;
}

async function scene(context: TestContext, backend: Backend, play: (scene: Scene) => Promise<void>): Promise<void> {
  requireRoot(context);
  for (const tool of ["python3", "nsenter", "setpriv", "ip", backend === "nft" ? "nft" : `${backend}-restore`])
    requireTool(context, tool);
  const pod = await Pod.make(backend);
  try {
    const [agent, proxy, world] = [pod.agent(), pod.proxy(), pod.world()];
    await listening(proxy);
    await sniffing(world);
    await play({ pod, agent, proxy, world, left: () => pod.left(world, proxy) });
  } finally {
    await pod.close();
  }
}

const SO_BINDTODEVICE = { level: 1, option: 25 };
const MSG_FASTOPEN = 0x2000_0000;
const SO_MARK = { level: 1, option: 36 };
const REFUSED = ["EPERM", "EACCES"];
/** A kernel that has no such thing refuses too. */
const ABSENT = ["EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EAFNOSUPPORT", "EINVAL", "ENOPROTOOPT", "EOPNOTSUPP", "ENODEV"];

describe.each(BACKENDS)("%s", (backend) => {
  test.for(FAMILIES)("N1: TCP to anywhere is captured, with its destination (IPv%s)", (family, context) =>
    scene(context, backend, async ({ agent, proxy, left }) => {
      for (const [to, port] of [
        [BEYOND[family], 443],
        [WORLD[family], 80],
        [BEYOND[family], 853],
        [BEYOND[family], 22],
      ] as const) {
        await agent.do("socket", { name: "s", family: INET[family] });
        await agent.do("connect", { name: "s", address: [to, port] });
        const { original } = await proxy.do("accept", { name: `tcp${family}`, to: "c" });
        expect(original).toEqual([to, port]);
        await agent.do("close", { name: "s" });
        await proxy.do("close", { name: "c" });
      }
      expect(await left()).toEqual([]);
    }),
  );

  test.for(FAMILIES)(
    "N1: a source address of loopback, multipath TCP and fast open are captured too (IPv%s)",
    (family, context) =>
      scene(context, backend, async (s) => {
        const { agent, proxy, left } = s;
        await agent.do("socket", { name: "bound", family: INET[family] });
        await agent.do("bind", { name: "bound", address: [LOOPBACK[family], 0] });
        await agent.try("connect", { name: "bound", address: [BEYOND[family], 443] });
        // A kernel without multipath TCP (ENOPROTOOPT, EPROTONOSUPPORT) has one way out less.
        const multipath = await agent.try("socket", { name: "mptcp", family: INET[family], proto: 262 });
        const connected = await agent.try("connect", { name: "mptcp", address: [BEYOND[family], 444] });
        expect(multipath.ok && connected.ok).toBe(multipath.ok && (await accepted(proxy, family, 444)));
        await agent.do("socket", { name: "fast", family: INET[family] });
        const fast = { name: "fast", data: "early", address: [BEYOND[family], 445], flags: MSG_FASTOPEN };
        expect([undefined, "EINPROGRESS"]).toContain((await agent.try("sendto", fast)).error);
        expect(await accepted(proxy, family, 445)).toBe(true);
        expect(await left()).toEqual([]);
      }),
  );

  test.for(FAMILIES)(
    "N1: the agent reaches its own listeners, and the proxy reaches the world (IPv%s)",
    (family, context) =>
      scene(context, backend, async (s) => {
        const { agent, proxy, world } = s;
        await agent.do("socket", { name: "l", family: INET[family] });
        await agent.do("bind", { name: "l", address: [POD[family], 8123] });
        await agent.do("listen", { name: "l" });
        await agent.do("socket", { name: "s", family: INET[family] });
        await agent.do("connect", { name: "s", address: [POD[family], 8123] });
        await agent.do("accept", { name: "l", to: "c" });
        await serve(world, family, 80);
        await proxy.do("socket", { name: "out", family: INET[family] });
        await proxy.do("connect", { name: "out", address: [WORLD[family], 80] });
        expect((await world.do("accept", { name: "l80", to: "in" })).peer?.[0]).toBe(POD[family]);
      }),
  );

  test.for(FAMILIES)("N2: bound to the interface, nothing for a loopback address leaves (IPv%s)", (family, context) =>
    scene(context, backend, async (s) => {
      const { agent, left } = s;
      for (const host of family === 4 ? ["127.0.0.1", "127.0.0.53", "127.9.9.9"] : ["::1"]) {
        for (const type of ["stream", "datagram"]) {
          await agent.do("socket", { name: "s", family: INET[family], type });
          await agent.do("option", { name: "s", ...SO_BINDTODEVICE, value: "eth0" });
          if (type === "stream") await agent.try("connect_begin", { name: "s", address: [host, 8099] });
          else await agent.try("sendto", { name: "s", data: "escape", address: [host, 8099] });
          await agent.do("close", { name: "s" });
        }
      }
      expect(await left()).toEqual([]);
    }),
  );

  test.for(FAMILIES)("N2: packet information names the interface, and nothing leaves (IPv%s)", (family, context) =>
    scene(context, backend, async (s) => {
      const { agent, left } = s;
      const { out } = await agent.do("python", { text: "import socket; out = socket.if_nametoindex('eth0')" });
      const index = Buffer.alloc(4);
      index.writeInt32LE(Number(out));
      // struct in_pktinfo { int ifindex; in_addr spec_dst, addr }; struct in6_pktinfo { in6_addr addr; unsigned ifindex }
      const hex = family === 4 ? index.toString("hex") + "00".repeat(8) : "00".repeat(16) + index.toString("hex");
      const where = family === 4 ? { level: 0, option: 8 } : { level: 41, option: 50 };
      for (const host of [...(family === 4 ? ["127.0.0.1", "127.0.0.2"] : ["::1"]), BEYOND[family], WORLD[family]]) {
        await agent.do("socket", { name: "s", family: INET[family], type: "datagram" });
        await agent.try("sendmsg", { name: "s", data: "escape", address: [host, 8099], ...where, hex });
        await agent.do("close", { name: "s" });
      }
      expect(await left()).toEqual([]);
    }),
  );

  test.for(FAMILIES)(
    "N3: the source port of a closed TCP connection of the proxy is no tunnel (IPv%s)",
    (family, context) =>
      scene(context, backend, async (s) => {
        const { agent, proxy, world } = s;
        const from = await proxyTalked(s, family);
        await proxy.do("close", { name: "out" });
        await world.do("close", { name: "in" });
        const before = await s.left();
        expect(before.length).toBeGreaterThan(0); // the proxy's own connection was seen: the wire is watched
        await agent.do("socket", { name: "s", family: INET[family] });
        await agent.do("option", { name: "s", level: 1, option: 2, value: 1 });
        const bound = await agent.try("bind", { name: "s", address: ["", from] });
        if (bound.ok) await agent.try("connect_begin", { name: "s", address: [WORLD[family], 80] });
        expect(await s.left()).toEqual([]);
      }),
  );

  test.for(FAMILIES)(
    "N3: nor while the peer keeps it half open and conntrack takes it for established (IPv%s)",
    (family, context) =>
      scene(context, backend, async (s) => {
        const { agent, proxy, pod, left } = s;
        pod.inside(["sysctl", "-qw", "net.ipv4.tcp_fin_timeout=1"]);
        const from = await proxyTalked(s, family);
        await proxy.do("close", { name: "out" });
        await left();
        // The kernel keeps the port for the second of the timeout, and conntrack its entry for two minutes.
        const bound = await agent.do("python", { text: untilBound(family, from) });
        expect(bound.out).toBe(true);
        await agent.try("connect_begin", { name: "s", address: [WORLD[family], 80] });
        expect(await left()).toEqual([]);
      }),
  );

  test.for(FAMILIES)(
    "N3: the source port of a closed UDP socket of the proxy is no tunnel (IPv%s)",
    (family, context) =>
      scene(context, backend, async (s) => {
        const { agent, proxy, world, left } = s;
        await world.do("socket", { name: "u", family: INET[family], type: "datagram" });
        await world.do("bind", { name: "u", address: [WORLD[family], 9999] });
        await proxy.do("socket", { name: "u", family: INET[family], type: "datagram" });
        await proxy.do("sendto", { name: "u", data: "ask", address: [WORLD[family], 9999] });
        const { from } = await world.do("recvfrom", { name: "u" });
        await world.do("sendto", { name: "u", data: "answer", address: from });
        await proxy.do("recvfrom", { name: "u" });
        await proxy.do("close", { name: "u" });
        await left();
        await agent.do("socket", { name: "s", family: INET[family], type: "datagram" });
        await agent.do("bind", { name: "s", address: ["", port(from)] });
        const sent = await agent.try("sendto", { name: "s", data: "escape", address: [WORLD[family], 9999] });
        expect(sent.error).toBe("EPERM");
        expect(await left()).toEqual([]);
      }),
  );

  test.for(FAMILIES)("N3: the proxy's own ports are nobody's source ports (IPv%s)", (family, context) =>
    scene(context, backend, async ({ agent, proxy, left }) => {
      for (const name of [`tcp${family}`, `dnsUdp${family}`, `dnsTcp${family}`]) await proxy.do("close", { name });
      for (const from of [CAPTURE_PORT, DNS_PORT]) {
        await agent.do("socket", { name: "s", family: INET[family], type: "datagram" });
        await agent.do("bind", { name: "s", address: ["", from] });
        for (const host of [LOOPBACK[family], POD[family], BEYOND[family]]) {
          const sent = await agent.try("sendto", { name: "s", data: "forged", address: [host, 4000] });
          expect([host, sent.error]).toEqual([host, "EPERM"]);
        }
        await agent.do("close", { name: "s" });
      }
      expect(await left()).toEqual([]);
    }),
  );

  test.for(FAMILIES)("N4: while the proxy restarts, nobody else answers on its ports (IPv%s)", (family, context) =>
    scene(context, backend, async ({ pod, agent, proxy }) => {
      for (const name of [`tcp${family}`, `dnsUdp${family}`, `dnsTcp${family}`]) await proxy.do("close", { name });
      const victim = pod.agent(1_000_999);
      for (const listens of [CAPTURE_PORT, DNS_PORT]) {
        await agent.do("socket", { name: "squat", family: INET[family] });
        await agent.do("bind", { name: "squat", address: [family === 4 ? "0.0.0.0" : "::", listens] });
        await agent.do("listen", { name: "squat" });
        await victim.do("socket", { name: "s", family: INET[family] });
        const to = listens === CAPTURE_PORT ? 443 : 53;
        await victim.do("connect_begin", { name: "s", address: [BEYOND[family], to] });
        // A handshake begun later on the same way is through; this one is not.
        await selfTalk(victim, family);
        expect((await victim.do("connected", { name: "s" })).connected).toBe(false);
        expect((await agent.do("pending", { name: "squat" })).pending).toBe(false);
        await agent.do("close", { name: "squat" });
        await victim.do("close", { name: "s" });
      }
    }),
  );

  test.for(FAMILIES)("N4: a squatted resolver hears the question and cannot answer it (IPv%s)", (family, context) =>
    scene(context, backend, async ({ pod, agent, proxy }) => {
      await proxy.do("close", { name: `dnsUdp${family}` });
      await agent.do("socket", { name: "squat", family: INET[family], type: "datagram" });
      await agent.do("bind", { name: "squat", address: [LOOPBACK[family], DNS_PORT] });
      const victim = pod.agent(1_000_999);
      await victim.do("socket", { name: "q", family: INET[family], type: "datagram" });
      await victim.do("sendto", { name: "q", data: "question", address: [BEYOND[family], 53] });
      const { from } = await agent.do("recvfrom", { name: "squat" });
      const answered = await agent.try("sendto", { name: "squat", data: "poison", address: from });
      expect(answered.error).toBe("EPERM");
      expect((await victim.do("pending", { name: "q" })).pending).toBe(false);
    }),
  );

  test.for(FAMILIES)("N4: beside the running proxy nobody can bind its ports (IPv%s)", (family, context) =>
    scene(context, backend, async ({ agent }) => {
      for (const [type, listens] of [
        ["stream", CAPTURE_PORT],
        ["stream", DNS_PORT],
        ["datagram", DNS_PORT],
      ] as const) {
        await agent.do("socket", { name: "s", family: INET[family], type });
        for (const option of [2, 15]) await agent.do("option", { name: "s", level: 1, option, value: 1 });
        const bound = await agent.try("bind", { name: "s", address: [LOOPBACK[family], listens] });
        expect(bound.error).toBe("EADDRINUSE");
        await agent.do("close", { name: "s" });
      }
    }),
  );

  test.for(FAMILIES)("N5: UDP is refused at once: QUIC, NTP, STUN, multicast, broadcast (IPv%s)", (family, context) =>
    scene(context, backend, async ({ agent, left }) => {
      const targets: Address[] = [443, 123, 3478, 4500, 51_820].map((p): Address => [BEYOND[family], p]);
      targets.push([WORLD[family], 443], family === 4 ? ["224.0.0.251", 5353] : ["ff02::fb%eth0", 5353]);
      if (family === 4) targets.push(["255.255.255.255", 67], ["10.9.0.255", 9]);
      for (const address of targets) {
        await agent.do("socket", { name: "s", family: INET[family], type: "datagram" });
        await agent.do("option", { name: "s", level: 1, option: 6, value: 1 });
        const sent = await agent.try("sendto", { name: "s", data: "x", address });
        expect([address, sent.error]).toEqual([address, "EPERM"]);
        await agent.do("close", { name: "s" });
      }
      expect(await left()).toEqual([]);
    }),
  );

  test.for(FAMILIES)("N5: fragments, IP options, marks and broadcast flags change nothing (IPv%s)", (family, context) =>
    scene(context, backend, async ({ agent, left }) => {
      await agent.do("socket", { name: "s", family: INET[family], type: "datagram" });
      const large = await agent.try("sendto", { name: "s", data: "f".repeat(9000), address: [BEYOND[family], 443] });
      expect(large.error).toBe("EPERM");
      const mark = await agent.try("option", { name: "s", ...SO_MARK, value: 0x5347 });
      expect(mark.error).toBe("EPERM");
      // Loose source route by the world, to somewhere else (RFC 791): 131, length 7, pointer 4, address. IPv6: type 0, long dead.
      const route = family === 4 ? { level: 0, option: 4 } : { level: 41, option: 57 };
      await agent.try("option_hex", { name: "s", ...route, value: "8307040a09000100" });
      expect((await agent.try("sendto", { name: "s", data: "x", address: [BEYOND[family], 443] })).ok).toBe(false);
      expect(await left()).toEqual([]);
    }),
  );

  test.for(FAMILIES)("N5: every other protocol of the Internet is refused (IPv%s)", (family, context) =>
    scene(context, backend, async ({ agent, left }) => {
      const kinds: readonly [string, string | number, number][] = [
        ["icmp", "datagram", family === 4 ? 1 : 58],
        ["raw icmp", "raw", family === 4 ? 1 : 58],
        ["raw", "raw", 255],
        ["raw gre", "raw", 47],
        ["sctp one to one", "stream", 132],
        ["sctp", "seqpacket", 132],
        ["dccp", "dccp", 33],
        ["udp-lite", "datagram", 136],
        ["l2tp", "datagram", 115],
      ];
      for (const [kind, type, proto] of kinds) {
        const made = await agent.try("socket", { name: "s", family: INET[family], type, proto });
        expect([kind, made.error ?? "EPERM"]).toEqual([kind, expect.toBeOneOf([...REFUSED, ...ABSENT])]);
        if (!made.ok) continue;
        const hex = family === 4 ? "0800f7fe00010000" : "8000f7fe00010000";
        const sent =
          type === "stream" || type === "dccp"
            ? await agent.try("connect", { name: "s", address: [BEYOND[family], 7] })
            : await agent.try("sendto_hex", {
                name: "s",
                data: hex,
                address: [BEYOND[family], kind === "icmp" ? 0 : 7],
              });
        expect([kind, sent.ok]).toEqual([kind, false]);
        await agent.do("close", { name: "s" });
      }
      expect(await left()).toEqual([]);
    }),
  );

  test("N5: packet sockets want a capability that the agent cannot get", (context) =>
    scene(context, backend, async ({ agent }) => {
      for (const type of ["raw", "datagram"]) {
        const made = await agent.try("socket", { name: "s", family: "packet", type, proto: 0x0300 });
        expect(made.error).toBe("EPERM");
      }
    }));

  test("N6: in a user namespace of its own the agent sees no rule and has no way out", (context) =>
    scene(context, backend, async ({ pod, agent, left }) => {
      const rules = (): string => pod.inside(["nft", "-s", "list", "ruleset"]);
      const before = rules();
      const own = ["unshare", "--user", "--map-root-user", "--net", "--"];
      const listed = await agent.do("run", { argv: [...own, "nft", "list", "ruleset"] });
      expect([listed.code, listed.out]).toEqual([0, ""]);
      const flushed = await agent.do("run", { argv: [...own, "nft", "flush", "ruleset"] });
      expect(flushed.code).toBe(0); // its own, empty one
      for (const argv of [
        ["nft", "flush", "ruleset"],
        ["unshare", "--user", "--map-root-user", "--", "nft", "flush", "ruleset"],
        ["unshare", "--user", "--map-root-user", "--", "ip", "link", "add", "x", "type", "dummy"],
        ["unshare", "--user", "--map-root-user", "--", "nsenter", "-t", "1", "-n", "true"],
        [
          "unshare",
          "--user",
          "--map-root-user",
          "--",
          "nsenter",
          "-t",
          String(agent.pid),
          "-n",
          "nft",
          "flush",
          "ruleset",
        ],
      ])
        expect([argv.join(" "), (await agent.do("run", { argv })).code]).not.toEqual([argv.join(" "), 0]);
      const out = await agent.do("run", {
        argv: [...own, "sh", "-c", `ip link set lo up; ping -c1 -W1 ${WORLD[4]} || curl -m2 http://${WORLD[4]}/`],
      });
      expect(out.code).not.toBe(0);
      expect(rules()).toBe(before);
      expect(await left()).toEqual([]);
    }));

  test.for(FAMILIES)(
    "N7: what the proxy had queued when it closed arrives to the last byte (IPv%s)",
    (family, context) =>
      scene(context, backend, async (s) => {
        const { proxy, world } = s;
        const size = 2 * 1024 * 1024;
        await serve(world, family, 80);
        await proxy.do("socket", { name: "out", family: INET[family] });
        await proxy.do("option", { name: "out", level: 1, option: 7, value: 2 * size });
        await proxy.do("connect", { name: "out", address: [WORLD[family], 80] });
        await world.do("accept", { name: "l80", to: "in" });
        await proxy.do("send", { name: "out", size });
        await proxy.do("close", { name: "out" });
        expect((await world.do("drain", { name: "in" })).bytes).toBe(size);
      }),
  );

  test.for(FAMILIES)(
    "N8: a question to any resolver meets ours, and comes back from the one asked (IPv%s)",
    (family, context) =>
      scene(context, backend, async (s) => {
        const { agent, proxy, left } = s;
        const resolvers: string[] = [BEYOND[family], WORLD[family], LOOPBACK[family], POD[family]];
        if (family === 4) resolvers.push("127.0.0.53", "127.0.0.11");
        for (const host of resolvers) {
          await agent.do("socket", { name: "q", family: INET[family], type: "datagram" });
          await agent.do("sendto", { name: "q", data: "question", address: [host, 53] });
          const { from, data } = await proxy.do("recvfrom", { name: `dnsUdp${family}` });
          expect([host, data]).toEqual([host, "question"]);
          await proxy.do("sendto", { name: `dnsUdp${family}`, data: "answer", address: from });
          expect((await agent.do("recvfrom", { name: "q" })).from).toEqual([host, 53]);
          await agent.do("close", { name: "q" });
          await agent.do("socket", { name: "t", family: INET[family] });
          await agent.do("connect", { name: "t", address: [host, 53] });
          expect((await proxy.do("accept", { name: `dnsTcp${family}`, to: "c" })).original).toEqual([host, 53]);
          await agent.do("close", { name: "t" });
        }
        expect(await left()).toEqual([]);
      }),
  );

  test.for(FAMILIES)(
    "N11: a connection to the proxy's own port arrives as one to that port (IPv%s)",
    (family, context) =>
      scene(context, backend, async ({ agent, proxy }) => {
        await agent.do("socket", { name: "s", family: INET[family] });
        await agent.do("connect", { name: "s", address: [LOOPBACK[family], CAPTURE_PORT] });
        const { original } = await proxy.do("accept", { name: `tcp${family}`, to: "c" });
        // Nothing was translated: the kernel says nothing, or our own listener. Both are refused by the sidecar.
        expect([null, `${LOOPBACK[family]} ${CAPTURE_PORT}`]).toContain(original?.join(" ") ?? null);
      }),
  );

  test("N12: nobody becomes the proxy's uid", (context) =>
    scene(context, backend, async ({ pod, agent }) => {
      expect((await agent.try("setuid", { uid: PROXY_UID })).error).toBe("EPERM");
      const mapped = ["unshare", "--user", `--map-user=${PROXY_UID}`, "--", "id", "-u"];
      // Inside it may call itself so; outside, for the rules, it is who it was.
      const escape = `import socket; s = socket.socket(); s.connect(("${WORLD[4]}", 80))`;
      const named = await agent.do("run", { argv: [...mapped.slice(0, 4), "python3", "-c", escape] });
      expect(named.code).toBe(0); // connected: to the capture port, as everyone
      const setuid = await agent.do("run", { argv: ["su", "-c", "id -u"] });
      expect(setuid.code).not.toBe(0);
      const root = pod.agent(0);
      expect((await root.try("setuid", { uid: PROXY_UID })).error).toBe("EPERM");
    }));

  test.for(FAMILIES)(
    "N13: a peer reaches a declared port only, and its answers are let out (IPv%s)",
    (family, context) =>
      scene(context, backend, async (s) => {
        const { agent, world } = s;
        for (const listens of [8080, 8090]) {
          await agent.do("socket", { name: `l${listens}`, family: INET[family] });
          await agent.do("bind", { name: `l${listens}`, address: [family === 4 ? "0.0.0.0" : "::", listens] });
          await agent.do("listen", { name: `l${listens}` });
        }
        await world.do("socket", { name: "hidden", family: INET[family] });
        await world.do("connect_begin", { name: "hidden", address: [POD[family], 8090] });
        await world.do("socket", { name: "open", family: INET[family] });
        await world.do("connect", { name: "open", address: [POD[family], 8080] });
        await agent.do("accept", { name: "l8080", to: "c" });
        await agent.do("send", { name: "c", size: 300_000 });
        await agent.do("shutdown", { name: "c" });
        expect((await world.do("drain", { name: "open" })).bytes).toBe(300_000);
        expect((await world.do("connected", { name: "hidden" })).connected).toBe(false);
        expect((await agent.do("pending", { name: "l8090" })).pending).toBe(false);
      }),
  );

  test.for(FAMILIES)("N13: a port that the agent opened for a peer is no way to call out (IPv%s)", (family, context) =>
    scene(context, backend, async (s) => {
      const { agent, world, left } = s;
      await agent.do("socket", { name: "l", family: INET[family], type: "datagram" });
      await agent.do("bind", { name: "l", address: ["", 8081] });
      await world.do("socket", { name: "u", family: INET[family], type: "datagram" });
      await world.do("bind", { name: "u", address: [WORLD[family], 7000] });
      await world.do("sendto", { name: "u", data: "hello", address: [POD[family], 8081] });
      await agent.do("recvfrom", { name: "l" });
      expect((await agent.try("sendto", { name: "l", data: "answer", address: [WORLD[family], 7000] })).ok).toBe(true);
      expect((await agent.try("sendto", { name: "l", data: "call", address: [WORLD[family], 7001] })).error).toBe(
        "EPERM",
      );
      expect((await agent.try("sendto", { name: "l", data: "call", address: [BEYOND[family], 7000] })).error).toBe(
        "EPERM",
      );
      expect((await left()).filter((packet) => !packet.endsWith("8081 > 7000"))).toEqual([]);
    }),
  );

  test.for(FAMILIES)("the proxy hears what the network says about its own flows (IPv%s)", (family, context) =>
    scene(context, backend, async ({ proxy }) => {
      // An ICMP error about a flow, as path MTU discovery needs it: here "port unreachable".
      await proxy.do("socket", { name: "u", family: INET[family], type: "datagram" });
      await proxy.do("connect", { name: "u", address: [WORLD[family], 9998] });
      await proxy.do("send", { name: "u", data: "anyone" });
      expect((await proxy.try("recv", { name: "u" })).error).toBe("ECONNREFUSED");
    }),
  );

  test.for(FAMILIES)("a neighbour that routes loopback addresses reaches nothing here (IPv%s)", (family, context) =>
    scene(context, backend, async ({ agent, world, pod }) => {
      if (family === 6) return; // the kernel itself drops ::1 from outside
      pod.inside(["sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1"]);
      await agent.do("socket", { name: "u", type: "datagram" });
      await agent.do("bind", { name: "u", address: ["127.0.0.1", 8081] });
      await world.do("run", { argv: ["ip", "route", "add", "127.0.0.9/32", "via", POD[4], "dev", "eth0"] });
      await world.do("socket", { name: "u", type: "datagram" });
      await world.do("bind", { name: "u", address: [WORLD[4], 0] });
      await world.do("option", { name: "u", ...SO_BINDTODEVICE, value: "eth0" });
      await world.try("sendto", { name: "u", data: "inward", address: ["127.0.0.1", 8081] });
      // A second datagram, to a port that is open, is there; the first is not.
      await agent.do("socket", { name: "open", type: "datagram" });
      await agent.do("bind", { name: "open", address: [POD[4], 8081] });
      await world.do("sendto", { name: "u", data: "marker", address: [POD[4], 8081] });
      await agent.do("recvfrom", { name: "open" });
      expect((await agent.do("pending", { name: "u" })).pending).toBe(false);
    }),
  );
});

/** Python that binds `s` to a port as soon as the kernel lets it, at most 10 s. */
const untilBound = (family: Family, from: number): string => `
import socket, time
for _ in range(200):
  s = socket.socket(socket.AF_INET${family === 6 ? "6" : ""})
  try:
    s.bind(("", ${from})); SOCKETS["s"] = s; out = True; break
  except OSError:
    s.close(); out = False; time.sleep(0.05)
`;

const port = (address: Address | undefined): number => address?.[1] ?? 0;

async function serve(world: Actor, family: Family, at: number): Promise<void> {
  const name = `l${at}`;
  await world.do("socket", { name, family: INET[family] });
  await world.do("bind", { name, address: [WORLD[family], at] });
  await world.do("listen", { name });
}

/** The proxy opens a connection to the world's port 80 and hears an answer. Returns its source port. */
async function proxyTalked({ proxy, world }: Scene, family: Family): Promise<number> {
  await serve(world, family, 80);
  await proxy.do("socket", { name: "out", family: INET[family] });
  const { from } = await proxy.do("connect", { name: "out", address: [WORLD[family], 80] });
  await world.do("accept", { name: "l80", to: "in" });
  await world.do("send", { name: "in", data: "hello" });
  await proxy.do("recv", { name: "out" });
  return port(from);
}

/** Whether the proxy has accepted a connection that went to this port; those before it are taken off. */
async function accepted(proxy: Actor, family: Family, to: number): Promise<boolean> {
  for (let i = 0; i < 4; i++) {
    const answer = await proxy.try("accept", { name: `tcp${family}`, to: "c" });
    if (!answer.ok) return false;
    if (port(answer.original ?? undefined) === to) return true;
  }
  return false;
}

async function selfTalk(actor: Actor, family: Family): Promise<void> {
  await actor.do("socket", { name: "self-l", family: INET[family] });
  const { address } = await actor.do("bind", { name: "self-l", address: [LOOPBACK[family], 0] });
  await actor.do("listen", { name: "self-l" });
  await actor.do("socket", { name: "self-c", family: INET[family] });
  await actor.do("connect", { name: "self-c", address });
  await actor.do("accept", { name: "self-l", to: "self-a" });
  for (const name of ["self-a", "self-c", "self-l"]) await actor.do("close", { name });
}
