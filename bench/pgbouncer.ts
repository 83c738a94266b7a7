/**
 * pgbouncer as the peer: one process and thread, no TLS, no passwords, nothing logged but its start.
 *
 * `session`: a client has its server connection for as long as it is there, as through our sidecar; and it is what version 1.18 needs for
 * prepared statements. Nothing changes hands between transactions, so it is also where pgbouncer costs least.
 */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { DB_NAME, DB_USER, ordinary, ownFolder } from "./postgres-server.ts";
import { CORE, freePort, listening, type Started, start } from "./process.ts";

export async function startPgbouncer(
  pgbouncer: string,
  folder: string,
  plan: { readonly mode: "session" | "transaction"; readonly upstream: number },
): Promise<Started & { readonly port: number }> {
  const own = path.join(folder, `pgbouncer-${plan.mode}`);
  ownFolder(own);
  const port = await freePort();
  const users = path.join(own, "users");
  const config = path.join(own, "pgbouncer.ini");
  writeFileSync(users, `"${DB_USER}" ""\n`, { mode: 0o644 });
  writeFileSync(
    config,
    [
      "[databases]",
      `${DB_NAME} = host=127.0.0.1 port=${plan.upstream} dbname=${DB_NAME}`,
      "[pgbouncer]",
      "listen_addr = 127.0.0.1",
      `listen_port = ${port}`,
      "unix_socket_dir =",
      "auth_type = trust",
      `auth_file = ${users}`,
      `pool_mode = ${plan.mode}`,
      "default_pool_size = 50",
      "log_connections = 0",
      "log_disconnections = 0",
      "log_stats = 0",
      "",
    ].join("\n"),
    { mode: 0o644 },
  );
  const running = start({
    core: CORE.proxy,
    command: [...ordinary(), pgbouncer, "-q", config],
    stdio: ["ignore", "ignore", "inherit"],
  });
  await listening(port);
  return { pid: running.pid, port, stop: () => running.stop() };
}
