/**
 * `sidegate run`, as a scenario: a home, a working folder, a policy folder and a record of their own under /tmp, and the driver
 * started as an ordinary user, as root, or as root without user namespaces. The driver and the keeper are bundled as the
 * package has them, so they run where the clone cannot be read by others.
 */
import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { View } from "#local/view.ts";
import { ACTOR_FILE, PYTHON } from "./actor.ts";
import type { DriverPlan } from "./run-driver.ts";

export const WHO = ["an ordinary user", "root", "root without user namespaces"] as const;
export type Who = (typeof WHO)[number];

/** Nobody's uid, with an entry in no file. */
const ORDINARY_UID = 54_321;

export interface Places {
  readonly base: string;
  readonly home: string;
  readonly work: string;
  readonly policy: string;
  readonly record: string;
  readonly trust: string;
  readonly runtime: string;
}

export interface DriverEvent {
  readonly kind: "furnished" | "ended" | "tcp" | "dns" | "dns-tcp";
  readonly original?: string;
  readonly query?: string;
  readonly open?: readonly string[];
  readonly writable?: readonly string[];
  readonly notes?: readonly string[];
  readonly mode?: string;
  readonly ipv6?: boolean;
  readonly code?: number;
  readonly signal?: string | null;
}

export interface RunOptions {
  readonly view?: (places: Places) => Partial<View>;
  readonly set?: Readonly<Record<string, string>>;
  readonly late?: boolean;
  /** Put in front of everything: a terminal. */
  readonly under?: readonly string[];
  /** More of the caller's environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export const ourUid = (): number => process.getuid?.() ?? 0;

export function uidOf(who: Who): number {
  if (who !== "an ordinary user") return 0;
  return ourUid() === 0 ? ORDINARY_UID : ourUid();
}

let bundled: string | null = null;
let node: string | null = null;

/** Bundles once a process. Call `removeProgram` at the end. */
export async function makeProgram(): Promise<void> {
  if (bundled !== null) return;
  const folder = mkdtempSync(path.join(realpathSync(tmpdir()), "sidegate-bypass-program-"));
  chmodSync(folder, 0o755);
  await build({
    entryPoints: {
      "run-driver": fileURLToPath(new URL("run-driver.ts", import.meta.url)),
      "run-inner": fileURLToPath(new URL("../../../cmd/run-inner.ts", import.meta.url)),
    },
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "error",
  });
  copyFileSync(ACTOR_FILE, path.join(folder, "actor.py"));
  node = process.execPath;
  if (!reachableByOthers(node)) {
    node = path.join(folder, "node");
    copyFileSync(process.execPath, node);
    chmodSync(node, 0o755);
  }
  bundled = folder;
}

export function removeProgram(): void {
  if (bundled !== null) rmSync(bundled, { recursive: true, force: true });
  bundled = null;
}

export function makePlaces(who: Who): Places {
  const base = mkdtempSync(path.join(realpathSync(tmpdir()), "sidegate-bypass-run-"));
  chmodSync(base, 0o755);
  const uid = uidOf(who);
  const at = (name: string): string => path.join(base, name);
  const places: Places = {
    base,
    home: at("home"),
    work: at("work"),
    policy: at("home/policies"),
    record: at("home/.local/state/sidegate"),
    trust: at("trust"),
    runtime: at("home/.runtime"),
  };
  const files: Record<string, string> = {
    "home/.bashrc": "# mine\n",
    "home/.ssh/config": "Host *\n",
    "work/kept.txt": "before\n",
    "home/policies/main.rego": "package policy\n",
    "home/.local/state/sidegate/audit.db": "secret record\n",
    "trust/ca-bundle.pem": "ROOTS AND OURS\n",
    "trust/sidegate-ca.pem": "OURS\n",
    "home/.runtime/bus": "",
  };
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(at(name)), { recursive: true, mode: 0o755 });
    writeFileSync(at(name), text);
  }
  copyFileSync(ACTOR_FILE, at("work/actor.py"));
  const folders = [
    "home",
    "work",
    "trust",
    "home/.runtime",
    "home/.ssh",
    "home/policies",
    "home/.local",
    "home/.local/state",
  ];
  own(base, uid, [...Object.keys(files), ...folders, "home/.local/state/sidegate", "work/actor.py"]);
  return places;
}

function own(base: string, uid: number, names: readonly string[]): void {
  if (ourUid() !== 0) return;
  for (const name of names) chownSync(path.join(base, name), uid, uid);
}

