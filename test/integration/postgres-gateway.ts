/**
 * The sidecar's rooms joined in one process around the PostgreSQL lane, without the kernel's redirect: a client that connects to its
 * port is served as if it had dialed `db.test:5432`. Transport, TLS, pipeline, judge, pool and lane are the real ones; policy is a
 * function of the test, the record a list.
 */
import { randomBytes } from "node:crypto";
import net, { type AddressInfo } from "node:net";
import { type Credential, CredentialFault } from "#contract/credential.ts";
import type { Decision } from "#contract/decision.ts";
import type { OperationInput } from "#contract/operation.ts";
import type { LoadedPolicy, Profile } from "#contract/policy-port.ts";
import type { EndEntry, OpEntry, Recorder } from "#contract/record.ts";
import type { Target } from "#contract/target.ts";
import { systemClock } from "#core/clock.ts";
import { createWheel } from "#core/wheel.ts";
import { createConnections } from "#sidecar/connections.ts";
import { createDetector } from "#sidecar/detect/detector.ts";
import { createJudges } from "#sidecar/judge/judge.ts";
import { createOpaqueLane } from "#sidecar/lanes/opaque/lane.ts";
import { createPostgresLane, type PostgresLaneOptions } from "#sidecar/lanes/postgres/lane.ts";
import { readParserFile } from "#sidecar/lanes/postgres/sql/parser-file.ts";
import { createSqlReader } from "#sidecar/lanes/postgres/sql/reader.ts";
import { startCapture } from "#sidecar/listen/capture.ts";
import { serve } from "#sidecar/pipeline.ts";
import type { Addressing, LeafSource } from "#sidecar/seam/stages.ts";
import { makeAuthority } from "#sidecar/tls/authority.ts";
import { createLeafSource } from "#sidecar/tls/leaf-source.ts";
import { createTransport } from "#sidecar/transport/transport.ts";
import { createUpstreams } from "#sidecar/upstream/upstreams.ts";

export const ALLOW: Decision = Object.freeze({
  effect: "allow",
  code: "",
  message: "",
  advice: "",
  policies: ["test"],
  rule: null,
  deny: [],
  hold: [],
  mask: [],
  credential: null,
  would: null,
  quiet: false,
  text: '"policies":["test"]',
});
export const DENY: Decision = Object.freeze({
  ...ALLOW,
  effect: "deny",
  code: "no_writes",
  message: "This agent only reads.",
  advice: "Ask for a write policy.",
  text: '"code":"no_writes"',
});

export type Policy = (input: OperationInput) => Decision;

/** Reads are allowed, everything else is denied, as a first policy would say it. */
export const readsOnly: Policy = ({ action, complete }) =>
  complete && (action === "read" || action === "connect") ? ALLOW : DENY;
export const allowsAll: Policy = () => ALLOW;

export interface Recorded {
  readonly op: OpEntry;
  readonly end: EndEntry | null;
  /** Facts and detail laid over each other, `sql` only. */
  readonly sql: Readonly<Record<string, unknown>>;
}

export interface PostgresGateway {
  readonly port: number;
  readonly caPem: string;
  policy: Policy;
  /** What the policy was asked, oldest first. */
  readonly inputs: OperationInput[];
  /** Statements on record, oldest first: without `connect`. */
  records(): Recorded[];
  readonly notes: string[];
  readonly faults: unknown[];
  revise(): void;
  drain(): Promise<void>;
  close(): Promise<void>;
}

export interface GatewayOptions {
  readonly target?: Partial<Target>;
  readonly upstream: number;
  readonly policy?: Policy;
  /** Read anew for each connection; `renewed`: what it is once the upstream has refused it. */
  readonly credential?: Pick<Credential, "name" | "user"> & {
    readonly password: string;
    readonly database?: string;
    readonly renewed?: string;
    /** Which of its values it is; default 1. */
    readonly version?: number;
  };
  readonly lane?: Partial<PostgresLaneOptions>;
  readonly reads?: Profile["reads"];
  readonly mayHold?: boolean;
}

export const TARGET = "db";
const HOST = "db.test";

