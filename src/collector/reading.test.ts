/** What people and programs read of the record: events, tables, why, summary, tail, OCSF, proofs. */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Recorder } from "#contract/record.ts";
import { bootOf, type Collected, collecting, LOCAL, newSigner, temporaryStore } from "../../test/support/collected.ts";
import { op } from "../../test/support/record.ts";
import { type AuditEvent, toEvent } from "./event.ts";
import { Follower } from "./follow.ts";
import { toOcsf } from "./ocsf.ts";
import { checkProof, makeProof } from "./proof.ts";
import { renderSummary, summarise } from "./summary.ts";
import { renderTable } from "./table.ts";
import { explainEvent, happened } from "./why.ts";

let c: Collected;
let remove: () => Promise<void>;
beforeEach(async () => {
  const made = temporaryStore();
  remove = made.remove;
  c = await collecting(made.store);
});
afterEach(() => remove());

const end = (recorder: Recorder, seq: number, over: object = {}): void =>
  recorder.end({ op: seq, status: "503", ms: 41.2, bytesUp: 10, bytesDown: 20, masked: 0, attempts: 1, ...over });

async function record(write: (recorder: Recorder) => void): Promise<string> {
  const { boot, lines } = await bootOf(write);
  await c.ingest({ boot, lines, gap: false, sender: LOCAL });
  return boot;
}

async function events(filter: object = {}): Promise<AuditEvent[]> {
  return (await c.store.find({ limit: 100, ...filter })).map(toEvent);
}

const DENIED = op({
  verdict: "deny",
  decision:
    '"effect":"deny","code":"internal_page","message":"Internal pages are closed.","policies":["billing"],"rule":"billing.rego:14"',
});

test("an operation is put together from what the policy read and the rest", async () => {
  await record((r) => {
    r.op(
      op({
        facts: '"http":{"method":"POST"}',
        detail: '"rest":{"http":{"path":"/v1/x","method":"never"},"tls":{"sni":"a"}}',
      }),
    );
  });
  const [event] = await events();
  expect(event?.op).toMatchObject({
    http: { method: "POST", path: "/v1/x" },
    tls: { sni: "a" },
    protocol: "http",
    action: "read",
  });
  expect(event?.summary).toBe("POST https://billing.example/v1/x");
});

test("why says what happened to a forwarded operation, and to a denied one", async () => {
  await record((r) => {
    const session = r.session({
      client: "10.0.0.9:4711",
      destination: "240.240.0.7:443",
      target: "billing",
      host: "billing.example",
      port: 443,
    });
    end(r, r.op(op({ session })));
    const denied = r.op({ ...DENIED, session });
    r.fold({ op: denied, count: 12, what: "billing internal_page" });
    r.op(op({ session }));
  });
  const [open, denied, forwarded] = await events();
  expect(happened(forwarded as AuditEvent)).toBe("forwarded, upstream answered 503 in 41 ms (10 bytes up, 20 down)");
  expect(happened(open as AuditEvent)).toBe("permitted; no outcome is on record");
  const text = explainEvent(denied as AuditEvent, { rule: null, trace: "enter\n  \u001b[31mfail" });
  expect(text).toContain("verdict     deny internal_page: Internal pages are closed.\n");
  expect(text).toContain("rule at     billing.rego:14\n");
  expect(text).toContain("repeated    12 more times, not recorded one by one\n");
  expect(text).toContain("connection  10.0.0.9:4711 to 240.240.0.7:443\n");
  expect(text).toContain("\n\nenter\n  \\x1b[31mfail\n");
});

test("our own codes come with what to do about them", async () => {
  await record((r) => {
    r.op({ ...DENIED, decision: '"code":"no_bundle","message":"No policy is loaded; everything is denied."' });
  });
  const [event] = await events();
  expect(explainEvent(event as AuditEvent, null)).toContain("advice     Try again later; the gateway's operator");
});

test("nothing that an agent chose acts on the terminal of who reads it", async () => {
  const evil = "\\u001b[2J\\u202e\\u200b\\nFINDING ok";
  await record((r) => {
    r.session({ client: "a:1", destination: "b:2", target: null, host: "x\u001b[31m", port: 1 });
    end(
      r,
      r.op(
        op({
          facts: `"http":{"method":"GET","path":"/${evil}"}`,
          decision: `"code":"${evil}","message":"${evil}"`,
          preamble: `"target":{"host":"${evil}","port":443},"run":{"id":"${evil}","user":"${evil}"}`,
        }),
      ),
      { status: "a\u009bb" },
    );
    r.note("finding", `"what":"${evil}"`);
  });
  const all = await events({ kinds: ["boot", "session", "op", "note"] });
  const shown =
    renderTable(all, true) + renderSummary(summarise(all, false)) + all.map((e) => explainEvent(e, null)).join("");
  // The only control characters are the ends of our own lines.
  expect(/[\p{Cc}\p{Cf}]/u.test(shown.replaceAll("\n", ""))).toBe(false);
  expect(renderTable(all, true).trimEnd().split("\n")).toHaveLength(all.length + 1);
});

test("a long operation is cut in the table, and the table says so", async () => {
  await record((r) => void r.op(op({ facts: `"http":{"method":"GET","path":"/${"x".repeat(500)}"}`, detail: "" })));
  expect(renderTable(await events(), true)).toMatch(/x…\(\+\d+\)/);
});

