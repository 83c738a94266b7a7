/**
 * What readers may ask of a cluster's collector: `(request) → response`. Each question names the namespaces that it is about; the API
 * server decides; the reading is recorded; then it is answered. What may not be seen is not there: the answer is the same.
 */
import { type Static, Type } from "typebox";
import { Compile } from "typebox/compile";
import { acceptEnd } from "./accept.ts";
import type { ActOptions } from "./act.ts";
import { CONTROL_BOOT } from "./act.ts";
import { type FoundWire, foundBytes, toWire } from "./found-wire.ts";
import type { ReadLog } from "./read-log.ts";
import { MAX_FOUND, MAX_FOUND_BYTES, NO_RECORD } from "./read-paths.ts";
import { ReadingFault, type ReadThread } from "./read-worker.ts";
import type { Reader, Readers } from "./readers.ts";
import { namespaceOf } from "./retention.ts";
import { ALIVE_MS } from "./verify.ts";

const strict = { additionalProperties: false } as const;
const word = Type.Optional(Type.String({ maxLength: 500 }));
const time = Type.Optional(Type.Number());

const FilterBody = Type.Object(
  {
    sinceMs: time,
    untilMs: time,
    boot: word,
    pod: word,
    target: word,
    host: word,
    verdict: word,
    code: word,
    protocol: word,
    run: word,
    text: word,
    after: Type.Optional(Type.Integer()),
    before: Type.Optional(Type.Integer()),
    limit: Type.Integer({ minimum: 1, maximum: MAX_FOUND }),
    kinds: Type.Optional(Type.Array(Type.String({ maxLength: 20 }), { maxItems: 16 })),
    /** Absent: all, for which one needs the right everywhere. */
    namespaces: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 63 }), { minItems: 1, maxItems: 50 })),
  },
  strict,
);
const GetBody = Type.Object({ boot: Type.String({ maxLength: 32 }), seq: Type.Integer({ minimum: 1 }) }, strict);
const CoverageBody = Type.Object(
  { namespace: Type.Optional(Type.String({ minLength: 1, maxLength: 63 })), sinceMs: Type.Number() },
  strict,
);
const AcceptBody = Type.Object(
  { boot: Type.String({ maxLength: 32 }), reason: Type.String({ minLength: 1, maxLength: 500 }) },
  strict,
);

const find = Compile(FilterBody);
const get = Compile(GetBody);
const coverage = Compile(CoverageBody);
const accept = Compile(AcceptBody);

export interface ReadApiOptions extends ActOptions {
  readonly readers: Readers;
  readonly log: ReadLog;
  /** Where long readings are done: not where batches are stored. */
  readonly thread: ReadThread;
}

export type ReadOutcome = "answered" | "denied" | "unknown" | "invalid" | "failed";

export interface ReadAnswer {
  readonly outcome: ReadOutcome;
  readonly status: number;
  readonly body: unknown;
}

export type ReadApi = (path: string, token: string | null, body: string) => Promise<ReadAnswer>;

const no = (outcome: ReadOutcome, status: number, error: string): ReadAnswer => ({ outcome, status, body: { error } });
const ok = (body: unknown): ReadAnswer => ({ outcome: "answered", status: 200, body });
/** Longer than this nobody waits; the question can be narrowed. */
const READ_MS = 20_000;
const MALFORMED = no("invalid", 400, "the question is malformed");

