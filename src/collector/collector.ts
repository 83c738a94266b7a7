/** The collector, joined: store, key, ingest, door. `cmd/collector.ts` reads the configuration and waits for the signal. */
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "#core/clock.ts";
import { openSigner } from "./checkpoint.ts";
import { createIngest, type Finding, type Sender } from "./ingest.ts";
import { type CollectorServer, type Listen, serveCollector } from "./server.ts";
import { openSqlite } from "./store/sqlite.ts";

export interface CollectorOptions {
  /** The SQLite file; its signing key lies beside it, `<path>.key`. */
  readonly database: string;
  readonly listen: Listen;
  /** Null: on a Unix socket, whose permissions decide. */
  readonly authenticate: ((authorization: string | null) => Promise<Sender | null>) | null;
  readonly clock: Clock;
  readonly onFinding: (finding: Finding, boot: string, seq: number) => void;
  readonly onError: (fault: Error) => void;
}

const LOCAL: Sender = { subject: "local", claims: null };

export function keyPath(database: string): string {
  return `${database}.key`;
}

export async function startCollector(options: CollectorOptions): Promise<CollectorServer> {
  if (options.authenticate === null && options.listen.kind !== "unix")
    throw new Error("a network listener needs an authenticator");
  mkdirSync(dirname(options.database), { recursive: true, mode: 0o700 });
  const store = openSqlite(options.database, "write");
  try {
    const signer = openSigner(keyPath(options.database), randomUUID());
    await store.setPublicKey(signer.publicPem);
    const { clock, onFinding, onError, listen } = options;
    const ingest = createIngest({ store, signer, clock, onFinding });
    const authenticate = options.authenticate ?? ((): Promise<Sender> => Promise.resolve(LOCAL));
    const server = await serveCollector({ listen, ingest, authenticate, onError });
    return {
      port: server.port,
      async close() {
        await server.close();
        await store.close();
      },
    };
  } catch (fault) {
    await store.close();
    throw fault;
  }
}
