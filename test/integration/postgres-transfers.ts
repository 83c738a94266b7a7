/**
 * Large transfers over the PostgreSQL lane: the whole gateway (the real sidecar, a process of its own) in front of a real server, a
 * client that counts what it reads and keeps nothing, and what it cost the sidecar. For postgres-transfers.test.ts and, at full size,
 * for bench/parts/postgres-bulk.ts.
 */
import { once } from "node:events";
import type net from "node:net";
import { queryText } from "#sidecar/lanes/postgres/codec/frontend.ts";
import { startupText } from "#sidecar/lanes/postgres/codec/startup.ts";
import { message, utf8 } from "#sidecar/lanes/postgres/codec/text.ts";
import { cpuNs } from "../../bench/process.ts";
import { type Gateway, startGateway } from "../support/sidecar.ts";
import { MemoryWatch } from "../support/sidecar-memory.ts";
import { type PostgresServer, startPostgres } from "./postgres-server.ts";

const HOST = "db.test";
/** A row of it is about 100 bytes as COPY writes it: ten million are a gigabyte. */
const ROW_NOTE = 55;

export interface Transferred {
  readonly rows: number;
  /** Of the rows' bodies. */
  readonly bytes: number;
  readonly first: string;
  /** CommandComplete's. */
  readonly tag: string;
}

export interface Cost {
  readonly rows: number;
  readonly mib: number;
  readonly seconds: number;
  readonly cpuUsPerRow: number;
  /** Resident memory at its peak over idle. */
  readonly growthMib: number;
}

/** Reads as fast as it can, or not at all. */
export class BulkClient {
  readonly socket: net.Socket;
  #chunks: Buffer[] = [];
  #wanted = 0;
  #over = false;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("error", () => {});
  }

  async login(): Promise<void> {
    this.socket.write(
      startupText({
        minor: 0,
        parameters: [
          ["user", "agent"],
          ["database", "postgres"],
        ],
      }),
      "latin1",
    );
    await this.#until(() => {});
  }

  /** Up to ReadyForQuery. `feed`: rows for COPY … FROM STDIN, each piece some CopyData messages. Throws on an ErrorResponse. */
  async run(sql: string, feed?: Iterable<Buffer>): Promise<Transferred> {
    this.socket.write(queryText(utf8(sql)), "latin1");
    let rows = 0;
    let bytes = 0;
    let first = "";
    let tag = "";
    let fault: string | null = null;
    await this.#until((type, body) => {
      switch (type) {
        case 0x44: // DataRow
        case 0x64: // CopyData
          if (rows === 0) first = body.toString("utf8");
          rows++;
          bytes += body.length;
          return;
        case 0x43:
          tag = body.toString("latin1", 0, body.length - 1);
          return;
        case 0x45:
          fault = body.toString("utf8").replaceAll("\0", " ");
          return;
        case 0x47:
          void this.#feed(feed ?? []);
          return;
      }
    });
    if (fault !== null) throw new Error(fault);
    return { rows, bytes, first, tag };
  }

  end(): void {
    this.socket.destroy();
  }

  async #feed(pieces: Iterable<Buffer>): Promise<void> {
    for (const piece of pieces) {
      if (this.socket.destroyed) return;
      if (!this.socket.write(piece)) await once(this.socket, "drain");
    }
    this.socket.write(message("c", ""), "latin1");
  }

  async #until(each: (type: number, body: Buffer) => void): Promise<void> {
    this.#over = false;
    await new Promise<void>((resolve, reject) => {
      const closed = (): void => reject(new Error("the connection has ended"));
      const data = (chunk: Buffer): void => {
        this.#take(chunk, each);
        if (!this.#over) return;
        this.socket.off("data", data);
        this.socket.off("close", closed);
        resolve();
      };
      this.socket.on("data", data);
      this.socket.once("close", closed);
      if (this.socket.destroyed) closed();
    });
  }

  #take(chunk: Buffer, each: (type: number, body: Buffer) => void): void {
    this.#chunks.push(chunk);
    this.#wanted -= chunk.length;
    if (this.#wanted > 0) return;
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    let at = 0;
    for (;;) {
      const left = bytes.length - at;
      const length = left < 5 ? 5 : bytes.readUInt32BE(at + 1) + 1;
      if (left < length) {
        this.#chunks = left === 0 ? [] : [bytes.subarray(at)];
        this.#wanted = length - left;
        return;
      }
      const type = bytes[at] ?? 0;
      each(type, bytes.subarray(at + 5, at + length));
      if (type === 0x5a) this.#over = true;
      at += length;
    }
  }
}