export class Run {
  readonly places: Places;
  readonly #process: ChildProcess;
  readonly #events: DriverEvent[] = [];
  readonly #waiting: ((event: DriverEvent | null) => void)[] = [];
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  #over = false;
  stdout = "";
  stderr = "";

  /** `argv`: the command; `places` may be shared by runs that follow each other. */
  constructor(who: Who, argv: readonly string[], places: Places, options: RunOptions = {}) {
    this.places = places;
    const { home, work, policy, record, trust, runtime } = places;
    const plan: DriverPlan = {
      entry: path.join(bundled ?? "", "run-inner.mjs"),
      mode: who === "root without user namespaces" ? "root" : null,
      view: {
        home,
        cwd: work,
        write: [],
        readOnly: [policy],
        hide: [record],
        mask: [runtime],
        trust,
        ...options.view?.(places),
      },
      argv,
      set: options.set ?? {},
      late: options.late ?? false,
    };
    const uid = uidOf(who);
    const user = uid === ourUid() ? [] : ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--"];
    const driver = [
      node ?? process.execPath,
      "--disable-warning=ExperimentalWarning",
      path.join(bundled ?? "", "run-driver.mjs"),
    ];
    const [file, ...args] = [...user, ...(options.under ?? []), ...driver, JSON.stringify(plan)];
    this.#process = spawn(file ?? "", args, {
      cwd: work,
      stdio: ["pipe", "pipe", "pipe", "pipe"],
      // A group of its own: a signal that gets out must not end the test's runner.
      detached: true,
      env: { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: home, LANG: "C.UTF-8", ...options.env },
    });
    this.#process.stdin?.on("error", () => undefined);
    this.#process.stdout?.setEncoding("utf8").on("data", (text: string) => (this.stdout += text));
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    this.ended = new Promise((resolve) => this.#process.once("close", (code, signal) => resolve({ code, signal })));
    const lines = createInterface({ input: this.#process.stdio[3] as Duplex });
    lines.on("line", (line) => {
      const event = JSON.parse(line) as DriverEvent;
      const next = this.#waiting.shift();
      if (next === undefined) this.#events.push(event);
      else next(event);
    });
    void this.ended.then(() => {
      this.#over = true;
      for (const next of this.#waiting.splice(0)) next(null);
    });
  }

  get pid(): number {
    return this.#process.pid ?? -1;
  }

  get stdin(): NodeJS.WritableStream {
    if (this.#process.stdin === null) throw new Error("no stdin");
    return this.#process.stdin;
  }

  /** The next event of the driver; null when it has ended. */
  event(): Promise<DriverEvent | null> {
    const event = this.#events.shift();
    if (event !== undefined || this.#over) return Promise.resolve(event ?? null);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Skips to the next event of a kind. */
  async next(kind: DriverEvent["kind"]): Promise<DriverEvent> {
    for (;;) {
      const event = await this.event();
      if (event === null) throw new Error(`the driver ended before ${kind}: ${this.stderr}`);
      if (event.kind === kind) return event;
    }
  }

  /** Output up to and with a text. */
  async said(text: string): Promise<void> {
    while (!this.stdout.includes(text))
      await this.wrote().catch((fault: unknown) => {
        if (!this.stdout.includes(text)) throw fault;
      });
  }

  /** The next output, or the end. */
  async wrote(): Promise<void> {
    const ended = await Promise.race([
      new Promise<false>((resolve) => this.#process.stdout?.once("data", () => resolve(false))),
      this.ended.then(() => true),
    ]);
    if (ended) throw new Error(`it ended: ${this.stdout} ${this.stderr}`);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }
}

/** Runs a command to its end. */
export async function ran(
  who: Who,
  argv: readonly string[],
  options: RunOptions & { places?: Places } = {},
): Promise<Run> {
  const places = options.places ?? makePlaces(who);
  const run = new Run(who, argv, places, options);
  run.stdin.end();
  await run.ended;
  return run;
}

export function removePlaces(places: Places): void {
  rmSync(places.base, { recursive: true, force: true });
}

/** A command that runs Python statements; `out(…)` prints one JSON line. */
export function python(text: string): readonly string[] {
  return [PYTHON, "-c", `import json, os, sys, errno, socket\ndef out(x): print(json.dumps(x), flush=True)\n${text}`];
}

/** What the command printed, line by line. */
export function answers(run: Run): readonly unknown[] {
  return run.stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown);
}

function reachableByOthers(file: string): boolean {
  for (let at = file; ; at = path.dirname(at)) {
    if (!existsSync(at) || (statSync(at).mode & 0o005) !== 0o005) return false;
    if (at === path.dirname(at)) return true;
  }
}