test("a summary counts by target and by denial, repeats included", async () => {
  await record((r) => {
    end(r, r.op(op()));
    end(r, r.op(op({ decision: '"effect":"allow","would":{"effect":"deny","reasons":[]}' })));
    r.fold({ op: r.op(DENIED), count: 4, what: "x" });
  });
  const summary = summarise(await events(), false);
  expect(summary.operations).toBe(7);
  expect(summary.lines).toEqual([
    {
      target: "billing",
      host: "billing.example",
      protocol: "http",
      action: "read",
      allowed: 2,
      denied: 5,
      would: 1,
      up: 20,
      down: 40,
    },
  ]);
  expect(summary.denials).toEqual([expect.objectContaining({ code: "internal_page", count: 5 })]);
  expect(renderTable(await events(), false)).toContain("would deny");
  expect(renderSummary(summarise([], false))).toBe("No operation is on record.\n");
});

test("an erased operation keeps its place and its decision", async () => {
  const boot = await record((r) => void r.op(DENIED));
  const { eraseDetails } = await import("./erase.ts");
  await eraseDetails(c, { records: [{ boot, seq: 2 }], by: "x", reason: "y" });
  const [event] = await events();
  expect(event).toMatchObject({ erased: true, code: "internal_page", summary: "read http billing.example:443" });
  expect(explainEvent(event as AuditEvent, null)).toContain("(its detail was erased)");
});

test("tail shows the newest, then what arrives, an operation together with its outcome", async () => {
  await record((r) => {
    for (let i = 0; i < 5; i++) r.op(DENIED);
  });
  const follower = new Follower(c.store, { limit: 2 });
  expect(await follower.next(0)).toHaveLength(2);
  expect(await follower.next(1)).toEqual([]);
  const { boot, lines } = await bootOf(async (r, commit) => {
    const seq = r.op(op());
    await commit();
    end(r, seq);
  });
  const text = lines.toString("utf8");
  const second = Buffer.from(text.slice(0, text.indexOf('{"seq":3')));
  await c.ingest({ boot, lines: second, gap: false, sender: LOCAL });
  expect(await follower.next(2)).toEqual([]);
  await c.ingest({ boot, lines, gap: false, sender: LOCAL });
  expect((await follower.next(3)).map((e) => e.outcome?.status)).toEqual(["503"]);
  await record((r) => void r.op(op()));
  expect(await follower.next(4)).toEqual([]);
  // An outcome that does not come is not waited for.
  expect((await follower.next(5_000)).map((e) => e.outcome)).toEqual([null]);
});

test("as OCSF an operation has its class, its verdict and everything else under unmapped", async () => {
  await record((r) => {
    const session = r.session({ client: "[::1]:4711", destination: "b:2", target: "t", host: "h", port: 443 });
    end(
      r,
      r.op(op({ session, facts: '"http":{"method":"POST","scheme":"https","host":"billing.example","path":"/x"}' })),
      { status: "201" },
    );
    r.op(op({ protocol: "dns", verdict: "deny", facts: '"dns":{"name":"a.test","type":"A"}', detail: "" }));
    r.op(op({ protocol: "tcp", facts: "", detail: "" }));
  });
  const [tcp, dns, http] = (await events()).map(toOcsf);
  expect(http).toMatchObject({
    class_uid: 4002,
    activity_id: 6,
    type_uid: 400206,
    action_id: 1,
    status_id: 1,
    http_request: { http_method: "POST", url: { hostname: "billing.example", path: "/x" } },
    http_response: { code: 201 },
    src_endpoint: { ip: "::1", port: 4711, name: "team/agent-1" },
    dst_endpoint: { hostname: "billing.example", port: 443 },
    traffic: { bytes_out: 10, bytes_in: 20 },
    metadata: { version: "1.8.0" },
    unmapped: { sidegate: { revision: "r1" } },
  });
  expect(dns).toMatchObject({
    class_uid: 4003,
    activity_id: 1,
    action_id: 2,
    status_id: 2,
    query: { hostname: "a.test", type: "A" },
  });
  expect(tcp).toMatchObject({ class_uid: 4001, activity_id: 1, status_id: 0 });
});

test("a proof convinces who has only the public key, and no changed one does", async () => {
  const boot = await record((r) => {
    for (let i = 0; i < 9; i++) r.op(DENIED);
  });
  const key = c.signer.publicPem;
  for (let seq = 1; seq <= 10; seq++) {
    const proof = await makeProof(c.store, boot, seq);
    if (proof === null) throw new Error("no proof");
    expect(checkProof(proof, key)).toBe(null);
    expect(checkProof(proof, newSigner().publicPem)).toContain("not signed");
    const core = Buffer.from(Buffer.from(proof.core, "base64").toString().replace("deny", "deni")).toString("base64");
    const bent = seq === 1 ? { ...proof, index: 1 } : { ...proof, core };
    expect(checkProof(bent, key)).toContain("not in the signed log");
    expect(checkProof({ ...proof, id: `${boot}-99` }, key)).toContain("another number");
  }
  expect(await makeProof(c.store, boot, 11)).toBe(null);
});
