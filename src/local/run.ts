/**
 * One `sidegate run`, from policy to exit code: the order in which things are made, and how they are taken down again. The
 * command starts last, when everything that judges and records it is ready; whatever fails before that, it never starts.
 */
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import path from "node:path";
import { frozenText } from "#contract/freeze.ts";
import { PROXY_ENV } from "#contract/proxy-environment.ts";
import { trustEnvironment, trustPaths } from "#contract/trust-environment.ts";
import { systemClock } from "#core/clock.ts";
import { escapeForTerminal } from "#core/escape.ts";
import { makeRunKey } from "#policy/assemble.ts";
import { firstMemoryFolder } from "#process/memory-folder.ts";
import { loadAuthority } from "#sidecar/tls/authority.ts";
import { writePreload } from "#sidecar/tls/preload.ts";
import { readRoots, systemRoots, writeTrustFiles } from "#sidecar/tls/trust.ts";
import { type Child, descriptorOf, startChild } from "./children.ts";
import { type LocalCredentials, NO_CREDENTIALS, openCredentials } from "./credentials.ts";
import { commandEnvironment } from "./environment.ts";
import { readRunFreeze, watchRunFreeze } from "./freeze.ts";
import { listeningSockets } from "./host-sockets.ts";
import { openNamespace, type Sockets } from "./namespace.ts";
import { makePlaces, type Places, removeRun } from "./places.ts";
import { buildLocalPolicy, freezeLocalPolicy, type LocalPolicyOptions, watchFolder } from "./policy.ts";
import type { ExitStatus } from "./protocol.ts";
import { createDisplay, type Shown, type Style, type Tally } from "./terminal.ts";
import { PRIVATE, TRUST_INSIDE, unseenWords, type View } from "./view.ts";

export interface RunPlan {
  readonly id: string;
  readonly argv: readonly string[];
  readonly cwd: string;
  /** The caller's environment; `cmd/` read it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly user: string;
  readonly home: string | null;
  readonly uid: number;
  readonly gid: number;
  /** State folder of this user. */
  readonly base: string;
  readonly write: readonly string[];
  /** The file, or its folder, that says where credentials come from; null: there are none. */
  readonly credentials: string | null;
  readonly style: Style;
  readonly policy: Omit<LocalPolicyOptions, "scope" | "key" | "bundle" | "now" | "tmp">;
  readonly node: string;
  /** Programs by name: sidecar, collector, run-inner. */
  readonly entry: (name: string) => string;
  /** The built library of deploy/preload; a path where none lies is none. */
  readonly preload: string;
  readonly say: (text: string) => void;
  readonly now: () => number;
}

export interface RunResult {
  readonly status: ExitStatus;
  readonly tally: Tally;
  readonly tier: "advisory" | "enforced";
  readonly open: readonly string[];
  readonly denied: readonly Shown[];
}

/** What could not be started: one sentence for the person at the terminal. */
export class RunFault extends Error {}

const SCOPE = "run";
const DRAIN_MS = 5_000;
const STOP_MS = 15_000;
/** Denials kept for the report. */
const MAX_DENIED = 1_000;

export async function run(plan: RunPlan): Promise<RunResult> {
  const places = makePlaces(
    plan.base,
    plan.id,
    process.pid,
    firstMemoryFolder(["/dev/shm", plan.env["XDG_RUNTIME_DIR"] ?? ""].filter((folder) => folder !== "")),
  );
  const undo: (() => void | Promise<void>)[] = [() => removeRun(places)];
  try {
    return await within(plan, places, undo);
  } finally {
    for (const step of undo.toReversed()) await step();
  }
}

