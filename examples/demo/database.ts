/**
 * The demo's database, in a process of its own: PostgreSQL 18 as WebAssembly (PGlite), which asks nobody for a password, on a unix
 * socket; and before it, on loopback, a door that does, by SCRAM-SHA-256. Says `{"port":…}` when it can be used; ends with its stdin.
 *
 * For a demo only: the door has no limits, and the password comes in the environment.
 */
import net, { type AddressInfo } from "node:net";
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";
import { AgentProof } from "#sidecar/lanes/postgres/agent-proof.ts";
import { noticeText } from "#sidecar/lanes/postgres/codec/backend.ts";
import { readOpening } from "#sidecar/lanes/postgres/codec/startup.ts";

const [, , socketPath = ""] = process.argv;
const password = process.env["SHOP_PASSWORD"] ?? "";
if (socketPath === "" || password === "") throw new Error("usage: SHOP_PASSWORD=… database.ts SOCKET");

const SHOP = `
CREATE TABLE users (id int PRIMARY KEY, name text, email text);
INSERT INTO users VALUES (1, 'Ada', 'ada@customer.example'), (2, 'Grace', 'grace@customer.example'), (3, 'Edsger', NULL);
`;

/** What a client said, in pieces of the lengths that the protocol has. */
async function* packets(socket: net.Socket): AsyncGenerator<string> {
  let bytes = "";
  let typed = 0;
  for await (const piece of socket) {
    bytes += (piece as Buffer).toString("latin1");
    for (;;) {
      if (bytes.length < typed + 4) break;
      const length = typed + Buffer.from(bytes.slice(typed, typed + 4), "latin1").readInt32BE(0);
      if (bytes.length < length) break;
      const packet = bytes.slice(0, length);
      bytes = bytes.slice(length);
      // Behind the start-up, messages have a type in front of their length.
      if (readOpening(packet).kind === "startup") typed = 1;
      yield packet;
    }
  }
}

async function guard(socket: net.Socket): Promise<void> {
  const say = (text: string): boolean => socket.write(text, "latin1");
  let startup = "";
  let proof: AgentProof | null = null;
  // Left by `break`, the socket would be destroyed.
  const said = packets(socket);
  for (;;) {
    const { value: packet, done } = await said.next();
    if (done === true) return;
    if (proof === null) {
      const opening = readOpening(packet);
      if (opening.kind === "ssl" || opening.kind === "gssenc") say("N");
      else if (opening.kind !== "startup") return void socket.destroy();
      else {
        startup = packet;
        proof = new AgentProof({
          authentication: { method: "scram-sha-256", placeholder: password },
          user: "",
          endPoint: null,
        });
        say(proof.request ?? "");
      }
      continue;
    }
    const answer = packet.startsWith("p") ? await proof.answer(packet.slice(5)) : null;
    if (answer === null || answer.kind === "refused") {
      const fields = [
        ["S", "FATAL"],
        ["C", "28P01"],
        ["M", "password authentication failed"],
      ] as const;
      return void socket.end(noticeText("E", fields), "latin1");
    }
    say(answer.text);
    if (answer.kind === "proven") break;
  }
  const inner = net.connect(socketPath);
  for (const end of [socket, inner])
    end.on("error", () => socket.destroy()).on("close", () => (socket.destroy(), inner.destroy()));
  inner.write(startup, "latin1");
  inner.pipe(socket);
  for (;;) {
    const { value: packet, done } = await said.next();
    if (done === true) return void inner.end();
    inner.write(packet, "latin1");
  }
}

const db = await PGlite.create();
await db.exec(SHOP);
await new PGLiteSocketServer({ db, path: socketPath, maxConnections: 10 }).start();
const door = net.createServer((socket) => {
  socket.on("error", () => socket.destroy());
  guard(socket).catch(() => socket.destroy());
});
door.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: (door.address() as AddressInfo).port })));
process.stdin.resume().on("end", () => process.exit());
