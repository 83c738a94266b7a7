/** The sidecar's end of the record against a real collector: over a Unix socket, and over TLS with a pod's token. */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "#core/clock.ts";
import { makeAuthority } from "#sidecar/tls/authority.ts";
import { leafCertificate, pem, spkiOf } from "#sidecar/tls/certificate.ts";
import { committed, MemoryDisk, op, WORKLOAD } from "../../test/support/record.ts";
import { startCollector } from "../collector/collector.ts";
import type { Sender } from "../collector/ingest.ts";
import { openSqlite } from "../collector/store/sqlite.ts";
import type { SinkAddress } from "./http-sink.ts";
import { type Audit, type AuditOptions, openAudit } from "./open.ts";

let folder = "";
const undo: (() => Promise<unknown>)[] = [];
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "audit-open-"));
});
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
  rmSync(folder, { recursive: true, force: true });
});
const at = (name: string): string => path.join(folder, name);

function open(collector: SinkAddress, over: Partial<AuditOptions> = {}): Audit {
  const audit = openAudit({
    directory: at("spool"),
    collector,
    token: null,
    workload: WORKLOAD,
    version: "0.0.0",
    clock: systemClock,
    random: randomBytes,
    ...over,
  });
  undo.push(() => audit.close("test", 0));
  return audit;
}

const HOST = "localhost";

async function overTls(
  authenticate: (authorization: string | null) => Promise<Sender | null>,
): Promise<SinkAddress & { kind: "tls" }> {
  const authority = makeAuthority(systemClock);
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const server = await startCollector({
    database: at("audit.db"),
    listen: {
      kind: "tls",
      host: HOST,
      port: 0,
      cert: pem(leafCertificate(authority, HOST, spkiOf(publicKey), authority.validity)),
      key: privateKey.export({ type: "pkcs8", format: "pem" }),
    },
    authenticate,
    clock: systemClock,
    onFinding: () => {},
    onError: () => {},
  });
  undo.push(() => server.close());
  return { kind: "tls", host: HOST, port: server.port, ca: authority.caPem };
}

async function overSocket(): Promise<SinkAddress> {
  const server = await startCollector({
    database: at("audit.db"),
    listen: { kind: "unix", path: at("c.sock") },
    authenticate: null,
    clock: systemClock,
    onFinding: () => {},
    onError: () => {},
  });
  undo.push(() => server.close());
  return { kind: "unix", path: at("c.sock") };
}

async function storedOf(boot: string): Promise<number> {
  const store = openSqlite(at("audit.db"), "read");
  try {
    return (await store.boot(boot))?.lastSeq ?? 0;
  } finally {
    await store.close();
  }
}

const POD: Sender = { subject: "team/agent-1", claims: { namespace: "team", pod: "agent-1", uid: "u-1" } };

test("over TLS, with a token that is asked for each time, everything arrives", async () => {
  const address = await overTls((authorization) => Promise.resolve(authorization === "Bearer t0k3n" ? POD : null));
  let asked = 0;
  const audit = open(address, {
    token: () => {
      asked++;
      return "t0k3n";
    },
  });
  audit.recorder.op(op());
  expect(await audit.close("done", 10_000)).toBe(true);
  expect(asked).toBeGreaterThan(0);
  expect(await storedOf(audit.recorder.boot)).toBe(3);
  expect(readdirSync(at("spool"))).toEqual([]);
});

test.each([
  [
    "another authority signed its certificate",
    (a: SinkAddress & { kind: "tls" }) => ({ ...a, ca: makeAuthority(systemClock).caPem }),
  ],
  [
    "it is reached by another name than its certificate's",
    (a: SinkAddress & { kind: "tls" }) => ({ ...a, host: "127.0.0.1" }),
  ],
] as const)("nothing is sent to a collector where %s", async (_what, change) => {
  let requests = 0;
  const address = await overTls(() => {
    requests++;
    return Promise.resolve(POD);
  });
  const trouble = new Promise<Error | null>((resolve) =>
    open(change(address), { token: () => "t0k3n", onTrouble: resolve }),
  );
  expect(await trouble).toMatchObject({ code: "unreachable" });
  expect(requests).toBe(0);
});