export class TransferBench {
  readonly gateway: Gateway;
  readonly server: PostgresServer;
  readonly rows: number;

  private constructor(gateway: Gateway, server: PostgresServer, rows: number) {
    this.gateway = gateway;
    this.server = server;
    this.rows = rows;
  }

  /** `rows` in public.people (its e-mail is masked) and in public.plain, the same ones. */
  static async start(bin: string, rows: number): Promise<TransferBench> {
    const server = await startPostgres(bin, {
      hba: ["host all all 127.0.0.1/32 trust"],
      conf: ["max_wal_size=8GB", "wal_level=minimal", "max_wal_senders=0", "autovacuum=off"],
      sql: `
        create role agent login;
        create unlogged table plain (id int, email text, note text);
        insert into plain select g, 'user' || g || '@confidential.example', repeat('n', ${ROW_NOTE}) from generate_series(1, ${rows}) g;
        create unlogged table people (id int, email text, note text);
        insert into people select * from plain;
        create unlogged table sink (id int, email text, note text);
        grant all on all tables in schema public to agent;`,
    });
    try {
      const gateway = await startGateway({
        policy: {
          policies: {
            rules: `allow if true

mask contains {"selector": "public.people.email", "with": "token"} if {
	some statement in input.sql.statements
	some table in statement.tables
	table.name == "people"
}`,
          },
          targets: [
            {
              name: "db",
              hosts: [HOST],
              ports: [5_432],
              endpoints: [`127.0.0.1:${server.port}`],
              protocol: "postgres",
              tls: "none",
              insecureCredential: true,
            },
          ],
        },
      });
      return new TransferBench(gateway, server, rows);
    } catch (fault) {
      await server.close();
      throw fault;
    }
  }

  async client(): Promise<BulkClient> {
    const client = new BulkClient(await this.gateway.connect({ host: HOST, port: 5_432 }));
    await client.login();
    return client;
  }

  /** Idle: the parser is loaded, what masks mean is known, a small one of its kind has passed. */
  async measured(small: () => Promise<unknown>, act: () => Promise<Transferred>): Promise<Transferred & Cost> {
    await small();
    const pid = this.gateway.sidecarPid;
    const memory = new MemoryWatch(pid);
    try {
      const [began, before] = [performance.now(), cpuNs(pid)];
      const done = await act();
      const rows = done.rows === 0 ? Number(/\d+$/.exec(done.tag)?.[0]) : done.rows;
      return {
        ...done,
        rows,
        mib: done.bytes / 1_048_576,
        seconds: (performance.now() - began) / 1_000,
        cpuUsPerRow: (cpuNs(pid) - before) / 1_000 / rows,
        growthMib: memory.growthMib(),
      };
    } finally {
      memory.end();
    }
  }

  async close(): Promise<void> {
    await this.gateway.close();
    await this.server.close();
  }
}

/** The five large transfers, by name. */
export const TRANSFERS = ["copy-out", "copy-out masked", "select", "select masked", "copy-in"] as const;
export type TransferName = (typeof TRANSFERS)[number];

export async function transfer(bench: TransferBench, name: TransferName): Promise<Transferred & Cost> {
  const client = await bench.client();
  const masked = name.endsWith("masked");
  const table = masked ? "people" : "plain";
  try {
    if (name === "copy-in")
      return await bench.measured(
        () => client.run("copy sink from stdin", lines(1, 10)),
        () => client.run("copy sink from stdin", lines(1, bench.rows)),
      );
    const [query, small] = name.startsWith("copy")
      ? [`copy ${table} to stdout`, `copy (select id, email, note from ${table} limit 10) to stdout`]
      : [`select id, email, note from ${table}`, `select id, email, note from ${table} limit 10`];
    return await bench.measured(
      () => client.run(small),
      () => client.run(query),
    );
  } finally {
    client.end();
  }
}

/** As `plain` has them; each CopyData one row, some hundred in a piece. */
export function* lines(from: number, to: number, noteLength: number = ROW_NOTE): Generator<Buffer> {
  const note = "n".repeat(noteLength);
  for (let next = from; next <= to; ) {
    let text = "";
    for (const end = Math.min(to, next + 499); next <= end; next++)
      text += message("d", `${next}\tuser${next}@confidential.example\t${note}\n`);
    yield Buffer.from(text, "latin1");
  }
}
