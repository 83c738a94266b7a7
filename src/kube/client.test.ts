import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createKube } from "./client.ts";
import { RESOURCE } from "./resources.ts";

const open = new Set<Socket>();
const server = createServer((socket) => void open.add(socket));
afterEach(() => {
  for (const socket of open) socket.destroy();
  server.close();
});

test("a watch whose beginning nobody answers ends, so that it is tried again", async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const access = { server: new URL(`https://127.0.0.1:${port}`), options: () => Promise.resolve({ headers: {} }) };
  const watch = createKube(access, 20).watch(RESOURCE.pod, {}, "1", new AbortController().signal);
  await expect(watch[Symbol.asyncIterator]().next()).rejects.toThrow("no answer within 20 ms");
});
