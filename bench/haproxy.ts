/**
 * HAProxy as the peer, one thread: `http` with httplog, and `tcp`. Its log is really written, in the two ways that are in use:
 *
 * - `syslog`: datagrams to a log daemon on the same machine (what its manual sets up); ours writes them to a file.
 * - `stdout`: one write a request, here into a file on the disk of our spool; in a container it is a pipe, which costs a little more.
 */
import { openSync, writeFileSync } from "node:fs";
import path from "node:path";
import { CORE, freePort, listening, type Started, start, stopped } from "./process.ts";

export type Logging = "syslog" | "stdout" | "none";

export interface Peer extends Started {
  readonly port: number;
}

export interface HaproxyPlan {
  readonly mode: "http" | "tcp";
  readonly logging: Logging;
  readonly upstream: number;
}

/** `python`: for the log daemon; null: there is none, and `syslog` throws. */
export async function startHaproxy(
  haproxy: string,
  python: string | null,
  folder: string,
  plan: HaproxyPlan,
): Promise<Peer> {
  const { mode, logging, upstream } = plan;
  const port = await freePort();
  const name = `haproxy-${mode}-${logging}`;
  const sink = logging === "syslog" ? await startSink(python, path.join(folder, `${name}.log`)) : null;
  const lines = [
    "global",
    "  nbthread 1",
    "  maxconn 4000",
    ...(logging === "none" ? [] : [`  log ${sink === null ? "stdout format raw" : `127.0.0.1:${sink.port}`} local0`]),
    "defaults",
    `  mode ${mode}`,
    "  timeout connect 5s",
    "  timeout client 3600s",
    "  timeout server 3600s",
    ...(mode === "http" ? ["  timeout http-keep-alive 3600s", "  http-reuse always"] : []),
    ...(logging === "none" ? [] : ["  log global", mode === "http" ? "  option httplog" : "  option tcplog"]),
    "frontend f",
    `  bind 127.0.0.1:${port}`,
    "  default_backend b",
    "backend b",
    `  server s 127.0.0.1:${upstream}`,
  ];
  const config = path.join(folder, `${name}.cfg`);
  writeFileSync(config, `${lines.join("\n")}\n`);
  const { child, pid } = start({
    core: CORE.proxy,
    command: [haproxy, "-db", "-f", config],
    stdio: ["ignore", openSync(path.join(folder, `${name}.out`), "w"), "inherit"],
  });
  await listening(port);
  return {
    pid,
    port,
    async stop() {
      await stopped(child);
      await sink?.stop();
    },
  };
}

async function startSink(python: string | null, log: string): Promise<Started & { readonly port: number }> {
  if (python === null) throw new Error("python3 is needed for the log daemon of HAProxy");
  const port = await freePort();
  const script = path.join(import.meta.dirname, "syslog-sink.py");
  return { ...start({ core: CORE.load, command: [python, script, String(port), log] }), port };
}
