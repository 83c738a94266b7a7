/**
 * What must stay bounded when an agent floods the gateway (N14), and what may be lost when the collector is away (E7).
 */
import { once } from "node:events";
import type net from "node:net";
import { afterEach, expect, test } from "vitest";
import { eventually, type Gateway, startGateway } from "../support/sidecar.ts";
import { Attacked, type Ordinary, ordinary } from "../support/sidecar-attack.ts";
import { ask, HOST, Kept } from "../support/sidecar-client.ts";
import { MemoryWatch } from "../support/sidecar-memory.ts";

let gateway: Gateway | null = null;
let others: Ordinary | null = null;
let attacked: Attacked | null = null;
let memory: MemoryWatch | null = null;
afterEach(async () => {
  attacked?.end();
  memory?.end();
  await gateway?.close();
  await others?.close();
});

async function begin(
  env: Readonly<Record<string, string>> = {},
): Promise<{ gateway: Gateway; reached: readonly string[] }> {
  others = await ordinary();
  gateway = await startGateway({
    policy: {
      policies: {
        rules: `allow if true

deny contains {"code": "closed", "message": "It is closed."} if startswith(input.http.path, "/closed")`,
      },
      targets: others.targets,
    },
    env,
  });
  return { gateway, reached: others.reached };
}

/** A busy process collects its garbage later than an idle one: what it may grow by is the collector's room, not what agents make it keep. */
const BUSY_MIB = 128;
const MAX_OPEN = 4_096;
const CONNECTIONS = 4_400;
const DENIALS = 30_000;
const CONVERSATIONS = 6;

/** Asks for `count` paths, pipelined, and counts the refusals. */
async function askClosed(socket: net.Socket, from: number, count: number): Promise<number> {
  let refused = 0;
  let tail = "";
  const answered = new Promise<void>((resolve, reject) => {
    socket.on("data", (bytes: Buffer) => {
      const parts = (tail + bytes.toString("latin1")).split("HTTP/1.1 403 ");
      refused += parts.length - 1;
      tail = parts.at(-1)?.slice(-12) ?? "";
      if (refused >= count) resolve();
    });
    socket.once("close", () => reject(new Error(`closed after ${refused}`)));
  });
  for (let i = from; i < from + count; ) {
    let batch = "";
    for (let end = Math.min(from + count, i + 100); i < end; i++)
      batch += `GET /closed/${i} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
    if (!socket.write(batch)) await once(socket, "drain");
  }
  await answered;
  return refused;
}

test("N14, E7: 30,000 different denials: memory and record are bounded, the rest is counted, others go on", async () => {
  const { gateway } = await begin();
  attacked = await Attacked.idle(gateway);
  const refused = await attacked.by(
    `${DENIALS} denials`,
    async () => {
      const sockets = await Promise.all(
        Array.from({ length: CONVERSATIONS }, () => gateway.connect({ host: HOST, port: 80 })),
      );
      const each = DENIALS / CONVERSATIONS;
      const counts = await Promise.all(sockets.map((socket, i) => askClosed(socket, i * each, each)));
      for (const socket of sockets) socket.destroy();
      return counts.reduce((sum, count) => sum + count, 0);
    },
    BUSY_MIB,
  );
  expect(refused).toBe(DENIALS);
  await gateway.stop("sidecar");
  const events = await gateway.records({ code: "closed", verdict: "deny" });
  expect(events.length).toBeLessThan(5_000);
  expect(events.reduce((sum, event) => sum + 1 + event.folded, 0)).toBe(DENIALS);
});

test("N14: more connections than the gateway takes: those above the bound are reset, the others are served, memory is bounded", async () => {
  const { gateway } = await begin();
  await ask(gateway);
  memory = new MemoryWatch(gateway.sidecarPid);
  const open = new Set<net.Socket>();
  let reset = 0;
  for (let i = 0; i < CONNECTIONS; i += 100) {
    const some = Array.from({ length: 100 }, () => gateway.connect({ host: HOST, port: 80 }));
    for (const one of await Promise.allSettled(some)) {
      if (one.status === "rejected") reset++;
      else {
        const socket = one.value;
        open.add(socket);
        socket.write(`GET /open HTTP/1.1\r\nHost: ${HOST}\r\n`);
        const gone = (): void => {
          reset++;
          open.delete(socket);
        };
        // It may be gone before we hear of it.
        if (socket.destroyed) gone();
        else socket.once("close", gone);
      }
    }
  }
  await eventually(
    () => reset === CONNECTIONS - MAX_OPEN,
    () => `${reset} reset`,
  );
  expect(await gateway.metric('sidegate_connections_total{stage="accepted",outcome="over-limit"}')).toBe(reset);
  console.log(`${open.size} open connections: ${memory.growthMib().toFixed(1)} MiB over idle`);
  expect(memory.growthMib()).toBeLessThanOrEqual(BUSY_MIB);
  const [first] = open;
  const answer = once(first as net.Socket, "data");
  first?.write("\r\n");
  expect(String(await answer)).toMatch(/^HTTP\/1\.1 200 /);
  for (const socket of open) socket.destroy();
  await eventually(
    async () => (await gateway.metric('sidegate_open_connections{leg="agent"}')) === 0,
    () => "all are gone",
  );
  expect((await ask(gateway)).body).toBe("ok");
});

test("E7: with the collector away an agent goes on until the spool is full, is then refused, and goes on when it is back; nothing is lost", async () => {
  const { gateway, reached } = await begin();
  await gateway.stop("collector");
  const on = new Kept(await gateway.connect({ host: HOST, port: 80 }));
  const filler = "f".repeat(50_000);
  let status = 200;
  let asked = 0;
  while (status === 200 && asked < 5_000)
    ({ status } = await ask(gateway, { on, path: `/e7/${asked++}`, headers: { "x-filler": filler } }));
  expect(status).toBe(503);
  expect(reached).toHaveLength(asked - 1);
  const refused = await ask(gateway, { on, path: "/e7/full" });
  expect(refused.body).toContain('"code":"audit_unavailable"');
  await gateway.restart("collector");
  while (status !== 200) ({ status } = await ask(gateway, { on, path: "/e7/again" }));
  on.socket.destroy();
  await eventually(
    async () => (await gateway.metric("sidegate_audit_lag_records")) === 0,
    () => "everything shipped",
  );
  const paths = (await gateway.records({ verdict: "allow", text: '"/e7/' })).map(
    (e) => /"path":"([^"]+)"/.exec(JSON.stringify(e.op))?.[1],
  );
  expect(paths).toHaveLength(reached.length);
  expect(new Set(paths)).toEqual(new Set(reached));
});

test("E7: in tier locked a request waits until the collector has its record, and goes on then", async () => {
  const { gateway, reached } = await begin({ SIDEGATE_TIER: "locked" });
  expect((await ask(gateway, { path: "/first" })).body).toBe("ok");
  await gateway.stop("collector");
  const waiting = ask(gateway, { path: "/second" });
  // It was judged, and written here.
  await gateway.judged((decision) => JSON.stringify(decision).includes("/second"));
  expect(reached).toEqual(["/first"]);
  await gateway.restart("collector");
  expect((await waiting).body).toBe("ok");
  expect(reached).toEqual(["/first", "/second"]);
  const [event] = await gateway.records({ text: '"/second"', verdict: "allow" });
  expect(event?.phase).toBe("ask");
});
