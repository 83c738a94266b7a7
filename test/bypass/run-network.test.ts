/**
 * Rows N of the threat model inside `sidegate run`, where the rules are only half of it: there is no interface but `lo`, so
 * neither a flushed rule nor another uid is a way out. The actor of the other suite is the command here.
 */
import path from "node:path";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { CAPTURE_PORT, DNS_PORT } from "#contract/names.ts";
import { requireRoot, requireTool } from "../support/require.ts";
import type { Answer } from "./support/actor.ts";
import { PYTHON } from "./support/actor.ts";
import { makePlaces, makeProgram, Run, removePlaces, removeProgram, uidOf, WHO, type Who } from "./support/run.ts";

beforeAll(makeProgram);
afterAll(removeProgram);

const BEYOND = { 4: "198.51.100.7", 6: "2001:db8:7::7" } as const;
const INET = { 4: "inet", 6: "inet6" } as const;
const LOOPBACK = { 4: "127.0.0.1", 6: "::1" } as const;
const FAMILIES = [4, 6] as const;

type Order = readonly [op: string, parameters: Readonly<Record<string, unknown>>];

interface Inside {
  /** Orders to the actor, one after the other; what the kernel said to each. */
  readonly say: (...orders: readonly Order[]) => Promise<readonly Answer[]>;
  readonly run: Run;
}

async function inside(context: TestContext, who: Who, play: (inside: Inside) => Promise<void>): Promise<void> {
  for (const tool of ["unshare", "setpriv", "nft", "ip", "python3"]) requireTool(context, tool);
  if (who !== "an ordinary user") requireRoot(context);
  const places = makePlaces(who);
  try {
    const run = new Run(who, [PYTHON, path.join(places.work, "actor.py")], places);
    let answered = 0;
    const say = async (...orders: readonly Order[]): Promise<readonly Answer[]> => {
      for (const [op, parameters] of orders) run.stdin.write(`${JSON.stringify({ op, ...parameters })}\n`);
      const until = answered + orders.length;
      while (lines(run).length < until) await run.wrote();
      const answers = lines(run).slice(answered, until);
      answered = until;
      return answers.map((line) => JSON.parse(line) as Answer);
    };
    await play({ say, run });
    run.stdin.end();
    expect((await run.ended).code).toBe(0);
  } finally {
    removePlaces(places);
  }
}

const lines = (run: Run): readonly string[] => run.stdout.split("\n").slice(0, -1);
const errors = (answers: readonly Answer[]): readonly (string | undefined)[] => answers.map((a) => a.error);

const socket = (family: 4 | 6, type = "stream", proto = 0): Order => [
  "socket",
  { name: "s", family: INET[family], type, proto },
];
const connect = (to: string, port: number): Order => ["connect", { name: "s", address: [to, port] }];
const close: Order = ["close", { name: "s" }];
const sendto = (to: string, port: number): Order => ["sendto", { name: "s", data: "x", address: [to, port] }];

