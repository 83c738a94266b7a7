/**
 * An attack on a gateway, with two agents beside it who go on asking, and its memory watched. The attack is the test's; that
 * nobody else notices it, and that it costs no more memory than allowed, is looked at here.
 */
import type net from "node:net";
import type { Target } from "#contract/target.ts";
import type { Gateway } from "./sidecar.ts";
import { ask, type Heard, HOST, heard, Kept } from "./sidecar-client.ts";
import { MemoryWatch } from "./sidecar-memory.ts";
import { httpsUpstream, httpUpstream, targetTo, type Upstream } from "./sidecar-upstream.ts";

const GROWTH_MIB = 32;
export const SECURE = "secure.test";
export const GIB = 1_073_741_824;
const OTHERS = "/beside";

/** Upstreams of ordinary agents, and what reached the plain one besides them. */
export interface Ordinary {
  readonly plain: Upstream;
  readonly targets: readonly Target[];
  readonly reached: readonly string[];
  close(): Promise<void>;
}

export async function ordinary(): Promise<Ordinary> {
  const reached: string[] = [];
  const plain = await httpUpstream((request, response) => {
    if (request.url !== OTHERS) reached.push(request.url ?? "");
    request.resume();
    request.on("end", () => response.end("ok"));
  });
  const secure = await httpsUpstream(SECURE, (_request, response) => response.end("ok"));
  return {
    plain,
    reached,
    targets: [
      targetTo(plain, { name: "api", hosts: [HOST] }),
      targetTo(secure, { name: "secure", hosts: [SECURE], ports: [443], upstream: { ca: secure.caPem } }),
    ],
    async close() {
      await plain.close();
      await secure.close();
    },
  };
}

/** Begins when the gateway has served a little and is idle again. */
export class Attacked {
  readonly #gateway: Gateway;
  readonly #memory: MemoryWatch;

  private constructor(gateway: Gateway) {
    this.#gateway = gateway;
    this.#memory = new MemoryWatch(gateway.sidecarPid);
  }

  static async idle(gateway: Gateway): Promise<Attacked> {
    for (let i = 0; i < 100; i++) {
      await ask(gateway, { path: OTHERS });
      if (i % 10 === 0) await ask(gateway, { host: SECURE, secure: true });
    }
    return new Attacked(gateway);
  }

  end(): void {
    this.#memory.end();
  }

  /** Runs `attack`; meanwhile two agents go on asking, in plain and over TLS, and every answer is right. `growthMib`: allowed. */
  async by<T>(what: string, attack: () => Promise<T>, growthMib = GROWTH_MIB): Promise<T> {
    const over = new AbortController();
    const beside = [this.#agent(false, over.signal), this.#agent(true, over.signal)];
    const [outcome] = await Promise.allSettled([attack()]);
    over.abort();
    const answered = (await Promise.all(beside)).reduce((sum, count) => sum + count, 0);
    const growth = this.#memory.growthMib();
    console.log(`${what}: ${growth.toFixed(1)} MiB over idle so far, ${answered} requests answered beside it`);
    if (outcome.status === "rejected") throw outcome.reason;
    if (growth > growthMib) throw new Error(`${what} cost ${growth} MiB, more than ${growthMib}`);
    return outcome.value;
  }

  /** How often it asked. A connection serves ten requests; between two it thinks, so that the load is the attack's. */
  async #agent(secure: boolean, over: AbortSignal): Promise<number> {
    const host = secure ? SECURE : HOST;
    let on: Kept | null = null;
    let count = 0;
    do {
      if (on === null || count % 10 === 0) {
        on?.socket.destroy();
        const to = { host, port: secure ? 443 : 80 };
        on = new Kept(secure ? await this.#gateway.secure(to) : await this.#gateway.connect(to));
      }
      const { body } = await ask(this.#gateway, { on, host, path: OTHERS });
      if (body !== "ok") throw new Error(`an agent beside the attack got: ${body}`);
      count++;
      await new Promise((resolve) => setTimeout(resolve, 5));
    } while (!over.aborted);
    on.socket.destroy();
    return count;
  }
}

/** Sends the piece again and again until the other side has ended the connection, or `most` bytes were taken. */
export async function flood(
  socket: net.Socket,
  piece: string | Buffer,
  most: number,
): Promise<Heard & { sent: number }> {
  const answer = heard(socket);
  let sent = 0;
  const more = (): void => {
    while (sent < most && !socket.destroyed && !socket.writableEnded) {
      sent += piece.length;
      if (!socket.write(piece)) return void socket.once("drain", more);
    }
    if (!socket.destroyed) socket.end();
  };
  more();
  return { ...(await answer), sent };
}