export async function startPostgresGateway(options: GatewayOptions): Promise<PostgresGateway> {
  const wheel = createWheel(20);
  const faults: unknown[] = [];
  const target: Target = {
    name: TARGET,
    hosts: [HOST],
    ports: [5_432],
    endpoints: [`127.0.0.1:${options.upstream}`],
    ...options.target,
  };
  const authority = makeAuthority(systemClock);
  const leaves: LeafSource = createLeafSource(authority, systemClock);
  const transport = createTransport({ wheel, roots: [], bug: (error) => faults.push(error) });
  const ops: { op: OpEntry; seq: number; end: EndEntry | null }[] = [];
  const notes: string[] = [];
  let seq = 0;
  const waiting: ((ok: boolean) => void)[] = [];
  let dirty = false;
  const recorder: Recorder = {
    boot: "test",
    gate: {
      get clean() {
        return !dirty;
      },
      committed(then) {
        if (!dirty) then(true);
        else waiting.push(then);
      },
    },
    refuses: () => null,
    session: () => ++seq,
    op: (op) => {
      ops.push({ op, seq: ++seq, end: null });
      if (!dirty) {
        dirty = true;
        setImmediate(() => {
          dirty = false;
          for (const then of waiting.splice(0)) then(true);
        });
      }
      return seq;
    },
    end: (end) => {
      const found = ops.find((o) => o.seq === end.op);
      if (found !== undefined) found.end = end;
    },
    closed() {},
    fold() {},
    stored: (_seq, then) => then(true),
    note: (kind, members) => {
      notes.push(`${kind} ${members}`);
      return ++seq;
    },
    stop: async () => {},
  };
  let revision = 1;
  const inputs: OperationInput[] = [];
  const made = (): LoadedPolicy => ({
    revision: `r${revision}`,
    sequence: revision,
    profile: {
      revision: `r${revision}`,
      reads: options.reads ?? (() => true),
      mayHold: options.mayHold ?? false,
      mayMask: false,
    },
    targets: [target],
    settings: { mode: "enforce", denialDetail: "full" },
    decide: (text) => {
      const input = JSON.parse(`{${text}}`) as OperationInput;
      inputs.push(input);
      const decision = gateway.policy(input);
      return options.credential === undefined || decision.effect === "deny" || input.action !== "connect"
        ? decision
        : { ...decision, credential: options.credential.name };
    },
  });
  let loaded = made();
  const judges = createJudges({
    holder: {
      get current() {
        return loaded;
      },
      onChange() {},
    },
    recorder,
    clock: systemClock,
    run: null,
    credentials: {
      limitMs: 1_000,
      find: (name) => {
        const { credential } = options;
        if (credential === undefined || credential.name !== name) return new CredentialFault("unknown", "none");
        return revealing(credential, credential.password);
      },
      wait: () => ({ cancel() {} }),
      renew: (_bad, then) => {
        const { credential } = options;
        const renewed = credential?.renewed;
        setImmediate(() => then(credential && renewed !== undefined ? revealing(credential, renewed) : null));
        return { cancel() {} };
      },
    },
  });
  const upstreams = createUpstreams({
    connector: transport,
    resolver: {
      resolve: () => {
        throw new Error("endpoints only");
      },
    },
    gate: recorder.gate,
    rules: { own: [], internal: [], allowLoopbackEndpoints: true },
    clock: systemClock,
    after: (ms, fire) => wheel.after(ms, fire),
    connectMs: 5_000,
    onFinding: () => {},
  });
  const reader = createSqlReader({ parserFile: readParserFile });
  const lane = createPostgresLane({ reader, ...options.lane });
  const opaque = { tcp: createOpaqueLane("tcp"), tls: createOpaqueLane("tls") };
  const meters = { ended() {}, handshake() {}, dialed() {}, upstreamFault() {} };
  const connections = createConnections({
    upstreams,
    wheel,
    gate: recorder.gate,
    meters,
    opaqueTls: opaque.tls,
    opaqueTcp: opaque.tcp,
    fault: (_where, error) => faults.push(error),
  });
  const addressed: Addressing = { kind: "addressed", host: HOST, port: 5_432, target };
  const rooms = {
    destinations: { address: () => addressed, update() {} },
    judges,
    leaves,
    lanes: [lane],
    opaque,
    detect: createDetector([lane]),
    refusals: {
      plainHttp: () => "",
      isHttp: () => false,
      leaves,
      lanes: [lane],
      after: (ms: number, fire: () => void) => wheel.after(ms, fire),
    },
    connections,
    meters,
  };
  const capture = await startCapture({
    listeners: [{ kind: "port", port: 0, host: "127.0.0.1" }],
    originalDestination: null,
    transport,
    onAccepted: (accepted) => serve({ ...accepted, original: { address: "240.240.0.7", port: 5_432 } }, rooms),
  });
  const gateway: PostgresGateway = {
    port: capture.addresses[0]?.port ?? 0,
    caPem: leaves.caPem,
    policy: options.policy ?? allowsAll,
    inputs,
    records: () =>
      ops
        .filter(({ op }) => op.phase === "ask")
        .map(({ op, end }) => {
          const facts = JSON.parse(`{${op.facts}}`) as { sql?: object };
          const detail = JSON.parse(`{${op.detail}}`) as { rest?: { sql?: object } };
          return { op, end, sql: { ...facts.sql, ...detail.rest?.sql } };
        }),
    notes,
    faults,
    revise() {
      revision++;
      loaded = made();
      connections.revised([target]);
    },
    drain: () => connections.drain(5_000),
    async close() {
      await connections.drain(200);
      await capture.close();
      upstreams.close();
      wheel.stop();
    },
  };
  return gateway;
}

function revealing(credential: GatewayOptions["credential"] & object, password: string): Credential {
  const { name, user, database, version = 1 } = credential;
  return {
    name,
    version,
    kind: "password",
    user,
    field: null,
    prefix: null,
    database: database ?? null,
    certificate: null,
    reveal: () => password,
    toJSON: () => "[credential]",
  };
}

/** A proxy that cuts both directions into random pieces: nobody may rely on where a read ends. */
export async function startSplitter(
  port: number,
  seed = randomBytes(4).readUInt32BE(0),
): Promise<{ readonly port: number; close(): Promise<void> }> {
  let state = seed >>> 0;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % below;
  };
  const open = new Set<net.Socket>();
  const pipe = (from: net.Socket, to: net.Socket): void => {
    let busy: Promise<void> = Promise.resolve();
    from.on("data", (bytes: Buffer) => {
      busy = busy.then(async () => {
        for (let at = 0; at < bytes.length; ) {
          const end = Math.min(bytes.length, at + 1 + random(random(4) === 0 ? 1_000 : 7));
          to.write(bytes.subarray(at, end));
          at = end;
          await new Promise((resolve) => setImmediate(resolve));
        }
      });
    });
    from.on("end", () => void busy.then(() => to.end()));
    from.on("error", () => to.destroy());
    from.on("close", () => open.delete(from));
    open.add(from);
  };
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    pipe(client, upstream);
    pipe(upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
