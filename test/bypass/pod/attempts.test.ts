/**
 * The attempts of a hijacked agent (attempts.py, which an administrator can also run inside a pod of a real cluster), against the
 * real rules and the real sidecar: nothing escapes, and nothing was seen on the wire. And in a pod without a gate, so that an
 * attempt that could find nothing is no comfort: there they do escape.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, type TestContext, test } from "vitest";
import { SOCKETCALL_PROGRAM } from "../../../src/oncall/vsock-trial.ts";
import type { Texts } from "../../support/policy-texts.ts";
import { requireRoot, requireTool } from "../../support/require.ts";
import { PYTHON } from "../support/actor.ts";
import { GatedPod } from "../support/gated-pod.ts";
import { sniffing, WORLD } from "../support/pod.ts";

const TEXT = readFileSync(fileURLToPath(new URL("attempts.py", import.meta.url)), "utf8");
/** As through `kubectl exec`: nothing is written into the pod. */
const FROM_STDIN =
  "import os, sys; os.closerange(3, 1024); t = sys.stdin.read(); exec(compile(t, 'attempts', 'exec'), {'__name__': '__main__', 'SOURCE': t})";
const WITNESS_PORT = 9000;
/** Allows a read of one name, as an ordinary policy does; nothing that is tried here. */
const POLICY: Texts = {
  policies: { items: 'allow if {\n\tinput.target.name == "items"\n\tinput.action in {"connect", "read"}\n}' },
  targets: [
    {
      name: "items",
      hosts: ["items.example"],
      addresses: [WORLD[4]],
      ports: [80, 8000],
      protocol: "http",
      tls: "none",
      private: true,
    },
  ],
};

/** The container's seccomp profile refuses it, which is not here: a pod of a cluster shows it. */
const BY_THE_PROFILE = ["", "-wide-number", "-x32", "-32-bit", "-32-bit-socketcall", "-io-uring"].map(
  (door) => `N5/family-vsock${door}`,
);
/** What an ordinary pod may do. (Raw sockets and other families want a capability, or a module that this machine has not.) */
const both = (row: string, names: readonly string[]): readonly string[] =>
  names.flatMap((name) => [`${row}/${name}-v4`, `${row}/${name}-v6`]);
const FREE_WITHOUT_A_GATE: readonly string[] = [
  both("N1", ["tcp-anywhere", "public-resolvers-over-https", "fast-open", "reconnected-socket"]),
  ["N1/dns-over-tls-v4", "N1/ipv4-in-ipv6", "N1/urgent-and-empty-segments-v4"],
  both("N2", ["bound-to-the-interface-udp", "packet-information", "unicast-interface-and-no-route"]),
  both("N3", ["source-port-of-the-proxy-udp"]),
  both("N5", ["udp", "quic", "multicast-and-broadcast", "fragments-and-segments", "marks-and-priorities", "udp-lite"]),
  ["N5/ip-options-v4", "N8", "N9", "N10/node-ports", "N11/capture-port-as-a-proxy"],
  ["aws", "gcp", "azure", "azure-wire", "ecs", "eks", "alibaba", "aws-v6"].map((name) => `N10/metadata-${name}`),
  ["N13/own-address-and-hairpin", "N13/peers", "N13/witnesses"],
  both("N13", ["answer-of-nobody"]),
].flat();

/** Beside the pod: an upstream that a policy allows, at a literal address, on connections that stay open. */
const ITEMS = `http://${WORLD[4]}:8000/v1/items`;
const upstreamText = `
import socket, threading
server = socket.create_server(("${WORLD[4]}", 8000))
kept = []
def serve():
  while True:
    peer, _ = server.accept()
    kept.append(peer)
    threading.Thread(target=answer, args=(peer,), daemon=True).start()
def answer(peer):
  while peer.recv(65536):
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
threading.Thread(target=serve, daemon=True).start()
`;

const GET = `import urllib.request, urllib.error
try: print(urllib.request.urlopen("${ITEMS}").read())
except urllib.error.HTTPError as fault: print(fault.read())`;

interface Report {
  readonly uid: number;
  readonly died: number;
  readonly escaped: number;
  readonly skipped: number;
  readonly broken: number;
  readonly attempts: readonly { readonly id: string; readonly outcome: string; readonly detail: string }[];
}

