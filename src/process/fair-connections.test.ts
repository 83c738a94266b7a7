import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { shareConnections } from "./fair-connections.ts";

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

async function serve(max: number): Promise<(localAddress: string) => Promise<Socket>> {
  const server: Server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.write("x");
  });
  shareConnections(server, max);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  ends.push(() => void server.close());
  return async (localAddress) => {
    const socket = connect({ port, host: "127.0.0.1", localAddress });
    socket.on("error", () => undefined);
    ends.push(() => void socket.destroy());
    await Promise.race([once(socket, "data"), once(socket, "close")]);
    return socket;
  };
}

test("whoever has the most connections loses his newest, not who comes next", async () => {
  const dial = await serve(4);
  const greedy = [];
  for (let n = 0; n < 4; n++) greedy.push(await dial("127.0.0.1"));
  const last = greedy.at(-1);
  if (last === undefined) throw new Error("no connection");
  const ended = once(last, "close");
  const other = await dial("127.0.0.2");
  await ended;
  expect(other.destroyed).toBe(false);
  expect(greedy.map((socket) => socket.destroyed)).toEqual([false, false, false, true]);
  // He is refused himself when he comes again, and what has ended makes room.
  const again = await dial("127.0.0.1");
  if (!again.destroyed) await once(again, "close");
  const first = greedy[0];
  if (first === undefined) throw new Error("no connection");
  first.destroy();
  await once(first, "close");
  let more: Socket;
  do more = await dial("127.0.0.3");
  while (more.destroyed);
  expect(other.destroyed).toBe(false);
});
