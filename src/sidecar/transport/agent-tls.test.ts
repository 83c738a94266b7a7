import { spawn } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "#core/clock.ts";
import { makeAuthority } from "#sidecar/tls/authority.ts";
import { createLeafSource } from "#sidecar/tls/leaf-source.ts";
import {
  bugs,
  closeDoors,
  closed,
  type Door,
  makeTransport,
  openDoor,
  Recording,
  received,
} from "../../../test/support/loopback.ts";
import type { Inbound } from "../seam/stages.ts";

const NAME = "billing.test";
const leaves = createLeafSource(makeAuthority(systemClock), systemClock);

let door: Door;
beforeEach(async () => {
  door = await openDoor(makeTransport({ handshakeMs: 200 }));
});
afterEach(closeDoors);

type Outcome = Parameters<Parameters<Inbound["answerTls"]>[2]>[0];

/** What the pipeline does: waits for a ClientHello, then answers it. */
async function answered(alpn: readonly string[] = []): Promise<{ readonly leg: Inbound; readonly fault: Outcome }> {
  const { leg } = await door.next();
  return new Promise((resolve) => {
    leg.peek(
      { maxBytes: 16_384, timeoutMs: 5_000 },
      (head) => head.length > 43,
      () => {
        leg.answerTls(leaves.contextFor(NAME), alpn, (fault) => resolve({ leg, fault }));
      },
    );
  });
}

function connect(options: tls.ConnectionOptions = {}): tls.TLSSocket {
  const socket = tls.connect({ port: door.port, host: "127.0.0.1", servername: NAME, ca: leaves.caPem, ...options });
  socket.on("error", () => {});
  return socket;
}

