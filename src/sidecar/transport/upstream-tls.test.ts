import { createHash, generateKeyPairSync, X509Certificate } from "node:crypto";
import net from "node:net";
import tls from "node:tls";
import { afterEach, describe, expect, test, vi } from "vitest";
import { systemClock } from "#core/clock.ts";
import { makeAuthority } from "#sidecar/tls/authority.ts";
import { leafCertificate, pem, spkiOf } from "#sidecar/tls/certificate.ts";
import { closeDoors, Gate, makeTransport, permit, Recording, received, serve } from "../../../test/support/loopback.ts";
import type { ConnectTo, Outbound } from "../seam/stages.ts";

const NAME = "billing.test";
const HOUR = 3_600_000;
const authority = makeAuthority(systemClock);

interface Leaf {
  readonly key: string;
  readonly cert: string;
}

function leaf(name: string, issuer = authority, untilMs = systemClock.wallMs() + HOUR): Leaf {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const validity = { fromMs: systemClock.wallMs() - 2 * HOUR, untilMs };
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }),
    cert: pem(leafCertificate(issuer, name, spkiOf(publicKey), validity)),
  };
}

const good = leaf(NAME);

function server(options: tls.TlsOptions, serve: (socket: tls.TLSSocket) => void = () => {}): Promise<number> {
  const server = tls.createServer({ ...good, ...options }, (socket) => {
    socket.on("error", () => {});
    serve(socket);
  });
  server.on("tlsClientError", () => {});
  return listen(server);
}
const listen = serve;

const transport = makeTransport({ roots: [authority.caPem], handshakeMs: 200 });

interface Asked extends Partial<NonNullable<ConnectTo["tls"]>> {
  readonly timeoutMs?: number;
  readonly over?: typeof transport;
}

function connect(port: number, asked: Asked = {}): { readonly leg: Outbound; readonly events: Recording } {
  const events = new Recording();
  const { timeoutMs = 5_000, over = transport, serverName = NAME, ca = null, alpn = [] } = asked;
  const leg = over.connect(
    { address: "127.0.0.1", port, timeoutMs, tls: { serverName, ca, alpn } },
    new Gate(),
    events,
  );
  return { leg, events };
}

/** The only event is this failure. */
async function fails(port: number, fault: string, asked: Asked = {}): Promise<void> {
  const { events } = connect(port, asked);
  await events.until(() => events.events.length > 0);
  expect(events.events).toEqual([`failed ${fault}`]);
}

afterEach(closeDoors);

