/**
 * A first version of the transport corrupted data under parallel downloads. So: 200 transfers at once, bulk both ways, slow
 * readers on both sides and small requests between them, plain and TLS on either leg, each byte checked by the peers (who are
 * another process). The records of each write are outstanding for a turn, as they are behind a real spool.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import type { CommitGate } from "#contract/record.ts";
import { systemClock } from "#core/clock.ts";
import type { LegEvents } from "#sidecar/seam/leg.ts";
import type { Accepted, Connector, ConnectTo } from "#sidecar/seam/stages.ts";
import { makeAuthority } from "#sidecar/tls/authority.ts";
import { createLeafSource } from "#sidecar/tls/leaf-source.ts";
import { privateBuffers } from "#sidecar/transport/lent.ts";
import { closeDoors, makeTransport, openDoor, permit } from "../support/loopback.ts";
import { type FromPeer, type Plan, SERVER_NAME } from "./transfers-peer.ts";

afterEach(closeDoors);

/** Records are written once a turn; here every second write finds some outstanding. */
class TurnGate implements CommitGate {
  clean = true;
  #then: ((ok: boolean) => void)[] = [];
  committed(then: (ok: boolean) => void): void {
    this.#then.push(then);
  }
  record(): void {
    if (!this.clean) return;
    this.clean = false;
    setImmediate(() => {
      this.clean = true;
      for (const then of this.#then.splice(0)) then(true);
    });
  }
}

/** The opaque lane in its simplest form. */
function passThrough({ leg: agent }: Accepted, connector: Connector, to: ConnectTo, gate: TurnGate): void {
  let count = 0;
  const upstream = connector.connect(to, gate, {
    opened() {},
    data(chunk) {
      if (!agent.forward(permit, chunk, 0, chunk.length)) upstream.pause();
    },
    drained: () => agent.resume(),
    secured() {},
    ended: () => agent.end(),
    failed: () => agent.reset(),
  });
  const events: LegEvents = {
    opened() {},
    data(chunk) {
      if (++count % 2 === 0) gate.record();
      if (!upstream.forward(permit, chunk, 0, chunk.length)) agent.pause();
    },
    drained: () => upstream.resume(),
    secured() {},
    ended: () => upstream.end(),
    failed: () => upstream.reset(),
  };
  agent.listen(events);
}

async function gatewayRun(count: number, bulkBytes: number, internals: boolean): Promise<FromPeer> {
  const peer = fork(path.join(import.meta.dirname, "transfers-peer.ts"), { execArgv: [], serialization: "json" });
  try {
    const [serving] = (await once(peer, "message")) as [FromPeer];
    if (serving.kind !== "serving") throw new Error("the peer did not serve");
    const transport = makeTransport({ roots: [serving.caPem] });
    const leaves = createLeafSource(makeAuthority(systemClock), systemClock);
    const gate = new TurnGate();
    const tls = { serverName: SERVER_NAME, ca: null, alpn: [] };
    const plainTo: ConnectTo = { address: "127.0.0.1", port: serving.plain, timeoutMs: 30_000, tls: null };
    const secureTo: ConnectTo = { address: "127.0.0.1", port: serving.secure, timeoutMs: 30_000, tls };
    const door = async (secure: boolean, to: ConnectTo): Promise<Plan["ports"][number]> => {
      const opened = await openDoor(transport, {
        internals,
        onAccepted: (accepted) => {
          if (!secure) return passThrough(accepted, transport, to, gate);
          accepted.leg.peek(
            { maxBytes: 16_384, timeoutMs: 30_000 },
            (head) => head.length > 5,
            () => {
              accepted.leg.answerTls(leaves.contextFor(SERVER_NAME), [], (fault) => {
                if (fault === null) passThrough(accepted, transport, to, gate);
              });
            },
          );
        },
      });
      return { port: opened.port, secure };
    };
    const ports = [
      await door(false, plainTo),
      await door(true, secureTo),
      await door(true, plainTo),
      await door(false, secureTo),
    ];
    peer.send({ ports, caPem: leaves.caPem, count, bulkBytes } satisfies Plan);
    const [done] = (await once(peer, "message")) as [FromPeer];
    return done;
  } finally {
    peer.disconnect();
  }
}

describe("200 parallel transfers", () => {
  test("arrive byte for byte, plain and TLS, whoever is slow", async () => {
    const done = await gatewayRun(200, 1_500_000, true);
    expect(done).toMatchObject({ kind: "done", transfers: 200, faults: [] });
    expect(privateBuffers()).toBe(0);
  });

  test("arrive byte for byte without Node's internals too", async () => {
    const done = await gatewayRun(40, 1_000_000, false);
    expect(done).toMatchObject({ kind: "done", transfers: 40, faults: [] });
  });
});