describe.each(WHO)("as %s", (who) => {
  test.for(FAMILIES)("N1: TCP to anywhere arrives outside, with its destination (IPv%s)", (family, context) =>
    inside(context, who, async ({ say, run }) => {
      for (const [to, port] of [
        [BEYOND[family], 443],
        [family === 4 ? "240.240.0.7" : "fd53:6467:6174:6500::7", 5432],
        [family === 4 ? "169.254.169.254" : "fd00:ec2::254", 80],
        [family === 4 ? "10.0.0.1" : "fd00::1", 22],
      ] as const) {
        await say(socket(family), connect(to, port));
        expect((await run.next("tcp")).original).toBe(`${to} ${port}`);
        await say(close);
      }
    }),
  );

  test.for(FAMILIES)(
    "N2, N3: bound to lo, to a source port or a source address, it is the same (IPv%s)",
    (family, context) =>
      inside(context, who, async ({ say, run }) => {
        await say(
          socket(family),
          ["option", { name: "s", level: 1, option: 25, value: "lo" }],
          connect(BEYOND[family], 443),
        );
        expect((await run.next("tcp")).original).toBe(`${BEYOND[family]} 443`);
        await say(close);
        await say(
          socket(family),
          ["bind", { name: "s", address: [LOOPBACK[family], 4444] }],
          connect(BEYOND[family], 444),
        );
        expect((await run.next("tcp")).original).toBe(`${BEYOND[family]} 444`);
      }),
  );

  test.for(FAMILIES)("N4: the command cannot bind the ports on which it is answered (IPv%s)", (family, context) =>
    inside(context, who, async ({ say }) => {
      for (const [type, port] of [
        ["stream", CAPTURE_PORT],
        ["stream", DNS_PORT],
        ["datagram", DNS_PORT],
      ] as const)
        for (const host of [LOOPBACK[family], family === 4 ? "0.0.0.0" : "::"]) {
          const options = [2, 15].map((option): Order => ["option", { name: "s", level: 1, option, value: 1 }]);
          const answers = await say(
            socket(family, type),
            ...options,
            ["bind", { name: "s", address: [host, port] }],
            close,
          );
          expect([host, type, port, answers[3]?.error]).toEqual([host, type, port, "EADDRINUSE"]);
        }
    }),
  );

  test.for(FAMILIES)("N5: UDP to anywhere is refused at once, multicast and broadcast too (IPv%s)", (family, context) =>
    inside(context, who, async ({ say }) => {
      const targets = family === 4 ? [BEYOND[4], "224.0.0.251", "255.255.255.255"] : [BEYOND[6], "ff02::fb%lo"];
      const broadcast: Order = ["option", { name: "s", level: 1, option: 6, value: 1 }];
      const answers = await say(socket(family, "datagram"), broadcast, ...targets.map((to) => sendto(to, 443)));
      expect(errors(answers.slice(2))).toEqual(targets.map(() => "EPERM"));
    }),
  );

  test.for(FAMILIES)("N5: raw, ICMP, SCTP, DCCP, UDP-Lite: not made, or refused (IPv%s)", (family, context) =>
    inside(context, who, async ({ say }) => {
      for (const [type, proto] of [
        ["raw", 255],
        ["raw", family === 4 ? 1 : 58],
        ["datagram", family === 4 ? 1 : 58],
        ["seqpacket", 132],
        ["dccp", 33],
        ["datagram", 136],
      ] as const) {
        const [made, sent] = await say(socket(family, type, proto), [
          "sendto_hex",
          { name: "s", data: family === 4 ? "0800f7fe00010000" : "8000f7fe00010000", address: [BEYOND[family], 0] },
        ]);
        expect([type, proto, made?.ok === true && sent?.ok === true]).toEqual([type, proto, false]);
        await say(close);
      }
    }),
  );

  test("N6: flushing the rules, leaving for another namespace, becoming another uid: nothing is gained", (context) =>
    inside(context, who, async ({ say, run }) => {
      const attempts = [
        ["nft", "flush", "ruleset"],
        ["nft", "list", "ruleset"],
        ["unshare", "-Ur", "nft", "flush", "ruleset"],
        ["unshare", "-Ur", "ip", "link", "add", "x", "type", "dummy"],
        ["ip", "link", "add", "x", "type", "dummy"],
        ["ip", "route", "del", "default", "dev", "lo"],
        ["ip", "addr", "add", "10.1.2.3/8", "dev", "lo"],
        ["nsenter", "-t", "1", "-n", "true"],
        ["su", "-c", "true"],
      ];
      const path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
      const answers = await say(...attempts.map((argv): Order => ["run", { argv: ["env", path, ...argv] }]));
      expect(answers.map((a) => a.ok)).toEqual(attempts.map(() => true));
      // To list is permitted by some kernels: then it shows nothing.
      expect(attempts.filter((argv, i) => answers[i]?.code === 0 && argv[1] !== "list")).toEqual([]);
      expect(answers[1]?.out).toBe("");
      // An own network has no way out, and the one of the run is as it was.
      const [alone] = await say(["run", { argv: ["unshare", "-Urn", "curl", "-sm2", `http://${BEYOND[4]}/`] }]);
      expect(alone?.code).not.toBe(0);
      await say(socket(4), connect(BEYOND[4], 443));
      expect((await run.next("tcp")).original).toBe(`${BEYOND[4]} 443`);
    }));

  test("there is one interface, and no way to another", (context) =>
    inside(context, who, async ({ say }) => {
      const [links] = await say(["python", { text: "import socket; out = [n for _, n in socket.if_nameindex()]" }]);
      expect(links?.out).toEqual(["lo"]);
    }));

  test.for(FAMILIES)("N8: a question to any resolver is ours to answer, over UDP and TCP (IPv%s)", (family, context) =>
    inside(context, who, async ({ say, run }) => {
      const resolvers = family === 4 ? [BEYOND[4], "127.0.0.53", "127.0.0.1", "8.8.8.8"] : [BEYOND[6], "::1"];
      for (const host of resolvers) {
        const answers = await say(socket(family, "datagram"), sendto(host, 53), ["recvfrom", { name: "s" }], close);
        expect([host, answers[2]?.from]).toEqual([host, [host, 53]]);
        expect((await run.next("dns")).query).toBe("x");
        await say(socket(family), connect(host, 53), close);
        await run.next("dns-tcp");
      }
    }),
  );

  test("N8: names go by the resolver of the run, not by a service of the machine", (context) =>
    inside(context, who, async ({ say, run }) => {
      const [lookup] = await say([
        "python",
        {
          text: "import socket\ntry: out = socket.getaddrinfo('api.example.test', 80)\nexcept OSError as e: out = str(e)",
        },
      ]);
      expect((await run.next("dns")).query).toContain("\u0003api\u0007example\u0004test");
      expect(lookup?.ok).toBe(true);
    }));

  test("N12: the command has its own uid, and can take no other", (context) =>
    inside(context, who, async ({ say }) => {
      const [me] = await say(["python", { text: "import os; out = [os.getuid(), os.getgid()]" }]);
      expect(me?.out).toEqual([uidOf(who), uidOf(who)]);
      const answers = await say(...[1, 33, 1_947_264_001].map((uid): Order => ["setuid", { uid }]));
      expect(answers.map((a) => a.ok)).toEqual([false, false, false]);
    }));
});
