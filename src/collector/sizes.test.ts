/** The figures of docs/sizing.md and `sidegate audit estimate`, measured on a real store. */
import { afterEach, expect, test } from "vitest";
import { bootOf, collecting, LOCAL, temporaryStore } from "../../test/support/collected.ts";
import { op } from "../../test/support/record.ts";
import { BYTES, estimate } from "./sizes.ts";

const removes: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const remove of removes.splice(0)) await remove();
});

const MANY = 1_500;
const PREAMBLE =
  '"v":1,"target":{"name":"billing","host":"billing.team.svc.cluster.local","port":443,"labels":{}},"run":null';
const FACTS =
  '"http":{"method":"GET","scheme":"https","host":"billing.team.svc.cluster.local","path":"/v1/invoices/1234","segments":["v1","invoices","1234"],"query":{"page":["2"]}}';
const DETAIL = '"http":{"headers":["host","user-agent","accept","accept-encoding","connection"],"version":"1.1"}';
const DECISION = '"policies":["billing-reads"],"credential":null';

async function measure(connections: boolean): Promise<{ volume: number; spool: number }> {
  const { store, remove } = temporaryStore();
  removes.push(remove);
  const collected = await collecting(store);
  const empty = (await store.usage()).bytes;
  let spool = 0;
  const { boot, lines } = await bootOf(async (recorder, commit) => {
    for (let n = 0; n < MANY; n++) {
      const place = { client: "10.244.0.17:41234", destination: "240.240.0.7:443", target: "billing" };
      const session = connections
        ? recorder.session({ ...place, host: "billing.team.svc.cluster.local", port: 443 })
        : 1;
      const entry = {
        session,
        phase: connections ? ("connect" as const) : ("ask" as const),
        action: connections ? ("connect" as const) : ("read" as const),
        preamble: PREAMBLE,
        facts: connections
          ? '"tls":{"sni":"billing.team.svc.cluster.local","alpn":["h2","http/1.1"],"intercepted":true}'
          : FACTS,
        detail: connections ? "" : DETAIL,
        decision: DECISION,
        revision: "58d3cb7646bb",
      };
      const seq = recorder.op(op(entry));
      recorder.end({ op: seq, status: "200", ms: 12.345, bytesUp: 312, bytesDown: 4_096, masked: 0, attempts: 1 });
      if (connections) recorder.closed(session, 3_120, 40_960, "client-left");
      if (n % 4 === 0) await commit();
    }
  });
  spool = lines.length;
  // In batches, as they are sent.
  let at = 0;
  for (let end = 256 * 1024; at < lines.length; end = at + 256 * 1024) {
    const cut = end >= lines.length ? lines.length : lines.lastIndexOf('\n{"c":', end);
    const stop = cut >= lines.length ? lines.length : lines.indexOf("\n", cut + 1) + 1;
    const answer = await collected.ingest({ boot, lines: lines.subarray(at, stop), gap: false, sender: LOCAL });
    expect(answer.kind).toBe("acknowledged");
    at = stop;
  }
  await store.shrink();
  return { volume: ((await store.usage()).bytes - empty) / MANY, spool: spool / MANY };
}

test.each([
  ["operation", false],
  ["connection", true],
] as const)("an %s takes what the estimate says, within a fifth", async (what, connections) => {
  const found = await measure(connections);
  console.log(`${what}: ${Math.round(found.volume)} bytes of the volume, ${Math.round(found.spool)} of the spool`);
  for (const where of ["volume", "spool"] as const) {
    expect(found[where] / BYTES[what][where], where).toBeGreaterThan(0.8);
    expect(found[where] / BYTES[what][where], where).toBeLessThan(1.2);
  }
});

test("tells days of a volume and seconds of a spool", () => {
  const { bytesPerDay, daysOf, spoolSecondsOf } = estimate({
    requestsPerSecond: 10,
    requestsPerConnection: 1e9,
    pods: 10,
  });
  expect(Math.round(bytesPerDay / 1e6)).toBe(Math.round((BYTES.operation.volume * 864_000) / 1e6));
  expect(Math.round(daysOf(bytesPerDay * 30))).toBe(30);
  expect(Math.round(spoolSecondsOf(BYTES.operation.spool * 60))).toBe(60);
});
