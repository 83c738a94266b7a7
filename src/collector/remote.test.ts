/** What a reader's own side makes of a collector's answers, and of those that are somebody else's. */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { certificateFor } from "../../test/support/sidecar-upstream.ts";
import { NO_RECORD } from "./read-paths.ts";
import { RemoteRecords } from "./remote.ts";
import type { Filter } from "./store/port.ts";

async function asked<T>(
  answer: (question: Filter) => { readonly status?: number; readonly body: object },
  work: (records: RemoteRecords) => Promise<T>,
): Promise<T> {
  const { caPem, key, cert } = certificateFor("localhost");
  const server = createServer({ key, cert }, (request, response) => void say(request, response));
  const say = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const { status = 200, body } = answer(JSON.parse(Buffer.concat(parts).toString()) as Filter);
    response.writeHead(status).end(JSON.stringify(body));
  };
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const { port } = server.address() as AddressInfo;
    const options = () => Promise.resolve({ ca: caPem, servername: "localhost", headers: {} });
    return await work(new RemoteRecords({ base: new URL(`https://127.0.0.1:${port}`), options }));
  } finally {
    server.close();
  }
}

const wire = (index: number): object => ({ index, core: "e30=", end: null, sessionCore: null });

test("more than one answer holds is asked for again, back or on from the last place, until there are enough", async () => {
  const questions: object[] = [];
  // 12,000 records, of which an answer has at most 4,000, for their bytes.
  const answer = (question: Filter) => {
    const { after, before = 12_000, limit } = question;
    questions.push(question);
    const left = after === undefined ? before : 11_999 - after;
    const found = Array.from({ length: Math.min(limit, left, 4_000) }, (_, n) =>
      wire(after === undefined ? before - 1 - n : after + 1 + n),
    );
    return { body: found.length === 4_000 && limit > 4_000 ? { found, more: true } : { found } };
  };
  const places = (filter: Filter) =>
    asked(answer, async (records) => (await records.find(filter)).map(({ index }) => index));
  expect(await places({ limit: 10_000 })).toEqual(Array.from({ length: 10_000 }, (_, n) => 11_999 - n));
  expect(questions).toMatchObject([{ limit: 5_000 }, { before: 8_000, limit: 5_000 }, { before: 4_000, limit: 2_000 }]);
  expect(await places({ after: 99, limit: 50_000 })).toEqual(Array.from({ length: 11_900 }, (_, n) => 100 + n));
});

test("a record is not there only where the collector says so; a 404 of a proxy is a fault", async () => {
  const get = (body: object) =>
    asked(
      () => ({ status: 404, body }),
      (records) => records.get("aaaaaaaaaaaa", 1),
    );
  expect(await get({ error: "there is no such record", code: NO_RECORD })).toBe(null);
  await expect(get({ message: 'services "sidegate-collector" not found', code: 404 })).rejects.toThrow(/not found/);
  await expect(get({ error: "no such path" })).rejects.toThrow(/no such path/);
});