test("a token of another pod records nothing, and the sidecar hears why", async () => {
  const address = await overTls(() =>
    Promise.resolve({ subject: "team/agent-2", claims: { namespace: "team", pod: "agent-2", uid: "u-2" } }),
  );
  let trouble: (cause: Error | null) => void = () => {};
  const heard = new Promise<Error | null>((resolve) => (trouble = resolve));
  const audit = open(address, { token: () => "x", onTrouble: (cause) => trouble(cause) });
  expect((await heard)?.message).toContain("403");
  expect(await storedOf(audit.recorder.boot)).toBe(0);
  expect(audit.figures()).toMatchObject({ written: 1, open: 1 });
});

test("in a pod, what is not a read waits while the collector is away; on one's own machine it does not", () => {
  const away: SinkAddress = { kind: "unix", path: at("nobody.sock") };
  const pod = open(away, { lag: { records: 3, ms: 30_000 } });
  const own = open(away);
  for (let i = 0; i < 5; i++) for (const { recorder } of [pod, own]) recorder.op(op());
  expect(pod.recorder.refuses(false)).toBe("audit_lag");
  expect(pod.recorder.refuses(true)).toBe(null);
  expect(own.recorder.refuses(false)).toBe(null);
});

test("THREATS E10: the spool is its owner's alone, and no secret is in it", async () => {
  const audit = open({ kind: "unix", path: at("nobody.sock") });
  const planted = "Zq7Vw2Kp9Tn4Lm8x";
  audit.recorder.op(
    op({
      detail: `"headers":{"authorization":"Bearer ${planted}","cookie":"sid=${planted}"},"url":"/?token=${planted}"`,
    }),
  );
  expect(await committed(audit.recorder)).toBe(true);
  for (const name of readdirSync(at("spool"))) {
    expect(statSync(path.join(at("spool"), name)).mode & 0o077, name).toBe(0);
    expect(readFileSync(path.join(at("spool"), name), "latin1")).not.toContain(planted);
  }
  expect(statSync(at("spool")).mode & 0o077).toBe(0);
});

test("two runs that share a folder ship each their own, and one of them what a dead one left", async () => {
  const address = await overSocket();
  // Somebody who is gone: a process id that was never ours, started at no time of this machine.
  mkdirSync(at("spool"), { mode: 0o700 });
  const dead = open({ kind: "unix", path: at("nobody.sock") }, { directory: at("elsewhere") });
  dead.recorder.op(op());
  await committed(dead.recorder);
  for (const name of readdirSync(at("elsewhere")).filter((n) => n.endsWith(".ndjson")))
    writeFileSync(path.join(at("spool"), name), readFileSync(path.join(at("elsewhere"), name)));
  writeFileSync(path.join(at("spool"), `${dead.recorder.boot}.owner`), "999999 1");
  const first = open(address);
  const second = open(address);
  for (const audit of [first, second]) audit.recorder.op(op());
  expect(await second.close("done", 10_000)).toBe(true);
  expect(await first.close("done", 10_000)).toBe(true);
  expect(await storedOf(first.recorder.boot)).toBe(3);
  expect(await storedOf(second.recorder.boot)).toBe(3);
  expect(await storedOf(dead.recorder.boot)).toBe(2);
  expect(readdirSync(at("spool"))).toEqual([]);
});

test("a folder that cannot be written stops the start, not the first request", () => {
  writeFileSync(at("file"), "");
  expect(() => open({ kind: "unix", path: at("c.sock") }, { directory: path.join(at("file"), "spool") })).toThrow(
    "ENOTDIR",
  );
});

test("a spool on a small volume is full before the volume is, so that it refuses by name and not by failed writes", async () => {
  const disk = new MemoryDisk();
  disk.capacity = 20 * 1024 * 1024;
  const audit = open(await overSocket(), { disk });
  expect(audit.figures().spoolLimitBytes).toBe(14 * 1024 * 1024);
});