describe("TLS to an upstream", () => {
  test.each(["TLSv1.2", "TLSv1.3"] as const)(
    "is verified, carries what waited for it, and says what was agreed (%s)",
    async (version) => {
      let got: Promise<Buffer> | undefined;
      const port = await server({ minVersion: version, maxVersion: version, ALPNProtocols: ["http/1.1"] }, (socket) => {
        got = received(socket);
        socket.write("pong");
        socket.on("end", () => socket.end());
      });
      const { leg, events } = connect(port, { alpn: ["http/1.1"] });
      leg.write(permit, "ping");
      leg.end();
      await events.seen("ended");
      expect((await got)?.toString()).toBe("ping");
      expect(events.text).toBe("pong");
      expect(events.events).toEqual(["opened", "data", "ended"]);
      expect(leg.tls).toMatchObject({ sni: NAME, alpn: "http/1.1" });
      expect([leg.bytesIn, leg.bytesOut]).toEqual([4, 4]);
    },
  );

  test("gives the hash of the server's certificate to bind to", async () => {
    const { events, leg } = connect(await server({}));
    await events.seen("opened");
    expect(leg.tls?.endPoint).toEqual(createHash("sha256").update(new X509Certificate(good.cert).raw).digest());
    leg.reset();
  });

  test("is refused when the certificate chains to no root of ours", async () => {
    await fails(await server(leaf(NAME, makeAuthority(systemClock))), "tls-bad-upstream");
  });

  test("is refused when the certificate has expired", async () => {
    await fails(await server(leaf(NAME, authority, systemClock.wallMs() - HOUR)), "tls-bad-upstream");
  });

  test("is refused when the certificate is another name's", async () => {
    await fails(await server(leaf("other.test")), "tls-name");
  });

  test("is not weakened by NODE_TLS_REJECT_UNAUTHORIZED", async () => {
    vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
    try {
      await fails(await server(leaf("other.test")), "tls-name");
      await fails(await server(leaf(NAME, makeAuthority(systemClock))), "tls-bad-upstream");
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test("trusts a target's own CA instead of the roots", async () => {
    const own = makeAuthority(systemClock);
    const port = await server(leaf(NAME, own));
    const { events, leg } = connect(port, { ca: own.caPem });
    await events.seen("opened");
    leg.reset();
    await fails(await server({}), "tls-bad-upstream", { ca: own.caPem });
    await fails(port, "tls-bad-upstream", { ca: "no certificate" });
  });

  test("to an address literal verifies the address, and sends no SNI", async () => {
    let sni: unknown;
    const port = await server(leaf("127.0.0.1"), (socket) => {
      sni = (socket as { servername?: unknown }).servername;
      socket.write("hello");
    });
    const { events, leg } = connect(port, { serverName: "127.0.0.1" });
    await events.seen("data");
    leg.reset();
    expect(sni).toBe(false);
    await fails(await server(leaf("127.0.0.2")), "tls-name", { serverName: "127.0.0.1" });
  });

  test("is not spoken below 1.2", async () => {
    await fails(
      await server({ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }),
      "tls-bad-upstream",
    );
  });

  test("with a server that speaks something else fails as such", async () => {
    const port = await listen(
      net.createServer((socket) => socket.on("error", () => {}).end("220 mail ESMTP ready\r\n")),
    );
    await fails(port, "tls-bad-upstream");
  });

  test("with a server that says nothing ends by its time limit", async () => {
    await fails(await listen(net.createServer((socket) => socket.on("error", () => {}))), "timeout", { timeoutMs: 50 });
  });

  test("with a server that hangs up ends at once", async () => {
    await fails(await listen(net.createServer((socket) => socket.destroy())), "reset");
  });

  test.each(["TLSv1.2", "TLSv1.3"] as const)(
    "resumes a session with the same server, and with no other (%s)",
    async (version) => {
      const reused: boolean[] = [];
      const port = await server({ minVersion: version, maxVersion: version }, (socket) => {
        reused.push(socket.isSessionReused());
        socket.write("hello");
      });
      const once = async (asked: Asked = {}): Promise<void> => {
        const { events, leg } = connect(port, { over: fresh, ...asked });
        await events.seen("data");
        expect(leg.tls?.endPoint).not.toBeNull();
        leg.reset();
      };
      const fresh = makeTransport({ roots: [authority.caPem] });
      await once();
      await once();
      // The same certificate under the same roots, but trusted for another reason.
      await once({ ca: authority.caPem });
      expect(reused).toEqual([false, true, false]);
      const { events } = connect(port, { over: fresh, serverName: "other.test" });
      await events.seen("failed tls-name");
    },
  );
});

describe("a leg that is reset from inside an event of its TLS", () => {
  // Node frees OpenSSL's state at once when the TLS socket itself is destroyed there: a segmentation fault of the process.
  test.each(["opened", "data", "ended"] as const)("is gone without harm (%s)", async (event) => {
    const port = await server({}, (socket) => socket.end("hello"));
    for (let i = 0; i < 20; i++) {
      const events = new Recording();
      let leg: Outbound | null = null;
      const gone = new Promise<void>((resolve) => {
        const reset = (): void => {
          leg?.reset();
          resolve();
        };
        const nothing = (): void => {};
        const listener = { opened: nothing, data: nothing, drained: nothing, secured: nothing, ended: nothing };
        const tls = { serverName: NAME, ca: null, alpn: [] };
        const to = { address: "127.0.0.1", port, timeoutMs: 5_000, tls };
        const failed = (fault: string): void => events.failed(fault as "reset");
        leg = transport.connect(to, new Gate(), { ...listener, failed, [event]: reset });
        leg.write(permit, Buffer.alloc(100_000));
      });
      await gone;
      expect(events.events).toEqual([]);
    }
  });
});

describe("TLS that starts in-band", () => {
  test("verifies the upstream like any other", async () => {
    const port = await upgrading(good);
    const events = new Recording();
    const to: ConnectTo = {
      address: "127.0.0.1",
      port,
      timeoutMs: 5_000,
      tls: null,
      inBand: { serverName: NAME, ca: null },
    };
    const leg = transport.connect(to, new Gate(), events);
    events.onData = (bytes) => {
      if (String(bytes) === "S") leg.startTls(["postgresql"]);
    };
    leg.write(permit, "ssl?");
    await events.seen("secured");
    leg.write(permit, "query");
    await events.until(() => events.text === "Srows");
    expect(events.events).toEqual(["opened", "data", "secured", "data"]);
    leg.reset();
  });

  test("fails on another name's certificate, and where nothing says what to verify", async () => {
    for (const [inBand, fault] of [
      [{ serverName: NAME, ca: null }, "tls-name"],
      [undefined, "reset"],
    ] as const) {
      const port = await upgrading(leaf("other.test"));
      const events = new Recording();
      const to = {
        address: "127.0.0.1",
        port,
        timeoutMs: 5_000,
        tls: null,
        ...(inBand === undefined ? {} : { inBand }),
      };
      const leg = transport.connect(to, new Gate(), events);
      events.onData = () => leg.startTls([]);
      leg.write(permit, "ssl?");
      await events.seen(`failed ${fault}`);
      expect(events.events).toEqual(["opened", "data", `failed ${fault}`]);
    }
  });

  /** Says yes to the first bytes, then answers TLS on the same connection. */
  function upgrading(with_: Leaf): Promise<number> {
    return listen(
      net.createServer((socket) => {
        socket.on("error", () => {});
        socket.once("data", () => {
          socket.pause();
          socket.write("S");
          const secure = new tls.TLSSocket(socket, { isServer: true, ...with_ });
          secure.on("error", () => {});
          secure.once("data", () => secure.write("rows"));
        });
      }),
    );
  }
});