/** Rejects where the API server or the store cannot be asked: then nothing is answered. */
export function createReadApi(options: ReadApiOptions): ReadApi {
  const { store, clock, readers, log, thread } = options;

  /** Null: it may; else the answer. "": everything. */
  async function refused(
    reader: Reader,
    verb: "get" | "accept",
    namespaces: readonly string[],
  ): Promise<ReadAnswer | null> {
    for (const namespace of namespaces)
      if (!(await readers.may(reader, verb, namespace))) {
        const where = namespace === "" ? "every namespace" : `namespace ${namespace}`;
        return no("denied", 403, `${reader.user} may not ${verb} records.sidegate.dev in ${where}`);
      }
    return null;
  }

  async function findAll(reader: Reader, body: Static<typeof FilterBody>): Promise<ReadAnswer> {
    const namespaces = body.namespaces ?? [""];
    const denied = await refused(reader, "get", namespaces);
    if (denied !== null) return denied;
    const { after: _after, before: _before, ...asked } = body;
    for (const namespace of namespaces)
      await log.record({ by: reader.user, namespace: namespace || "*", what: "find", members: { filter: asked } });
    const answer = await thread.ask({ kind: "find", filter: { ...body, maxBytes: MAX_FOUND_BYTES } }, READ_MS);
    const more = answer.reduce((sum, one) => sum + foundBytes(one), 0) >= MAX_FOUND_BYTES;
    const found: FoundWire[] = answer.map(toWire);
    return ok(more ? { found, more } : { found });
  }

  async function getOne(reader: Reader, { boot, seq }: Static<typeof GetBody>): Promise<ReadAnswer> {
    const row = await store.boot(boot);
    const error = "there is no such record, or you may not read it";
    const missing: ReadAnswer = { outcome: "answered", status: 404, body: { error, code: NO_RECORD } };
    if (row === null) return missing;
    // Acts are about every namespace, whatever the control plane's own is called.
    const namespace = row.cluster === "" && boot !== CONTROL_BOOT ? namespaceOf(row) : "";
    if ((await refused(reader, "get", [namespace])) !== null) return { ...missing, outcome: "denied" };
    await log.record({ by: reader.user, namespace: namespace || "*", what: "get", members: { id: `${boot}-${seq}` } });
    const found = await store.get(boot, seq);
    return found === null ? missing : ok({ found: toWire(found) });
  }

  async function cover(reader: Reader, { namespace, sinceMs }: Static<typeof CoverageBody>): Promise<ReadAnswer> {
    const denied = await refused(reader, "get", [namespace ?? ""]);
    if (denied !== null) return denied;
    await log.record({ by: reader.user, namespace: namespace ?? "*", what: "coverage", members: {} });
    const question = { kind: "coverage", namespace: namespace ?? null, sinceMs, nowMs: clock.wallMs() } as const;
    return ok({ boots: await thread.ask(question, READ_MS) });
  }

  async function acceptOne(reader: Reader, { boot, reason }: Static<typeof AcceptBody>): Promise<ReadAnswer> {
    const row = boot === CONTROL_BOOT ? null : await store.boot(boot);
    const namespace = row === null || row.cluster !== "" ? "" : namespaceOf(row);
    const denied = await refused(reader, "accept", [namespace]);
    if (denied !== null) return denied;
    log.spend(namespace || "*", { boot, reason, by: reader.user });
    const result = await acceptEnd(options, { boot, reason, by: reader.user, aliveMs: ALIVE_MS });
    return result.kind === "accepted" ? ok({ through: result.through }) : no("invalid", 409, result.why);
  }

  async function answer(path: string, token: string | null, text: string): Promise<ReadAnswer> {
    if (token === null) return no("unknown", 401, "a token is needed: your own, that the API server knows");
    const reader = await readers.reader(token);
    if (reader === "busy") return no("unknown", 429, "too many unknown readers at once");
    if (reader === null) return no("unknown", 401, "the API server does not know this token");
    if (path === "/v1/tip") return ok({ size: (await store.log()).size });
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch {
      return MALFORMED;
    }
    switch (path) {
      case "/v1/find":
        return find.Check(body) ? await findAll(reader, body) : MALFORMED;
      case "/v1/get":
        return get.Check(body) ? await getOne(reader, body) : MALFORMED;
      case "/v1/coverage":
        return coverage.Check(body) ? await cover(reader, body) : MALFORMED;
      case "/v1/accept":
        return accept.Check(body) ? await acceptOne(reader, body) : MALFORMED;
      default:
        return no("invalid", 404, "no such path");
    }
  }

  return async (path, token, text) => {
    try {
      return await answer(path, token, text);
    } catch (fault) {
      if (!(fault instanceof ReadingFault) || fault.code === "failed") throw fault;
      return no("failed", 503, `${fault.message}; narrow the question by time, pod or target`);
    }
  };
}
