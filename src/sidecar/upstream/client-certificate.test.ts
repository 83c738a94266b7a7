/** Whom we show ourselves as to an upstream: the room with the real transport under it. */
import tls from "node:tls";
import { afterEach, expect, test } from "vitest";
import type { Credential } from "#contract/credential.ts";
import { systemClock } from "#core/clock.ts";
import { madeCredential } from "../../../test/support/credential.ts";
import { closeDoors, Gate, makeTransport, permit, Recording, serve, wheel } from "../../../test/support/loopback.ts";
import { certificateFor } from "../../../test/support/sidecar-upstream.ts";
import type { Dial } from "../seam/stages.ts";
import { createUpstreams, type UpstreamRoom } from "./upstreams.ts";

const HOST = "api.example";
const rooms: UpstreamRoom[] = [];
afterEach(async () => {
  for (const room of rooms.splice(0)) room.close();
  await closeDoors();
});

function identity(name: string): Credential {
  const { cert, key } = certificateFor(name);
  return madeCredential({ name, kind: "clientCertificate", certificate: cert, secret: key });
}

/** Says on each connection which certificate it was shown, and whether the handshake was resumed. */
async function world(version: tls.SecureVersion): Promise<(who: Credential | null) => Promise<string>> {
  const { caPem, cert, key } = certificateFor(HOST);
  const server = tls.createServer(
    { cert, key, requestCert: true, rejectUnauthorized: false, minVersion: version, maxVersion: version },
    (socket) => {
      socket.on("error", () => {});
      socket.on("data", () => {
        const shown = socket.getPeerX509Certificate()?.subjectAltName ?? "nobody";
        socket.write(`${shown}${socket.isSessionReused() ? " again" : ""}\n`);
      });
    },
  );
  const port = await serve(server);
  const room = createUpstreams({
    connector: makeTransport(),
    gate: new Gate(),
    clock: systemClock,
    after: (ms, fire) => wheel.after(ms, fire),
    connectMs: 5_000,
    rules: { own: [], internal: [], allowLoopbackEndpoints: true },
    onFinding: (finding) => expect.fail(JSON.stringify(finding)),
    resolver: { resolve: (_name, then) => then({ kind: "none", why: "nxdomain" }) },
  });
  rooms.push(room);
  const target = {
    name: "api",
    hosts: [HOST],
    ports: [443],
    endpoints: [`127.0.0.1:${port}`],
    upstream: { ca: caPem },
  };
  return async (who) => {
    const dial: Dial = {
      host: HOST,
      port: 443,
      target,
      secure: true,
      alpn: [],
      pool: who === null ? "-" : `${who.name}/${who.version}`,
      fresh: true,
      identity: who,
    };
    const ear = new Recording();
    const leg = room.dial(dial, permit, ear);
    leg.write(permit, "who am I\n");
    await ear.until(() => ear.text.endsWith("\n") || ear.events.some((event) => event.startsWith("failed")));
    leg.reset();
    return ear.text === "" ? ear.events.join(", ") : ear.text.trim();
  };
}

test.each(["TLSv1.2", "TLSv1.3"] as const)(
  "H6: each connection shows its own certificate, and never resumes another's session (%s)",
  async (version) => {
    const ask = await world(version);
    const [ada, bob] = [identity("ada.example"), identity("bob.example")];
    const told: string[] = [];
    for (const who of [ada, bob, null, ada, bob, null]) told.push(await ask(who));
    // A resumed session does not show the certificate again: it is the one of the session, so its owner must be the same.
    expect(told.map((text) => text.replace(" again", ""))).toEqual([
      "DNS:ada.example",
      "DNS:bob.example",
      "nobody",
      "DNS:ada.example",
      "DNS:bob.example",
      "nobody",
    ]);
  },
);
