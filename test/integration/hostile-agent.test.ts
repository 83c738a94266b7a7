/**
 * What a hijacked agent sends to bring the gateway down: more than it can keep, and never the end. Seen for each: the gateway's
 * resident memory, what stands on record, and that agents beside it notice nothing.
 */
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AuditEvent } from "../../src/collector/event.ts";
import type { Filter } from "../../src/collector/store/port.ts";
import { type Gateway, startGateway } from "../support/sidecar.ts";
import { Attacked, flood, GIB, type Ordinary, ordinary, SECURE } from "../support/sidecar-attack.ts";
import { HOST, heard, raw } from "../support/sidecar-client.ts";
import { rawUpstream, targetTo, type Upstream } from "../support/sidecar-upstream.ts";

let gateway: Gateway;
let others: Ordinary;
let sink: Upstream;
let attacked: Attacked;
let reached: readonly string[];

beforeAll(async () => {
  others = await ordinary();
  reached = others.reached;
  sink = await rawUpstream((socket) => socket.pause());
  gateway = await startGateway({
    policy: {
      policies: { everything: "allow if true" },
      targets: [
        ...others.targets,
        targetTo(others.plain, { name: "slow", hosts: ["slow.test"], protocol: "http", limits: { headerMs: 1_000 } }),
        targetTo(sink, { name: "sink", hosts: ["sink.test"], protocol: "http", limits: { totalMs: 1_500 } }),
      ],
    },
  });
  attacked = await Attacked.idle(gateway);
});

afterAll(async () => {
  attacked?.end();
  await gateway?.close();
  await others?.close();
  await sink?.close();
});

/** At most five equal denials a minute have a line of their own. */
const OWN_LINES = 5;
/** Denials by code, as the tests provoked them. */
const provoked = new Map<string, number>();

/** The lines of these refusals. All of them, repeats without a line included, are counted at the end. */
async function refused(code: string, count: number, where: Partial<Filter> = {}): Promise<AuditEvent[]> {
  provoked.set(code, (provoked.get(code) ?? 0) + count);
  return gateway.recordsUntil((events) => events.length >= Math.min(count, OWN_LINES), {
    code,
    verdict: "deny",
    ...where,
  });
}

test("100 MB of zero bytes: refused as no protocol, in plain and inside TLS", async () => {
  const zeros = Buffer.alloc(65_536);
  const [plain, secret] = await attacked.by("100 MB of zero bytes", async () =>
    Promise.all([
      flood(await gateway.connect({ host: HOST, port: 80 }), zeros, 100_000_000),
      flood(await gateway.secure({ host: SECURE, port: 443 }), zeros, 100_000_000),
    ]),
  );
  expect([plain.text, secret.text]).toEqual(["", ""]);
  expect([plain.ended, secret.ended]).toEqual(["reset", "reset"]);
  expect(await refused("protocol_unknown", 2)).toHaveLength(2);
});