async function within(plan: RunPlan, places: Places, undo: (() => void | Promise<void>)[]): Promise<RunResult> {
  const { say, style } = plan;
  const key = makeRunKey();
  const policy: LocalPolicyOptions = {
    ...plan.policy,
    scope: SCOPE,
    key: key.signing,
    bundle: places.bundle,
    tmp: places.run,
    now: plan.now,
    frozen: () => readRunFreeze(places.run),
  };
  const built = await buildLocalPolicy(policy);
  if (built.kind === "problems") throw new RunFault(`the policy does not compile:\n  ${built.lines.join("\n  ")}`);
  if (built.targets === 0 && !plan.policy.observe && style !== "quiet")
    say(
      "sidegate: no target is named, so every destination is refused; name some with --allow or --policy, or watch with --observe\n",
    );

  const credentials = await credentialsOf(plan);
  const agent = credentials?.agentEnvironment(plan.env) ?? { env: plan.env, notes: [] };

  const namespace = await openNamespace({
    node: plan.node,
    entry: plan.entry("run-inner"),
    uid: plan.uid,
    gid: plan.gid,
  });
  undo.push(() => namespace.close());

  // Trust files first: they are mounted into what the command sees, and only then is it known what stays open.
  const { authority } = await loadAuthority(places.state, systemClock);
  const trust = trustEnvironment(trustPaths(TRUST_INSIDE), plan.env);
  const roots = await systemRoots();
  const theirs = await readRoots(trust.merge.map(({ file }) => file));
  for (const file of theirs.missing) say(`sidegate: ${file} cannot be read, so what it trusts is not trusted inside\n`);
  await writeTrustFiles(trustPaths(places.trust), {
    caPem: authority.caPem,
    roots: [roots.pem, ...theirs.pem],
    nowMs: plan.now(),
  });
  await writePreload(places.trust, TRUST_INSIDE, plan.preload);
  const view: View = {
    home: plan.home,
    cwd: plan.cwd,
    write: plan.write,
    readOnly: plan.policy.folder === null ? [] : [plan.policy.folder],
    hide: [plan.base, places.state, ...(credentials?.hide ?? [])],
    mask:
      plan.env["XDG_RUNTIME_DIR"] === undefined || !existsSync(plan.env["XDG_RUNTIME_DIR"])
        ? []
        : [realpathSync(plan.env["XDG_RUNTIME_DIR"])],
    sockets: listeningSockets(readFileSync("/proc/net/unix", "utf8")),
    trust: places.trust,
  };
  const furnished = await namespace.furnish(view);
  const tier = furnished.open.length === 0 ? "enforced" : "advisory";

  const collector = startChild({
    name: "collector",
    node: plan.node,
    entry: plan.entry("collector"),
    env: { PATH: SAFE_PATH, SIDEGATE_AUDIT_DB: places.database, SIDEGATE_COLLECTOR_SOCKET: places.collectorSocket },
    log: path.join(places.run, "collector.log"),
    descriptors: [],
    onLines: null,
  });
  undo.push(() => collector.stop(STOP_MS));
  await collector.ready;

  const denied: Shown[] = [];
  const display = createDisplay(style, say, (shown) => {
    if (shown.verdict === "deny" && denied.length < MAX_DENIED) denied.push(shown);
  });
  const sidecar = startChild({
    ...sidecarPlan(
      plan,
      places,
      { sockets: namespace.sockets, tier, open: furnished.open },
      key.trusted.publicKey.export({ type: "spki", format: "pem" }),
      credentials,
    ),
    onLines: (text) => display.feed(text),
    onMessage: (message, reply) => (credentials ?? NO_CREDENTIALS).answer(message, reply),
  });
  if (credentials !== null) undo.push(credentials.follow((changed) => sidecar.tell(changed)));
  let stopped = false;
  const stopSidecar = async (): Promise<void> => {
    if (stopped) return;
    stopped = true;
    await sidecar.stop(STOP_MS);
  };
  undo.push(stopSidecar);
  await sidecar.ready.catch((error: unknown) => Promise.reject(withLog(error, path.join(places.run, "sidecar.log"))));

  if (style === "colour" || style === "plain") {
    say(
      `sidegate: run ${plan.id}, policy ${built.revision}${plan.policy.observe ? " (observing)" : ""}, tier ${tier}${furnished.open.length > 0 ? `: ${furnished.open.join("; ")}` : ""}\n`,
    );
    if (furnished.writable.length > 0)
      say(`sidegate: kept after the run: ${escapeForTerminal(furnished.writable.join(", "))}\n`);
    for (const note of [...furnished.notes, ...agent.notes]) say(`sidegate: ${escapeForTerminal(note)}\n`);
    for (const word of unseenWords(plan.argv, view, existsSync))
      say(
        `sidegate: ${escapeForTerminal(word)} is not there for the command: ${PRIVATE.join(", ")} are empty and private inside; move it to a folder of its own, and run it from there or name that folder with --write\n`,
      );
  }

  if (plan.policy.folder !== null) undo.push(followFolder(policy, plan.policy.folder, style, say));
  undo.push(followFreezes(policy, places.run, say));
  const command = namespace.start({ argv: plan.argv, env: commandEnvironment(agent.env, trust.set), cwd: plan.cwd });
  const status = await Promise.race([command, gaveUp(sidecar, places), gaveUp(collector, places)]);
  // The last records and lines arrive before the count is made.
  await stopSidecar();
  return { status, tally: display.tally, tier, open: furnished.open, denied };
}

const SAFE_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

