/**
 * What a process of the data plane does to itself before it opens anything: no debugger, no core dump, no reading of its
 * memory by whoever runs as the same user.
 *
 * Two ways of failing. What would mean that somebody else's code runs in here (NODE_OPTIONS, a preloaded library, an
 * inspector) is a refusal to start. What this kernel or machine cannot give is named, goes on the record as open, and the tier
 * is `advisory` then.
 */
import type { Libc } from "./libc.ts";

/**
 * Flags in front of the script: no inspector by SIGUSR1 (in a handler of ours it would be too late), no warning for node:ffi.
 * Injection writes the same ones (contract/proxy-environment.ts).
 */
export const REQUIRED_FLAGS: readonly string[] = ["--disable-sigusr1"];

/** Each makes Node, OpenSSL or the loader run or trust what its author says; our processes are started without them. */
export const HOSTILE_VARIABLES: readonly string[] = [
  "NODE_OPTIONS",
  "NODE_PATH",
  "NODE_EXTRA_CA_CERTS",
  "NODE_TLS_REJECT_UNAUTHORIZED",
  "NODE_USE_SYSTEM_CA",
  "NODE_USE_ENV_PROXY",
  "NODE_REPL_EXTERNAL_MODULE",
  "NODE_V8_COVERAGE",
  "NODE_COMPILE_CACHE",
  "NODE_DEBUG",
  "NODE_DEBUG_NATIVE",
  "NODE_ICU_DATA",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "SSLKEYLOGFILE",
  "OPENSSL_CONF",
  "OPENSSL_CONF_INCLUDE",
  "OPENSSL_MODULES",
  "OPENSSL_ENGINES",
  "LD_PRELOAD",
  "LD_AUDIT",
];

/** What is dangerous enough to refuse; the others only have to be taken out by whoever starts us. */
const FATAL_VARIABLES = new Set([
  "NODE_OPTIONS",
  "NODE_PATH",
  "NODE_TLS_REJECT_UNAUTHORIZED",
  "NODE_REPL_EXTERNAL_MODULE",
  "NODE_V8_COVERAGE",
  "SSLKEYLOGFILE",
  "OPENSSL_CONF",
  "OPENSSL_MODULES",
  "OPENSSL_ENGINES",
  "LD_PRELOAD",
  "LD_AUDIT",
]);

/** Flags that open the process, or load code before ours. */
const FATAL_FLAGS =
  /^--(inspect|debug|require$|import$|loader$|experimental-loader|env-file|tls-keylog|cpu-prof|heap-prof|heapsnapshot|diagnostic-dir|report-|trace-|prof$|openssl-|use-openssl-ca|insecure-http-parser|eval$|print$)|^-[repi]/;

/** The environment for a child of ours: without the variables above. */
export function cleanEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  const kept = Object.entries(environment).filter(([name]) => !HOSTILE_VARIABLES.includes(name));
  return Object.fromEntries(kept);
}

export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** `process.execArgv`. */
  readonly flags: readonly string[];
}

/** Why this process must not run; empty: it may. */
export function refusals({ environment, flags }: Surroundings): string[] {
  const found: string[] = [];
  for (const name of FATAL_VARIABLES)
    if ((environment[name] ?? "") !== "") found.push(`${name} is set: start without it`);
  for (const flag of flags)
    if (FATAL_FLAGS.test(flag.split("=", 1)[0] ?? ""))
      found.push(`flag ${flag.split("=", 1)[0]} is given: start without it`);
  for (const flag of REQUIRED_FLAGS) if (!flags.includes(flag)) found.push(`flag ${flag} is missing`);
  return found;
}

const PR_SET_DUMPABLE = 4;
const PR_GET_DUMPABLE = 3;
const PR_SET_NO_NEW_PRIVS = 38;
const RLIMIT_CORE = 4;

/**
 * Closes what can be closed from inside; returns what stays open, each as a short name with the reason. `libc` null: node:ffi
 * is not there.
 */
export function harden(libc: Libc | null): string[] {
  if (libc === null) return ["dumpable: libc cannot be called", "core dumps: libc cannot be called"];
  const open: string[] = [];
  // Core limit first: should the second fail, at least no memory is written to a disk.
  if (libc.setrlimit(RLIMIT_CORE, 0n, 0n) !== 0) open.push("core dumps: setrlimit failed");
  // /proc/<pid>/{mem,environ,maps,fd} then belong to root, and ptrace needs CAP_SYS_PTRACE, whatever the uid.
  if (libc.prctl(PR_SET_DUMPABLE, 0) !== 0 || libc.prctl(PR_GET_DUMPABLE, 0) !== 0) open.push("dumpable: prctl failed");
  if (libc.prctl(PR_SET_NO_NEW_PRIVS, 1) !== 0) open.push("new privileges: prctl failed");
  return open;
}
