/** nginx as the upstream: a small JSON answer, and large files for bulk. Counts what reached it, which the record is compared with. */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { CORE, freePort, listening, start } from "./process.ts";

export interface Upstream {
  readonly port: number;
  /** Requests that reached it since it started, without those of this very question. */
  requests(): Promise<number>;
  stop(): Promise<void>;
}

/** 160 bytes: what a small API answers. */
const ANSWER =
  '{"ok":true,"id":12345,"name":"hello world","items":[1,2,3,4,5,6,7,8,9,10],"pad":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}';

export const BULK_BYTES = 64 * 1024 * 1024;

export async function startUpstream(nginx: string, folder: string): Promise<Upstream> {
  const port = await freePort();
  const statusPort = await freePort();
  const root = path.join(folder, "www");
  const own = path.join(folder, "nginx");
  mkdirSync(root, { recursive: true });
  mkdirSync(own, { recursive: true });
  makeFile(path.join(root, "bulk"), BULK_BYTES);
  const config = path.join(folder, "nginx.conf");
  writeFileSync(
    config,
    `daemon off; worker_processes 1; pid ${own}/nginx.pid; error_log /dev/null crit;
${process.getuid?.() === 0 ? "user root;" : ""}
events { worker_connections 4096; }
http {
  access_log off; sendfile on; keepalive_requests 1000000000; keepalive_timeout 3600s;
  client_body_temp_path ${own}; proxy_temp_path ${own}; fastcgi_temp_path ${own}; uwsgi_temp_path ${own}; scgi_temp_path ${own};
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / { default_type application/json; return 200 '${ANSWER}'; }
    location /bulk { root ${root}; }
  }
  server { listen 127.0.0.1:${statusPort}; location / { stub_status; } }
}
`,
  );
  const server = start({ core: CORE.load, command: [nginx, "-e", "/dev/null", "-c", config] });
  await listening(port);
  let asked = 0;
  return {
    port,
    async requests() {
      const text = await (await fetch(`http://127.0.0.1:${statusPort}/`)).text();
      asked++;
      // "server accepts handled requests\n 3 3 17"
      const total = /^\s*\d+\s+\d+\s+(\d+)\s*$/m.exec(text)?.[1];
      if (total === undefined) throw new Error(`nginx says: ${text}`);
      return Number(total) - asked;
    },
    stop: () => server.stop(),
  };
}

function makeFile(file: string, bytes: number): void {
  const block = Buffer.alloc(1 << 20, "sidegate bench ");
  const fd = openSync(file, "w");
  for (let written = 0; written < bytes; written += block.length) writeSync(fd, block);
  closeSync(fd);
}