function sidecarPlan(
  plan: RunPlan,
  places: Places,
  inside: { readonly sockets: Sockets; readonly tier: string; readonly open: readonly string[] },
  bundleKey: string,
  credentials: LocalCredentials | null,
): Omit<Parameters<typeof startChild>[0], "onLines"> {
  const handed = Object.entries(inside.sockets).filter((entry): entry is [string, number] => entry[1] !== null);
  const hosts = "/etc/hosts";
  const command = plan.argv.join(" ");
  return {
    name: "sidecar",
    node: plan.node,
    entry: plan.entry("sidecar"),
    env: {
      PATH: SAFE_PATH,
      [PROXY_ENV.cluster]: "local",
      [PROXY_ENV.pod]: `run-${plan.id}`,
      [PROXY_ENV.account]: plan.user,
      [PROXY_ENV.tier]: inside.tier,
      [PROXY_ENV.open]: inside.open.map((what) => what.replaceAll(",", ";")).join(","),
      [PROXY_ENV.state]: places.state,
      [PROXY_ENV.spool]: places.spool,
      [PROXY_ENV.trust]: "off",
      [PROXY_ENV.bundle]: places.bundle,
      [PROXY_ENV.bundleKey]: bundleKey,
      [PROXY_ENV.bundleKeyId]: "run",
      [PROXY_ENV.bundleScope]: SCOPE,
      [PROXY_ENV.collector]: `unix:${places.collectorSocket}`,
      [PROXY_ENV.resolvers]: hostResolvers().join(","),
      [PROXY_ENV.hosts]: existsSync(hosts) ? hosts : "",
      [PROXY_ENV.loopback]: "true",
      [PROXY_ENV.listen]: handed.map(([name], index) => `${name}=${descriptorOf(index)}`).join(","),
      [PROXY_ENV.admin]: "off",
      [PROXY_ENV.run]: JSON.stringify({
        id: plan.id,
        user: plan.user,
        intent: (credentials?.redacted(command) ?? command).slice(0, MAX_INTENT),
        verified: true,
      }),
      [PROXY_ENV.decisions]: String(descriptorOf(handed.length)),
      [PROXY_ENV.drain]: String(DRAIN_MS),
    },
    log: path.join(places.run, "sidecar.log"),
    descriptors: handed.map(([, fd]) => fd),
  };
}

async function credentialsOf(plan: RunPlan): Promise<LocalCredentials | null> {
  if (plan.credentials === null) return null;
  const opened = await openCredentials(plan.credentials, plan);
  if (opened.kind === "problems") throw new RunFault(`the credentials cannot be had:\n  ${opened.lines.join("\n  ")}`);
  return opened.credentials;
}

const MAX_INTENT = 512;

/** The machine's own resolvers: outside the namespace resolv.conf is the user's, not the agent's. */
function hostResolvers(): string[] {
  const text = existsSync("/etc/resolv.conf") ? readFileSync("/etc/resolv.conf", "utf8") : "";
  return [...text.matchAll(/^\s*nameserver\s+([0-9a-fA-F.:]+)\s*$/gm)].map((match) => match[1] ?? "").slice(0, 3);
}

/** `sidegate freeze --run ID` writes into the run's folder. */
function followFreezes(policy: LocalPolicyOptions, run: string, say: (text: string) => void): () => void {
  let busy: Promise<void> = Promise.resolve();
  const watcher = watchRunFreeze(run, (freeze) => {
    busy = busy.then(async () => {
      try {
        if (freeze === null) await buildLocalPolicy(policy);
        else await freezeLocalPolicy(policy, freeze);
        say(`sidegate: ${freeze === null ? "the run is no longer frozen" : escapeForTerminal(frozenText(freeze))}\n`);
      } catch (error) {
        say(`sidegate: not changed: ${error instanceof Error ? error.message : String(error)}\n`);
      }
    });
  });
  return () => watcher.close();
}

function followFolder(
  policy: LocalPolicyOptions,
  folder: string,
  style: Style,
  say: (text: string) => void,
): () => void {
  let busy: Promise<void> = Promise.resolve();
  const watcher = watchFolder(folder, () => {
    busy = busy.then(async () => {
      try {
        const again = await buildLocalPolicy(policy);
        if (again.kind === "problems")
          say(`sidegate: the changed policy does not compile, the one before stays:\n  ${again.lines.join("\n  ")}\n`);
        else if (style !== "quiet" && style !== "json")
          say(`sidegate: policy ${again.revision} takes the place of the one before\n`);
      } catch (error) {
        say(
          `sidegate: the changed policy cannot be read, the one before stays: ${error instanceof Error ? error.message : String(error)}\n`,
        );
      }
    });
  });
  return () => watcher.close();
}

async function gaveUp(child: Child, places: Places): Promise<never> {
  try {
    return await child.failed;
  } catch (error) {
    throw withLog(error, path.join(places.run, "sidecar.log"));
  }
}

/** The end of a child's log, which is removed with the run. */
function withLog(error: unknown, log: string): RunFault {
  const text = existsSync(log) ? readFileSync(log, "utf8").trimEnd().split("\n").slice(-3).join("\n  ") : "";
  return new RunFault(`${error instanceof Error ? error.message : String(error)}${text === "" ? "" : `\n  ${text}`}`);
}

/** Writes the report of `--report FILE`. */
export function writeReport(file: string, plan: RunPlan, result: RunResult): void {
  mkdirSync(path.dirname(file), { recursive: true });
  const { tally, tier, open, denied, status } = result;
  writeFileSync(
    file,
    `${JSON.stringify({ run: plan.id, command: plan.argv, exit: status.code, tier, open, allowed: tally.allowed, denied: tally.denied, would: tally.would, denials: denied }, null, 2)}\n`,
  );
}
