/**
 * What a hostile upstream answers: too little, too much, two things at once, or without an end. An agent never takes a part for the
 * whole or another's bytes for its own; the gateway's memory is bounded, the record says what happened, agents beside it notice nothing.
 */
import type net from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Gateway, startGateway } from "../support/sidecar.ts";
import { Attacked, flood, GIB, type Ordinary, ordinary } from "../support/sidecar-attack.ts";
import { ask, type Heard, heard } from "../support/sidecar-client.ts";
import { rawUpstream, targetTo, type Upstream } from "../support/sidecar-upstream.ts";

let gateway: Gateway;
let others: Ordinary;
let liar: Upstream;
let attacked: Attacked;
/** What the liar does once it has read a request, by path. */
const lies = new Map<string, (socket: net.Socket) => void>();

beforeAll(async () => {
  others = await ordinary();
  liar = await rawUpstream((socket) => {
    socket.on("data", (head: Buffer) => lies.get(head.toString("latin1").split(" ")[1] ?? "")?.(socket));
  });
  gateway = await startGateway({
    policy: {
      policies: { everything: "allow if true" },
      targets: [...others.targets, targetTo(liar, { name: "liar", hosts: ["liar.test"], protocol: "http" })],
    },
  });
  attacked = await Attacked.idle(gateway);
});

afterAll(async () => {
  attacked?.end();
  await gateway?.close();
  await others?.close();
  await liar?.close();
});

/** Outcomes of the requests to the liar on this path. */
async function outcome(path: string): Promise<string> {
  const [event] = await gateway.recordsUntil((events) => events.some((e) => e.outcome !== null), {
    text: `"${path}"`,
    verdict: "allow",
  });
  return event?.outcome?.status ?? "";
}

/** The liar's answer as an agent gets it: a status, or a broken connection. */
function answerOf(path: string): Promise<string> {
  return ask(gateway, { host: "liar.test", path }).then(
    ({ status }) => String(status),
    () => "reset",
  );
}

/** The liar's answer, byte for byte. */
async function listen(path: string): Promise<Heard> {
  const socket = await gateway.connect({ host: "liar.test", port: 80 });
  const came = heard(socket);
  socket.write(`GET ${path} HTTP/1.1\r\nHost: liar.test\r\nConnection: close\r\n\r\n`);
  return came;
}

const OK = "HTTP/1.1 200 OK\r\n";
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`;

test("a body longer than its length: the agent gets what was announced, and the connection is not used again", async () => {
  lies.set("/long", (socket) => socket.write(`${OK}Content-Length: 4\r\n\r\ngood${OK}Content-Length: 4\r\n\r\nevil`));
  const { text, ended } = await attacked.by("a body longer than its length", () => listen("/long"));
  expect(text).toMatch(/\r\n\r\ngood$/);
  expect(ended).toBe("end");
  expect(await outcome("/long")).toBe("200");
  const before = liar.connections();
  lies.set("/next", (socket) => socket.write(`${OK}Content-Length: 4\r\n\r\nnext`));
  expect((await ask(gateway, { host: "liar.test", path: "/next" })).body).toBe("next");
  expect(liar.connections()).toBe(before + 1);
});

test.each([
  ["/short", "a body shorter than its length", `${OK}Content-Length: 100\r\n\r\nonly this`],
  ["/chunk-short", "chunks that end early", `${CHUNKED}64\r\nonly this`],
])("%s: %s ends in a reset, so that nobody takes it for the whole", async (path, what, answer) => {
  lies.set(path, (socket) => socket.end(answer));
  const { text, ended } = await attacked.by(what, () => listen(path));
  expect(text).toMatch(/only this$/);
  expect(ended).toBe("reset");
  expect(await outcome(path)).toBe("upstream_malformed");
});

test.each([
  ["/chunk-long", "a chunk longer than its size", `${CHUNKED}4\r\ngoodness\r\n0\r\n\r\n`],
  ["/chunk-wrong", "a chunk size that is no number", `${CHUNKED}zz\r\ngood`],
  ["/two-lengths", "two lengths", `${OK}Content-Length: 4\r\nContent-Length: 5\r\n\r\ngood!`],
  [
    "/both",
    "a length and chunks",
    `${OK}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n`,
  ],
  ["/two-answers-in-one", "a bare line feed in the head", `${OK}A: b\nContent-Length: 4\r\n\r\ngood`],
])("%s: %s is no answer at all: 502, or a reset where it had begun", async (path, what, answer) => {
  lies.set(path, (socket) => socket.write(answer));
  const { text, ended } = await attacked.by(what, () => listen(path));
  expect(`${ended} ${text}`).toMatch(/^(reset |end HTTP\/1\.1 502 [^]*"code":"upstream_malformed")/);
  expect(await outcome(path)).toBe("upstream_malformed");
});

test.each([
  ["/endless-head", "a head that never ends", `${OK}X: `, "x".repeat(65_536), /^502$/],
  ["/endless-lines", "header lines that never end", OK, "X-Y: z\r\n".repeat(8_192), /^502$/],
  // A head that was whole has been passed on.
  ["/endless-size", "a chunk size that never ends", `${CHUNKED}1`, "1".repeat(65_536), /^(502|reset)$/],
  [
    "/endless-interim",
    "interim answers without an end",
    "",
    "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000),
    /^(502|reset)$/,
  ],
])("%s: %s is cut off at the limit", async (path, what, begin, piece, expected) => {
  const taken = Promise.withResolvers<number>();
  lies.set(path, (socket) => {
    socket.write(begin);
    void flood(socket, piece, GIB).then(({ sent }) => taken.resolve(sent));
  });
  expect(await attacked.by(what, () => answerOf(path))).toMatch(expected);
  expect(await taken.promise).toBeLessThan(GIB / 10);
  expect(await outcome(path)).toBe("upstream_malformed");
});

test("an answer of 300 MB to agents that read none of it is held back, not kept", async () => {
  lies.set("/flood", (socket) => {
    socket.write(`${OK}Content-Length: 300000000\r\n\r\n`);
    void flood(socket, Buffer.alloc(65_536, "f"), 300_000_000);
  });
  await attacked.by("an answer that nobody reads", async () => {
    const sockets = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const socket = await gateway.connect({ host: "liar.test", port: 80 });
        socket.write("GET /flood HTTP/1.1\r\nHost: liar.test\r\n\r\n");
        return socket;
      }),
    );
    // They fill what the kernel and the gateway hold; then the agents leave.
    for (let i = 0; i < 40; i++) await ask(gateway, { path: "/beside" });
    for (const socket of sockets) socket.destroy();
  });
  const gone = { text: '"/flood"', verdict: "allow" };
  const events = await gateway.recordsUntil((all) => all.length === 10 && all.every((e) => e.outcome !== null), gone);
  expect(new Set(events.map((e) => e.outcome?.status))).toEqual(new Set(["client-left"]));
});