async function scene(context: TestContext, gated: boolean, play: (pod: GatedPod) => Promise<void>): Promise<void> {
  requireRoot(context);
  for (const tool of ["python3", "nsenter", "setpriv", "ip", "nft", "unshare", "mount"]) requireTool(context, tool);
  const pod = await GatedPod.make(gated, POLICY);
  try {
    await play(pod);
  } finally {
    await pod.close();
  }
}

async function tried(pod: GatedPod, uid: number, more: readonly string[], shared = false): Promise<Report> {
  const at = [`${WORLD[4]}:${WITNESS_PORT}`, `[${WORLD[6]}]:${WITNESS_PORT}`];
  const places = at.flatMap((each) => ["--witness", each, "--peer", each, "--service", each]);
  const argv = [PYTHON, "-c", FROM_STDIN, "--json", ...places, "--name", "items.example", ...more];
  const ran = await pod.run(uid, argv, { input: TEXT, shared });
  if (ran.out === "") throw new Error(`ended with ${ran.code}: ${ran.err}`);
  const report = JSON.parse(ran.out) as Report;
  expect(ran.code).toBe(report.escaped > 0 ? 1 : report.broken > 0 ? 3 : 0);
  return report;
}

const those = (report: Report, outcome: string): readonly string[] =>
  report.attempts.filter((each) => each.outcome === outcome).map((each) => `${each.id}: ${each.detail}`);

test("doctor's trial on a node runs the program of the attempts", (context) => {
  requireTool(context, "python3");
  const print =
    "import sys; sys.path.insert(0, sys.argv[1]); import attempts; print(attempts.elf(attempts.by_socketcall()).hex())";
  const argv = ["-B", "-c", print, fileURLToPath(new URL(".", import.meta.url))];
  expect(execFileSync("python3", argv, { encoding: "utf8" }).trim()).toBe(SOCKETCALL_PROGRAM);
});

describe.each([0, 1_000_417])("uid %d", (uid) => {
  test("N1 to N13, R1 to R3, E3, E10: behind the gate every attempt dies, and the wire stays silent", (context) =>
    scene(context, true, async (pod) => {
      await pod.witness(WITNESS_PORT);
      const [world, proxy] = [pod.pod.world(), pod.pod.proxy()];
      await sniffing(world);
      const report = await tried(pod, uid, ["--wait", "1"]);
      const open = [...those(report, "ESCAPED"), ...those(report, "broken"), ...those(report, "skipped")];
      expect(open.filter((each) => !BY_THE_PROFILE.some((id) => each.startsWith(`${id}:`)))).toEqual([]);
      expect(report.died).toBeGreaterThan(110);
      expect(await pod.pod.left(world, proxy)).toEqual([]);
    }));

  test("without a gate the same attempts escape, so they look at something", (context) =>
    scene(context, false, async (pod) => {
      await pod.witness(WITNESS_PORT);
      const report = await tried(pod, uid, ["--wait", "0.2", "--only", FREE_WITHOUT_A_GATE.join(",")]);
      expect(report.attempts.filter((each) => each.outcome !== "ESCAPED")).toEqual([]);
      expect(report.escaped).toBeGreaterThan(40);
    }));

  test("N3: the source port of a connection that the proxy holds open is no way in its place", (context) =>
    scene(context, true, async (pod) => {
      const world = pod.pod.world();
      await world.do("python", { text: upstreamText });
      const got = await pod.run(uid, [PYTHON, "-c", GET]);
      expect([got.out, got.err]).toEqual(["b'ok'\n", ""]);
      const report = await tried(pod, uid, ["--wait", "1", "--only", "N3,N6/end-the-proxys-connections"]);
      const found = report.attempts.find((each) => each.id === "N3/source-port-of-the-proxy-tcp");
      expect(found).toEqual(expect.objectContaining({ outcome: "died", detail: expect.stringMatching(/EADDRINUSE/) }));
      expect(report.escaped + report.broken).toBe(0);
    }));
});

test("E10: where the proxy's processes are seen, their memory, environment and files are not", (context) =>
  scene(context, true, async (pod) => {
    for (const uid of [0, 1_000_417]) {
      const report = await tried(pod, uid, ["--only", "E10/processes-of-the-proxy"], true);
      expect(report.attempts).toEqual([expect.objectContaining({ outcome: "died" })]);
      expect(report.attempts[0]?.detail).toMatch(/EACCES.*kill: EPERM.*process_vm_readv: EPERM/);
    }
  }));
