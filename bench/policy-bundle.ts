/**
 * bench/policy, compiled with the pinned `opa` and signed, as `sidegate policy build` does it. The load runs over loopback in
 * plaintext, so the policy's data permits that for the hosts of the load; its rules are the committed ones.
 */
import os from "node:os";
import path from "node:path";
import { assembleBundle, makeRunKey } from "../src/policy/assemble.ts";
import { type Compiled, compilePolicies } from "../src/policy/compile/compile.ts";
import { findOpa } from "../src/policy/compile/find-opa.ts";
import { readPolicyFolder } from "../src/policy/compile/folder.ts";
import type { PolicySources } from "../src/policy/compile/sources.ts";
import { benchSources } from "./policy/for-opa.ts";

/** A name of `*.ledger.example.com`, which the policy lets read under /v2/. */
export const HTTP_HOST = "http.ledger.example.com";
export const BULK_HOST = "bulk.ledger.example.com";
export const PORT = 443;
export const DB_HOST = "db.ledger.example.com";
export const DB_PORT = 5_432;

export function opa(): Promise<string> {
  const { env } = process;
  return findOpa({
    given: env["SIDEGATE_OPA"],
    path: env["PATH"],
    cacheDir: path.join(env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache"), "sidegate"),
    toolsDir: path.resolve(import.meta.dirname, "../tools/opa"),
    env,
    platform: process.platform,
    arch: process.arch,
    say: (line) => process.stderr.write(`${line}\n`),
  });
}

/** `upstream`: where both hosts are dialled. Null: the policy as it stands in its folder. */
export async function compileBenchPolicy(upstream: number | null): Promise<Compiled> {
  const own = await benchSources();
  const sources = upstream === null ? own : forLoad(own, upstream);
  return compile(sources);
}

/** bench/policy and bench/policy-sql together, with one target: a database on this port of loopback, spoken to without TLS. */
export async function compileDatabasePolicy(upstream: number): Promise<Compiled> {
  const own = await benchSources();
  const more = await readPolicyFolder(path.resolve(import.meta.dirname, "policy-sql"));
  if (more.kind === "problems") throw new Error(JSON.stringify(more.problems));
  const gateway = own.data.get("gateway") as { readonly ports: readonly number[] };
  return compile({
    ...own,
    modules: [...own.modules, ...more.sources.modules],
    data: new Map([...own.data, ...more.sources.data, ["gateway", { ...gateway, ports: [...gateway.ports, DB_PORT] }]]),
    targets: [
      ...own.targets,
      {
        name: "ledger-db",
        hosts: [DB_HOST],
        ports: [DB_PORT],
        endpoints: [`127.0.0.1:${upstream}`],
        protocol: "postgres",
        tls: "none",
      },
    ],
  });
}

async function compile(sources: PolicySources): Promise<Compiled> {
  const compiled = await compilePolicies(sources, { opa: await opa(), tmp: os.tmpdir() });
  if (compiled.kind === "problems") throw new Error(JSON.stringify(compiled.problems));
  return compiled;
}

function forLoad(sources: PolicySources, upstream: number): PolicySources {
  const gateway = sources.data.get("gateway") as { readonly plaintext_ok: Readonly<Record<string, boolean>> };
  const endpoints = [`127.0.0.1:${upstream}`];
  return {
    ...sources,
    data: new Map([
      ...sources.data,
      ["targets", { opaque: ["bulk"] }],
      ["gateway", { ...gateway, plaintext_ok: { ...gateway.plaintext_ok, [HTTP_HOST]: true, [BULK_HOST]: true } }],
    ]),
    targets: [
      ...sources.targets,
      { name: "http", hosts: [HTTP_HOST], ports: [PORT], endpoints, labels: { tier: "internal" } },
      { name: "bulk", hosts: [BULK_HOST], ports: [PORT], endpoints, protocol: "tcp" },
    ],
  };
}

export interface Signed {
  readonly archive: Uint8Array;
  readonly keyPem: string;
  readonly keyId: string;
  readonly scope: string;
}

export function sign(compiled: Compiled): Signed {
  const key = makeRunKey("bench");
  const scope = "bench";
  const { archive } = assembleBundle(compiled.parts, { scope, sequence: 1, notAfterMs: null }, key.signing);
  const keyPem = key.trusted.publicKey.export({ type: "spki", format: "pem" });
  return { archive, keyPem, keyId: "bench", scope };
}
