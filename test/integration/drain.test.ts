/** SIGTERM, as a pod's end or a run's: what is under way is finished, nothing new is taken, every record arrives, then it ends by itself. */
import { once } from "node:events";
import type http from "node:http";
import { afterEach, expect, test } from "vitest";
import { type Gateway, startGateway } from "../support/sidecar.ts";
import { ask, HOST, heard, Kept } from "../support/sidecar-client.ts";
import { httpUpstream, rawUpstream, targetTo, type Upstream } from "../support/sidecar-upstream.ts";

let gateway: Gateway | null = null;
const upstreams: Upstream[] = [];
afterEach(async () => {
  await gateway?.close();
  for (const upstream of upstreams.splice(0)) await upstream.close();
});

/** Requests that the upstream has, and not yet answered. */
let waiting: http.ServerResponse[] = [];

async function begin(env: Readonly<Record<string, string>> = {}): Promise<Gateway> {
  waiting = [];
  const slow = await httpUpstream((request, response) => {
    if (request.url === "/slow") waiting.push(response);
    else response.end("ok");
  });
  const echo = await rawUpstream((socket) => socket.pipe(socket));
  upstreams.push(slow, echo);
  gateway = await startGateway({
    policy: {
      policies: { everything: "allow if true" },
      targets: [
        targetTo(slow, { name: "api", hosts: [HOST], protocol: "http" }),
        targetTo(echo, { name: "echo", hosts: ["echo.test"], ports: [7], protocol: "tcp" }),
      ],
    },
    env,
  });
  return gateway;
}

async function until(count: number): Promise<void> {
  while (waiting.length < count) await new Promise((resolve) => setImmediate(resolve));
}

test("an open request is finished, an idle connection closed, a new one refused; all records arrive, and the process ends with 0", async () => {
  const gateway = await begin();
  const idle = new Kept(await gateway.connect({ host: HOST, port: 80 }));
  expect((await ask(gateway, { on: idle, path: "/first" })).body).toBe("ok");
  const busy = new Kept(await gateway.connect({ host: HOST, port: 80 }));
  const open = ask(gateway, { on: busy, path: "/slow" });
  await until(1);
  const closed = once(idle.socket, "close");
  const ended = gateway.stop("sidecar");
  await closed;
  // It takes no more; what is under way goes on.
  waiting[0]?.end("finished");
  const answer = await open;
  expect([answer.status, answer.body]).toEqual([200, "finished"]);
  expect(answer.headers.connection).toBe("close");
  await ended;
  expect(gateway.log()).toMatch(/"event":"ended"[^\n]*"unfinished":\[\]/);
  const events = await gateway.records();
  expect(events.map((e) => e.outcome?.status).filter((status) => status === "200")).toHaveLength(2);
  expect(events.filter((e) => e.outcome === null)).toEqual([]);
  const kinds = await gateway.records({ kinds: ["stop"] });
  expect(kinds).toHaveLength(1);
});

test("what does not end within the limit is cut off and on record; the process still ends", async () => {
  const gateway = await begin({ SIDEGATE_DRAIN_MS: "500" });
  const stream = await gateway.connect({ host: "echo.test", port: 7 });
  stream.write("hello");
  await once(stream, "data");
  const came = heard(stream);
  const open = gateway.connect({ host: HOST, port: 80 }).then(async (socket) => {
    const answer = heard(socket);
    socket.write(`GET /slow HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    return answer;
  });
  await until(1);
  await gateway.stop("sidecar");
  expect(gateway.log()).toContain('"event":"ended"');
  expect((await came).ended).toBe("reset");
  expect((await open).ended).toBe("reset");
  const events = await gateway.records({ verdict: "allow" });
  expect(events.filter((e) => e.outcome === null)).toEqual([]);
  expect(new Set(events.map((e) => e.outcome?.status))).toContain("drain-limit");
});

test("with the collector away it still ends, and what it could not ship is shipped by the next one", async () => {
  const gateway = await begin();
  await gateway.stop("collector");
  expect((await ask(gateway, { path: "/unshipped" })).body).toBe("ok");
  await gateway.stop("sidecar");
  expect(gateway.log()).toContain('"event":"ended"');
  await gateway.restart("collector");
  await gateway.restart("sidecar");
  const events = await gateway.recordsUntil((all) => all.some((e) => e.outcome !== null), { text: '"/unshipped"' });
  expect(events).toHaveLength(1);
});
