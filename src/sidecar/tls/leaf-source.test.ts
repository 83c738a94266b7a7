import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import tls from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import type { Clock } from "#core/clock.ts";
import { makeAuthority } from "./authority.ts";
import { LeafNameError } from "./certificate.ts";
import { createLeafSource, LEAF_LIFE_MS } from "./leaf-source.ts";

const DAY = 86_400_000;
let nowMs = Date.now();
const clock: Clock = { wallMs: () => nowMs, elapsedMs: () => 0 };
afterEach(() => {
  nowMs = Date.now();
});

const source = (capacity?: number) => createLeafSource(makeAuthority(clock), clock, capacity);

test("the same name gets the same context, another name another one", () => {
  const leaves = source();
  const first = leaves.contextFor("a.example");
  expect(leaves.contextFor("a.example")).toBe(first);
  expect(leaves.contextFor("b.example")).not.toBe(first);
});

test("no more contexts are kept than the bound, the least used goes first", () => {
  const leaves = source(2);
  const a = leaves.contextFor("a.example");
  const b = leaves.contextFor("b.example");
  leaves.contextFor("a.example");
  leaves.contextFor("c.example");
  expect(leaves.contextFor("a.example")).toBe(a);
  expect(leaves.contextFor("b.example")).not.toBe(b);
});

test("leaves are new each day, and when the clock was set back", () => {
  const leaves = source();
  const first = leaves.contextFor("a.example");
  nowMs += DAY - 1;
  expect(leaves.contextFor("a.example")).toBe(first);
  nowMs += 1;
  const second = leaves.contextFor("a.example");
  expect(second).not.toBe(first);
  nowMs -= 2 * DAY;
  expect(leaves.contextFor("a.example")).not.toBe(second);
});

test("a name that no certificate can carry is refused, and not kept", () => {
  const leaves = source();
  expect(() => leaves.contextFor("*.example")).toThrow(LeafNameError);
  expect(() => leaves.contextFor("*.example")).toThrow(LeafNameError);
});

interface Outcome {
  readonly certificate: tls.PeerCertificate;
  readonly reused: boolean;
  readonly protocol: string | null;
  readonly session: Buffer | null;
}

/** One handshake over loopback with `context`; the client trusts `caPem` and asks for `name`. */
async function handshake(
  leaves: ReturnType<typeof source>,
  name: string,
  client: tls.ConnectionOptions & { checkName?: string } = {},
): Promise<Outcome> {
  // As the transport does it: TLS on an accepted socket.
  const server = net.createServer((raw) => {
    const socket = new tls.TLSSocket(raw, { isServer: true, secureContext: leaves.contextFor(name) });
    socket.on("error", () => socket.destroy());
    socket.end("x");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  try {
    const servername = client.checkName ?? name;
    const socket = tls.connect({ port, host: "127.0.0.1", ca: leaves.caPem, servername, ...client });
    let session: Buffer | null = null;
    socket.on("session", (ticket) => {
      session = ticket;
    });
    await once(socket, "secureConnect");
    const outcome = {
      certificate: socket.getPeerCertificate(),
      reused: socket.isSessionReused(),
      protocol: socket.getProtocol(),
    };
    socket.resume();
    await once(socket, "close");
    return { ...outcome, session };
  } finally {
    server.close();
  }
}

describe("a client that trusts the authority", () => {
  test("is answered for the name, with a leaf of a week at most that began before now", async () => {
    const { certificate } = await handshake(source(), "api.example.com");
    expect(certificate.subjectaltname).toBe("DNS:api.example.com");
    const from = Date.parse(certificate.valid_from);
    expect(from).toBeLessThanOrEqual(nowMs - 3_599_000);
    expect(Date.parse(certificate.valid_to) - nowMs).toBeLessThanOrEqual(LEAF_LIFE_MS);
  });

  test("does not accept it for another name", async () => {
    await expect(handshake(source(), "api.example.com", { checkName: "www.example.com" })).rejects.toThrow(
      /does not match certificate's altnames/,
    );
  });

  test("speaks TLS 1.2 or later", async () => {
    const leaves = source();
    expect((await handshake(leaves, "a.example", { maxVersion: "TLSv1.2" })).protocol).toBe("TLSv1.2");
    expect((await handshake(leaves, "a.example")).protocol).toBe("TLSv1.3");
    await expect(
      handshake(leaves, "a.example", { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" }),
    ).rejects.toThrow(/alert|disconnected/);
  });

  test.each(["TLSv1.2", "TLSv1.3"] as const)(
    "resumes its session of that name with %s, not of another",
    async (version) => {
      const leaves = source();
      const options = { minVersion: version, maxVersion: version };
      const { session } = await handshake(leaves, "a.example", options);
      expect(session).not.toBeNull();
      const again = session === null ? {} : { session };
      expect((await handshake(leaves, "a.example", { ...options, ...again })).reused).toBe(true);
      expect((await handshake(leaves, "b.example", { ...options, ...again })).reused).toBe(false);
    },
  );
});

test("a leaf never outlives its authority", async () => {
  const authority = makeAuthority(clock);
  nowMs += 363 * DAY;
  const leaves = createLeafSource(authority, clock);
  // The client's clock is the machine's: look at the leaf without checking it.
  const { certificate } = await handshake(leaves, "a.example", { rejectUnauthorized: false });
  expect(Date.parse(certificate.valid_to)).toBeLessThanOrEqual(authority.validity.untilMs);
});
