import http from "node:http";
import https from "node:https";
import net, { type AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { limitConnect } from "./connect-limit.ts";

const undo: (() => void)[] = [];
afterEach(() => {
  for (const step of undo.splice(0)) step();
});

async function listening(server: net.Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  undo.push(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  return (server.address() as AddressInfo).port;
}

test("a peer that accepts and never shakes hands is given up in time", async () => {
  const open: net.Socket[] = [];
  const port = await listening(net.createServer((socket) => open.push(socket)));
  undo.push(() => open.forEach((socket) => socket.destroy()));
  const request = https.request({ host: "127.0.0.1", port, agent: false });
  const failed = new Promise<NodeJS.ErrnoException>((resolve) => request.once("error", resolve));
  limitConnect(request, 50);
  request.end();
  const fault = await failed;
  expect([fault.code, fault.message]).toEqual(["ETIMEDOUT", "no connection within 50 ms"]);
});

test("an answer that takes longer than the connection may is waited for", async () => {
  const late: http.ServerResponse[] = [];
  const server = http.createServer((_request, response) => void late.push(response));
  const port = await listening(server);
  undo.push(() => server.closeAllConnections());
  const request = http.request({ host: "127.0.0.1", port, agent: false });
  limitConnect(request, 20);
  const answered = new Promise<number | undefined>((resolve, reject) => {
    request.once("response", (response) => resolve(response.resume().statusCode));
    request.once("error", reject);
  });
  request.end();
  setTimeout(() => late.forEach((response) => response.end("ok")), 80);
  expect(await answered).toBe(200);
});
