/**
 * The real sidecar with a mesh behind it: Istio's redirects, and a small proxy of its uid that passes on what it accepts (a stand-in: no
 * mesh is here). One request of the agent is judged once, recorded once and passes the mesh once; the attempts of a hijacked agent die as
 * they do without a mesh.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, type TestContext, test } from "vitest";
import type { Texts } from "../../support/policy-texts.ts";
import { requireRoot, requireTool } from "../../support/require.ts";
import { type Actor, PYTHON } from "../support/actor.ts";
import { type Chained, GatedPod } from "../support/gated-pod.ts";
import { ISTIO_UID, OUTBOUND } from "../support/istio.ts";
import { sniffing, WORLD } from "../support/pod.ts";

const PORT = 8000;
const ITEMS = `http://${WORLD[4]}:${PORT}/v1/items`;
const POLICY: Texts = {
  policies: { items: 'allow if {\n\tinput.target.name == "items"\n\tinput.action in {"connect", "read"}\n}' },
  targets: [
    {
      name: "items",
      hosts: ["items.example"],
      addresses: [WORLD[4]],
      ports: [PORT],
      protocol: "http",
      tls: "none",
      private: true,
    },
  ],
};

/** Accepts what was redirected to it, and goes on to where it was meant for; keeps the list. */
const RELAY = `
import socket, struct, threading
SOCKETS["seen"] = seen = []
def pump(a, b):
  while data := a.recv(65536): b.sendall(data)
  b.shutdown(socket.SHUT_WR)
def serve(server):
  while True:
    leg, _ = server.accept()
    raw = leg.getsockopt(0, 80, 16)
    to = (socket.inet_ntop(2, raw[4:8]), struct.unpack("!H", raw[2:4])[0])
    seen.append(list(to))
    on = socket.create_connection(to)
    for pair in ((leg, on), (on, leg)): threading.Thread(target=pump, args=pair, daemon=True).start()
threading.Thread(target=serve, args=(socket.create_server(("127.0.0.1", ${OUTBOUND})),), daemon=True).start()
`;
const UPSTREAM = `
import http.server, threading
SOCKETS["served"] = served = []
class Answer(http.server.BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"
  def do_GET(self):
    served.append([self.path, self.client_address[0]])
    self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
  do_DELETE = do_GET
  def log_message(self, *_): pass
threading.Thread(target=http.server.ThreadingHTTPServer(("${WORLD[4]}", ${PORT}), Answer).serve_forever, daemon=True).start()
`;
const ask = (method: string): string => `import urllib.request, urllib.error
try: print(urllib.request.urlopen(urllib.request.Request("${ITEMS}", method="${method}")).read().decode())
except urllib.error.HTTPError as fault: print(fault.code)`;

const MAIN = path.resolve(import.meta.dirname, "../../../cmd/sidegate/main.ts");
/** The verdict of each record that names the path. */
const recorded = (pod: GatedPod): readonly string[] =>
  execFileSync(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", MAIN, "audit", "query", "--json", "--db", pod.database],
    { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
  )
    .split("\n")
    .filter((line) => line.includes("/v1/items"))
    .map((line) => /"verdict":"(\w+)"/.exec(line)?.[1] ?? "");

async function scene(
  context: TestContext,
  chained: Chained,
  play: (pod: GatedPod, mesh: Actor, world: Actor) => Promise<void>,
): Promise<void> {
  requireRoot(context);
  for (const tool of ["python3", "nsenter", "setpriv", "ip", "nft", "unshare", "mount", `${chained.theirs}-restore`])
    requireTool(context, tool);
  const pod = await GatedPod.make(true, POLICY, chained);
  try {
    const [mesh, world] = [pod.pod.agent(ISTIO_UID), pod.pod.world()];
    await mesh.do("python", { text: RELAY });
    await world.do("python", { text: UPSTREAM });
    await play(pod, mesh, world);
  } finally {
    await pod.close();
  }
}

describe.each<Chained>([
  { ours: "nft", theirs: "iptables" },
  { ours: "iptables", theirs: "iptables" },
])("ours by $ours, the mesh's by $theirs", (chained) => {
  test("N15: a request is judged once, recorded once, and passes the mesh once; a refused one never gets there", (context) =>
    scene(context, chained, async (pod, mesh, world) => {
      const got = await pod.run(1_000_417, [PYTHON, "-c", ask("GET")]);
      expect([got.out, got.err]).toEqual(["ok\n", ""]);
      const denied = await pod.run(1_000_417, [PYTHON, "-c", ask("DELETE")]);
      expect([denied.out, denied.err]).toEqual(["403\n", ""]);
      expect((await world.do("python", { text: "out = SOCKETS['served']" })).out).toEqual([["/v1/items", "10.9.0.2"]]);
      expect((await mesh.do("python", { text: "out = SOCKETS['seen']" })).out).toEqual([[WORLD[4], PORT]]);
      await expect.poll(() => recorded(pod).toSorted(), { timeout: 15_000, interval: 300 }).toEqual(["allow", "deny"]);
    }));
});

test("N16: what a hijacked agent tries dies behind a chained mesh too, and the wire stays silent", (context) =>
  scene(context, { ours: "nft", theirs: "iptables" }, async (pod, mesh, world) => {
    await pod.witness(9000);
    await sniffing(world);
    const at = [`${WORLD[4]}:9000`, `[${WORLD[6]}]:9000`];
    const places = at.flatMap((each) => ["--witness", each, "--peer", each, "--service", each]);
    const text = readFileSync(path.join(import.meta.dirname, "attempts.py"), "utf8");
    const start =
      "import os, sys; os.closerange(3, 1024); t = sys.stdin.read(); exec(compile(t, 'attempts', 'exec'), {'__name__': '__main__', 'SOURCE': t})";
    const argv = [PYTHON, "-c", start, "--json", ...places, "--name", "items.example", "--wait", "1"];
    const ran = await pod.run(1_000_417, argv, { input: text });
    const { attempts } = JSON.parse(ran.out) as { attempts: { id: string; outcome: string; detail: string }[] };
    // The container runtime's seccomp profile refuses AF_VSOCK, which is not here.
    const open = attempts.filter(({ id, outcome }) => outcome !== "died" && !id.startsWith("N5/family-vsock"));
    expect(open).toEqual([]);
    expect(attempts.length).toBeGreaterThan(110);
    expect(await pod.pod.left(world, pod.pod.proxy())).toEqual([]);
    expect((await mesh.do("python", { text: "out = SOCKETS['seen']" })).out).toEqual([]);
  }));