describe("an agent that speaks TLS", () => {
  test.each(["TLSv1.2", "TLSv1.3"] as const)("is answered in %s, and the lane reads plaintext", async (version) => {
    const client = connect({ minVersion: version, maxVersion: version, ALPNProtocols: ["h2", "http/1.1"] });
    const { leg, fault } = await answered(["http/1.1"]);
    expect(fault).toBeNull();
    expect(leg.tls).toMatchObject({ sni: NAME, alpn: "http/1.1" });
    const certificate = new X509Certificate(client.getPeerX509Certificate()?.raw ?? "");
    expect(leg.tls?.endPoint).toEqual(createHash("sha256").update(certificate.raw).digest());
    const lane = new Recording();
    leg.listen(lane);
    const answer = received(client);
    client.write("ping");
    await lane.until(() => lane.text === "ping");
    leg.write("pong");
    leg.end();
    expect((await answer).toString()).toBe("pong");
    expect([leg.bytesIn, leg.bytesOut]).toEqual([4, 4]);
  });

  test("may be peeked again, on its plaintext", async () => {
    const client = connect();
    client.write("GET / HTTP/1.1\r\n");
    const { leg } = await answered();
    const head = await new Promise<string>((resolve) => {
      leg.peek(
        { maxBytes: 100, timeoutMs: 5_000 },
        (head) => head.includes(10),
        (head) => resolve(String(Buffer.from(head))),
      );
    });
    expect(head).toBe("GET / HTTP/1.1\r\n");
    const lane = new Recording();
    leg.listen(lane);
    expect(lane.text).toBe("GET / HTTP/1.1\r\n");
    client.destroy();
  });

  test("may send its ClientHello byte by byte", async () => {
    const hello = await captureHello();
    const socket = net.connect(door.port, "127.0.0.1");
    socket.setNoDelay(true);
    const got = answered();
    for (const byte of hello) socket.write(Buffer.of(byte));
    // A ServerHello (handshake record) comes back; nobody finishes.
    const [first] = (await once(socket, "data")) as [Buffer];
    expect(first[0]).toBe(0x16);
    socket.destroy();
    await got;
  });

  test("that trusts us not shows as such when it says so by an alert", async () => {
    const client = spawn(
      "openssl",
      ["s_client", "-connect", `127.0.0.1:${door.port}`, "-verify_return_error", "-servername", NAME],
      { stdio: "ignore" },
    );
    const { fault } = await answered();
    expect(fault).toBe("tls-untrusted-by-agent");
    await once(client, "exit");
  });

  test("that trusts us not shows as such when it just leaves (node)", async () => {
    const left = closed(connect({ ca: [], minVersion: "TLSv1.3" }));
    const { fault } = await answered();
    expect(fault).toBe("tls-untrusted-by-agent");
    await left;
  });

  test("that resets the connection is no client that distrusts us", async () => {
    const hello = await captureHello();
    const socket = net.connect(door.port, "127.0.0.1");
    socket.write(hello);
    socket.once("data", () => socket.resetAndDestroy());
    expect((await answered()).fault).toBe("reset");
  });

  test("that stalls in the handshake is let go, and its lane would hear of it", async () => {
    const hello = await captureHello();
    const socket = net.connect(door.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(hello);
    const { leg, fault } = await answered();
    expect(fault).toBe("timeout");
    const lane = new Recording();
    leg.listen(lane);
    await lane.seen("failed timeout");
    socket.destroy();
  });

  test("is refused by an alert when it offers no protocol of the lane", async () => {
    const client = connect({ ALPNProtocols: ["h2"] });
    const said = once(client, "error").catch((error: unknown) => [error]);
    expect((await answered(["http/1.1"])).fault).toBe("reset");
    expect((await said)[0]).toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL" });
  });

  test("that speaks no TLS after all is let go", async () => {
    const socket = net.connect(door.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: none of the kind\r\n\r\n");
    expect((await answered()).fault).toBe("reset");
    socket.destroy();
  });

  test("hears the connection's reset in the middle of its stream", async () => {
    const client = connect();
    const { leg } = await answered();
    const lane = new Recording();
    leg.listen(lane);
    client.write("ping");
    await lane.seen("data");
    const left = closed(client);
    leg.reset();
    await left;
    expect(lane.events).toEqual(["opened", "data"]);
  });

  test("gets all of 2 MB that were queued when its leg was ended, and then the connection is gone", async () => {
    const client = connect();
    client.on("end", () => client.end());
    const { leg } = await answered();
    leg.listen(new Recording());
    const gone = new Promise<void>((resolve) => leg.onGone(resolve));
    const sent = Buffer.alloc(2_000_000);
    for (let i = 0; i < sent.length; i++) sent[i] = i % 251;
    leg.write(sent);
    leg.end();
    expect((await received(client)).equals(sent)).toBe(true);
    await gone;
    expect(door.capture.connections).toBe(0);
  });

  test("is let go, and nothing else happens, when the lane's protocol name is one that ALPN cannot carry", async () => {
    const left = closed(connect());
    const { fault } = await answered(["x".repeat(300)]);
    expect(fault).toBe("reset");
    expect(bugs.splice(0)).toHaveLength(1);
    await left;
  });

  test("that breaks the TLS stream fails the leg", async () => {
    const raw = net.connect(door.port, "127.0.0.1");
    const client = tls.connect({ socket: raw, servername: NAME, ca: leaves.caPem });
    client.on("error", () => {});
    const { leg } = await answered();
    const lane = new Recording();
    leg.listen(lane);
    raw.write(Buffer.from("1703030010aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "hex"));
    await lane.seen("failed reset");
    expect(lane.events).toEqual(["opened", "failed reset"]);
    raw.destroy();
  });
});

test("a leg may be reset from inside its handshake, or its data, without harm to the process", async () => {
  for (const where of ["handshake", "data"] as const)
    for (let i = 0; i < 20; i++) {
      const client = connect();
      const left = closed(client);
      client.write("ping");
      const { leg } = await door.next();
      leg.peek(
        { maxBytes: 16_384, timeoutMs: 5_000 },
        (head) => head.length > 43,
        () => {
          leg.answerTls(leaves.contextFor(NAME), [], () => {
            if (where === "handshake") return leg.reset();
            const nothing = (): void => {};
            const listener = { opened: nothing, drained: nothing, secured: nothing, ended: nothing, failed: nothing };
            leg.listen({ ...listener, data: () => leg.reset() });
          });
        },
      );
      await left;
    }
  expect(door.capture.connections).toBe(0);
});

describe("TLS that starts in-band", () => {
  async function opened(): Promise<{ readonly socket: net.Socket; readonly leg: Inbound; readonly lane: Recording }> {
    const socket = net.connect(door.port, "127.0.0.1");
    socket.on("error", () => {});
    const { leg } = await door.next();
    leg.prepareTls(() => leaves.contextFor(NAME));
    const lane = new Recording();
    leg.listen(lane);
    return { socket, leg, lane };
  }

  test("goes on encrypted on the same connection", async () => {
    const { socket, leg, lane } = await opened();
    lane.onData = (bytes) => {
      if (String(bytes) !== "ssl?") return;
      leg.write("S");
      leg.startTls(["postgresql"]);
    };
    socket.write("ssl?");
    const [yes] = (await once(socket, "data")) as [Buffer];
    expect(yes.toString()).toBe("S");
    const client = tls.connect({ socket, servername: NAME, ca: leaves.caPem, ALPNProtocols: ["postgresql"] });
    client.write("query");
    await lane.until(() => lane.text === "ssl?query");
    expect(lane.events).toEqual(["opened", "data", "secured", "data"]);
    expect(lane.tls).toMatchObject({ sni: NAME, alpn: "postgresql" });
    const answer = received(client);
    leg.write("rows");
    leg.end();
    expect((await answer).toString()).toBe("rows");
  });

  test("refuses plaintext that the client sent without waiting", async () => {
    const { socket, leg, lane } = await opened();
    lane.onData = () => {
      leg.pause();
      socket.write("SELECT 1; -- not encrypted, and never to be taken for it");
      socket.once("data", () => leg.startTls([]));
      leg.write("S");
    };
    socket.write("ssl?");
    await lane.seen("failed plaintext-before-tls");
    expect(lane.text).toBe("ssl?");
  });

  test("fails where nobody prepared it", async () => {
    const socket = net.connect(door.port, "127.0.0.1");
    socket.on("error", () => {});
    const { leg } = await door.next();
    const lane = new Recording();
    leg.listen(lane);
    leg.startTls([]);
    await lane.seen("failed reset");
  });
});

/** The bytes of a real ClientHello. */
async function captureHello(): Promise<Buffer> {
  const server = net.createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  const client = tls.connect({ port, host: "127.0.0.1", servername: NAME });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [net.Socket];
  const [hello] = (await once(socket, "data")) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return hello;
}
