import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import path from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { closed, makeTransport, Recording, received } from "../../../test/support/loopback.ts";
import type { Accepted, SocketAddress } from "../seam/stages.ts";
import { type Capture, type CaptureOptions, startCapture } from "./capture.ts";

let capture: Capture | null = null;
afterEach(() => capture?.close());

const transport = makeTransport();

/** A capture on free ports, and what it accepted. */
async function start(options: Partial<CaptureOptions> = {}): Promise<{
  readonly port: number;
  readonly accepted: Accepted[];
  readonly next: () => Promise<Accepted>;
}> {
  const accepted: Accepted[] = [];
  let wake = (): void => {};
  capture = await startCapture({
    listeners: [{ kind: "port", port: 0 }],
    originalDestination: null,
    transport,
    onAccepted: (one) => {
      accepted.push(one);
      wake();
    },
    ...options,
  });
  const next = async (): Promise<Accepted> => {
    const { length } = accepted;
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
    const one = accepted[length];
    if (one === undefined) throw new Error("nothing was accepted");
    return one;
  };
  return { port: capture.addresses[0]?.port ?? 0, accepted, next };
}

function client(port: number, host = "127.0.0.1"): net.Socket {
  const socket = net.connect({ port, host, allowHalfOpen: true });
  socket.on("error", () => {});
  return socket;
}

describe.each([true, false])("a capture (with Node's internals: %s)", (internals) => {
  test("accepts on both families, and says who came and where to", async () => {
    const destination = { address: "203.0.113.7", port: 443 };
    const { port, next } = await start({ internals, originalDestination: () => destination });
    expect(capture?.addresses.map(({ address }) => address)).toEqual(["127.0.0.1", "::1"]);
    for (const host of ["127.0.0.1", "::1"]) {
      const coming = next();
      const socket = client(port, host);
      const { leg, client: from, original } = await coming;
      expect(from).toEqual({ address: host, port: socket.localPort });
      expect(original).toEqual(destination);
      const lane = new Recording();
      leg.listen(lane);
      socket.end("hello");
      await lane.seen("ended");
      const answer = received(socket);
      leg.write("hi");
      leg.end();
      expect((await answer).toString()).toBe("hi");
    }
  });

  test("resets what is over its limit, counts it, and takes more when one has gone", async () => {
    const { port, accepted, next } = await start({ internals, maxConnections: 1 });
    const coming = next();
    client(port);
    const { leg } = await coming;
    const second = client(port);
    let code = "";
    second.on("error", (error: NodeJS.ErrnoException) => {
      code = error.code ?? "";
    });
    await closed(second.resume());
    expect([code, accepted.length, capture?.overLimit, capture?.connections]).toEqual(["ECONNRESET", 1, 1, 1]);
    const gone = new Promise<void>((resolve) => leg.onGone(resolve));
    leg.reset();
    await gone;
    expect(capture?.connections).toBe(0);
    const again = next();
    client(port);
    await again;
    expect(capture?.accepted).toBe(2);
  });

  test("that stops accepting lets open connections go on, and closing resets them", async () => {
    const { port, next } = await start({ internals });
    const coming = next();
    const socket = client(port);
    const { leg } = await coming;
    const lane = new Recording();
    leg.listen(lane);
    await capture?.stopAccepting();
    const late = client(port);
    const [error] = (await once(late, "error").catch((error: unknown) => [error])) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ECONNREFUSED");
    socket.write("still here");
    await lane.until(() => lane.text === "still here");
    const left = closed(socket);
    await capture?.close();
    await left;
  });
});

describe("an original destination", () => {
  const ask = async (
    original: SocketAddress | null,
    options: Partial<CaptureOptions> = {},
  ): Promise<SocketAddress | null> => {
    let own: SocketAddress | null = null;
    const { port, next } = await start({ originalDestination: () => original ?? own, ...options });
    own = { address: "127.0.0.1", port };
    const coming = next();
    client(port);
    return (await coming).original;
  };

  test("that is our own listener is none", async () => {
    expect(await ask(null)).toBeNull();
  });

  test("that is another listener of ours is none", async () => {
    const admin = { address: "10.0.0.9", port: 15_890 };
    expect(await ask(admin, { ours: [admin] })).toBeNull();
    await capture?.close();
    expect(await ask({ address: "10.0.0.8", port: 15_890 }, { ours: [admin] })).not.toBeNull();
  });

  test("is none where the kernel cannot be asked", async () => {
    expect(await ask({ address: "10.0.0.9", port: 1 }, { originalDestination: null })).toBeNull();
  });
});

describe("a listening socket of another process", () => {
  test("is served here after it was handed over", async () => {
    const giver = fork("--input-type=module", [], {
      execArgv: [
        "-e",
        `import net from "node:net";
         const server = net.createServer();
         server.listen(0, "127.0.0.1", () => process.send("server", server, () => server.close()));
         process.on("disconnect", () => process.exit());`,
      ],
    });
    const [, server] = (await once(giver, "message")) as [string, net.Server];
    const { port, next } = await start({ listeners: [{ kind: "server", server }] });
    giver.disconnect();
    await once(giver, "exit");
    const coming = next();
    const socket = client(port);
    const { leg } = await coming;
    const lane = new Recording();
    leg.listen(lane);
    socket.end("from another namespace");
    await lane.seen("ended");
    expect(lane.text).toBe("from another namespace");
    const answer = received(socket);
    leg.end();
    expect((await answer).length).toBe(0);
  });

  test("may come as a file descriptor", async () => {
    const made = net.createServer();
    await new Promise<void>((resolve) => made.listen(0, "127.0.0.1", resolve));
    const { port } = made.address() as net.AddressInfo;
    const capturing = `
      import { startCapture } from ${JSON.stringify(path.join(import.meta.dirname, "capture.ts"))};
      const accepted = [];
      const transport = { inbound: () => ({ onGone() {}, reset() {} }) };
      const onAccepted = ({ client }) => { console.log(client.port); process.exit(); };
      await startCapture({ listeners: [{ kind: "fd", fd: 3 }], originalDestination: null, transport, onAccepted });
      console.log("listening");`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", capturing], {
      stdio: ["ignore", "pipe", "inherit", descriptorOf(made)],
    });
    const { stdout } = child;
    if (stdout === null) throw new Error("no pipe");
    await once(stdout, "data");
    made.close();
    const socket = client(port);
    const [said] = (await once(stdout, "data")) as [Buffer];
    expect(Number(said.toString())).toBe(socket.localPort);
  });
});

function descriptorOf(server: net.Server): number {
  const { _handle: handle } = server as unknown as { readonly _handle: { readonly fd: number } };
  return handle.fd;
}

test("a port that is taken is an error, and leaves no listener behind", async () => {
  const taken = net.createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as net.AddressInfo;
  const options = { originalDestination: null, transport, onAccepted: () => {} };
  const listeners = [
    { kind: "port", port: 0, host: "127.0.0.1" },
    { kind: "port", port },
  ] as const;
  await expect(startCapture({ ...options, listeners })).rejects.toMatchObject({ code: "EADDRINUSE" });
  taken.close();
});