test("100 MB of zero bytes where HTTP is declared, and behind a request: refused, nothing of it reaches the upstream", async () => {
  const before = reached.length;
  const zeros = Buffer.alloc(65_536);
  const pipelined = await gateway.connect({ host: HOST, port: 80 });
  pipelined.write(`GET /first HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
  expect(String(await once(pipelined, "data"))).toMatch(/^HTTP\/1\.1 200 OK/);
  const [first, behind] = await attacked.by("100 MB of zero bytes as HTTP", async () =>
    Promise.all([
      flood(await gateway.connect({ host: "slow.test", port: 80 }), zeros, 100_000_000),
      flood(pipelined, zeros, 100_000_000),
    ]),
  );
  expect(first).toMatchObject({ text: "", ended: "reset" });
  // Sent on after the answer it is reset, and the answer may be lost with it.
  expect(behind.text).toMatch(/^(|HTTP\/1\.1 400 [^]*)$/);
  expect(behind.sent).toBeLessThan(100_000_000);
  expect(reached.slice(before)).toEqual(["/first"]);
  await refused("protocol_unknown", 1, { target: "slow" });
  const [event] = await refused("bad_request", 1);
  expect(event?.op["fault"]).toBe("method");
});

test("slowloris, 300 at once: each is refused when its header took too long, with 408 and a record", async () => {
  const count = 300;
  const answers = await attacked.by("slowloris", async () =>
    Promise.all(
      Array.from({ length: count }, async () => {
        const socket = await gateway.connect({ host: "slow.test", port: 80 });
        const answer = heard(socket);
        socket.write("GET /slow HTTP/1.1\r\nHost: slow.test\r\n");
        const drip = setInterval(() => socket.write("X: y\r\n"), 150);
        socket.once("end", () => clearInterval(drip));
        socket.once("close", () => clearInterval(drip));
        return answer;
      }),
    ),
  );
  expect(answers.filter(({ text }) => !text.startsWith("HTTP/1.1 408 "))).toEqual([]);
  expect(reached).not.toContain("/slow");
  await refused("header_timeout", count);
});

test("a header of 1 GB: 431 as soon as it is too large, and the connection ends", async () => {
  const { text, sent } = await attacked.by("1 GB header", async () => {
    const socket = await gateway.connect({ host: HOST, port: 80 });
    socket.write(`GET /huge HTTP/1.1\r\nHost: ${HOST}\r\nX-Long: `);
    return flood(socket, "x".repeat(65_536), GIB);
  });
  expect(text).toMatch(/^(|HTTP\/1\.1 431 [^]*"code":"header_too_large"[^]*)$/);
  expect(sent).toBeLessThan(GIB / 10);
  expect(reached).not.toContain("/huge");
  await refused("header_too_large", 1);
});

test("100,000 header lines: 431, and nothing reaches the upstream", async () => {
  const lines = Array.from({ length: 100_000 }, (_, i) => `X-${i}: ${i}\r\n`).join("");
  const answers = await attacked.by("100,000 header lines", () =>
    Promise.all(Array.from({ length: 10 }, () => raw(gateway, `GET /lines HTTP/1.1\r\nHost: ${HOST}\r\n${lines}\r\n`))),
  );
  for (const { text } of answers) expect(text).toMatch(/^(|HTTP\/1\.1 431 [^]*)$/);
  expect(answers.some(({ text }) => text.includes('"code":"header_too_large"'))).toBe(true);
  expect(reached).not.toContain("/lines");
  await refused("header_too_large", answers.length);
});

test.each([
  ["size", "1", "chunk_size"],
  ["extension", "5;a", "chunk_extension"],
])("a chunk whose %s never ends: refused at the limit", async (what, begin, fault) => {
  const { sent } = await attacked.by(`chunk ${what} without an end`, async () => {
    const socket = await gateway.connect({ host: HOST, port: 80 });
    socket.write(`POST /chunk-${what} HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n${begin}`);
    return flood(socket, "1".repeat(65_536), GIB);
  });
  expect(sent).toBeLessThan(GIB / 10);
  const [event] = await refused("bad_request", 1, { text: `"${fault}"` });
  expect(event?.op["fault"]).toBe(fault);
});

test("a chunked body that never ends, to an upstream that reads none of it: held back, and ended by the target's limit", async () => {
  const { sent } = await attacked.by("chunks without an end", async () => {
    const socket = await gateway.connect({ host: "sink.test", port: 80 });
    socket.write("POST /endless HTTP/1.1\r\nHost: sink.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    return flood(socket, `10000\r\n${"z".repeat(65_536)}\r\n`, GIB);
  });
  expect(sent).toBeLessThan(GIB / 10);
  const [event] = await gateway.recordsUntil((events) => events[0]?.outcome?.status !== undefined, {
    text: '"/endless"',
  });
  expect(event?.outcome?.status).toBe("total_timeout");
});

test("every refusal is accounted for: what has no line of its own is counted on one, and metrics agree", async () => {
  const page = await gateway.metrics();
  await gateway.stop("sidecar");
  for (const [code, count] of provoked) {
    const events = await gateway.records({ code, verdict: "deny" });
    expect(
      events.reduce((sum, event) => sum + 1 + event.folded, 0),
      code,
    ).toBe(count);
    const metric = page
      .split("\n")
      .filter((line) => line.startsWith("sidegate_operations_total") && line.includes(`code="${code}"`));
    expect(
      metric.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0),
      code,
    ).toBe(count);
  }
});
