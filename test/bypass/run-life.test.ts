/** The life of a `sidegate run`: exit codes, signals, the terminal, and what rows R1 and R3 say about it. */
import { copyFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { requireRoot, requireTool } from "../support/require.ts";
import { PYTHON } from "./support/actor.ts";
import {
  answers,
  makePlaces,
  makeProgram,
  type Places,
  python,
  Run,
  ran,
  removePlaces,
  removeProgram,
  WHO,
  type Who,
} from "./support/run.ts";

beforeAll(makeProgram);
afterAll(removeProgram);

const TERMINAL = fileURLToPath(new URL("support/terminal.py", import.meta.url));
const KEY = { ctrlBackslash: "1c", ctrlC: "03", ctrlD: "04", ctrlZ: "1a" } as const;

async function scene(context: TestContext, who: Who, play: (places: Places) => Promise<void>): Promise<void> {
  for (const tool of ["unshare", "setpriv", "nft", "ip", "python3"]) requireTool(context, tool);
  if (who !== "an ordinary user") requireRoot(context);
  const places = makePlaces(who);
  try {
    await play(places);
  } finally {
    removePlaces(places);
  }
}

/** Tells each SIGINT, and at SIGTERM how many there were. */
const COUNTS = python(`
import signal
count = 0
def interrupted(*_):
  global count
  count += 1
  os.write(1, b"int %d\\n" % count)
def ended(*_):
  os.write(1, b"total %d\\n" % count)
  os._exit(0)
signal.signal(signal.SIGINT, interrupted)
signal.signal(signal.SIGTERM, ended)
os.write(1, b"up\\n")
while True: signal.pause()
`);

describe.each(WHO)("as %s", (who) => {
  test.for([
    [["sh", "-c", "exit 7"], 7],
    [["sh", "-c", "kill -9 $$"], 137],
    [["sh", "-c", "kill -TERM $$"], 143],
    [["/no/such/program"], 127],
    [["/etc/passwd"], 126],
    [["true"], 0],
  ] as const)("the exit code is the command's own: %j gives %i", ([argv, code], context) =>
    scene(context, who, async (places) => {
      expect((await (await ran(who, argv, { places })).ended).code).toBe(code);
    }),
  );

  test.for([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
    ["SIGQUIT", 131],
    ["SIGUSR2", 140],
  ] as const)("%s to the command line reaches the command", ([signal, code], context) =>
    scene(context, who, async (places) => {
      const run = new Run(who, ["sh", "-c", "ulimit -c 0; echo up; exec sleep 1000"], places);
      await run.said("up");
      run.signal(signal);
      expect((await run.ended).code).toBe(code);
    }),
  );

  test("R3: a signal to its whole group reaches nobody outside", (context) =>
    scene(context, who, async (places) => {
      // Would it reach the driver, there were no exit code of the command's.
      const run = await ran(who, python("import signal\nos.kill(0, signal.SIGKILL)"), { places });
      expect((await run.next("ended")).code).toBe(137);
      expect((await run.ended).signal).toBeNull();
    }));

  test("orphans of the command are collected", (context) =>
    scene(context, who, async (places) => {
      const run = await ran(
        who,
        python(`
import time
for _ in range(50):
  if os.fork() == 0:
    if os.fork() == 0: os._exit(0)
    os._exit(0)
  os.wait()
def zombies():
  found = 0
  for pid in os.listdir("/proc"):
    try: found += pid.isdigit() and open("/proc/%s/stat" % pid).read().split(") ")[1][0] == "Z"
    except OSError: pass
  return found
for _ in range(200):
  if zombies() == 0: break
  time.sleep(0.05)
out(zombies())
`),
        { places },
      );
      expect(answers(run)).toEqual([0]);
    }));

  test("stdin, stdout and stderr are the caller's own", (context) =>
    scene(context, who, async (places) => {
      const run = new Run(who, ["sh", "-c", "cat; echo to stderr >&2"], places);
      run.stdin.end("from stdin\n");
      await run.ended;
      expect([run.stdout, run.stderr]).toEqual(["from stdin\n", "to stderr\n"]);
    }));
});

describe("on a terminal", () => {
  const who: Who = "an ordinary user";

  async function terminal(
    context: TestContext,
    argv: readonly string[],
    play: (job: Run, key: (hex: string) => void, pid: () => number) => Promise<void>,
    shell: readonly string[] = [],
  ): Promise<void> {
    await scene(context, who, async (places) => {
      const script = path.join(places.work, "terminal.py");
      copyFileSync(TERMINAL, script);
      const job = new Run(who, argv, places, { under: [PYTHON, script, ...shell] });
      const key = (hex: string): void => void job.stdin.write(`key ${hex}\n`);
      await play(job, key, () => Number(/@job (\d+)/.exec(job.stdout)?.[1]));
      await job.ended;
    });
  }

  test("Ctrl-C reaches the command once, and a kill of the command line once more", (context) =>
    terminal(context, COUNTS, async (job, key, pid) => {
      await job.said("up");
      key(KEY.ctrlC);
      await job.said("int 1");
      process.kill(pid(), "SIGINT");
      // Two signals sent at once may be taken by two threads, in either order.
      await job.said("int 2");
      process.kill(pid(), "SIGTERM");
      await job.said("total");
      expect(job.stdout).toContain("total 2");
      await job.said("@exited 0");
    }));

  test("Ctrl-Z stops it and gives the terminal back, and fg goes on with it", (context) =>
    terminal(context, ["sh", "-c", "echo up; exec cat"], async (job, key) => {
      await job.said("up");
      key(KEY.ctrlZ);
      await job.said("@stopped");
      job.stdin.write("fg\n");
      key(Buffer.from("hello again\n").toString("hex"));
      await job.said("hello again");
      key(KEY.ctrlD);
      await job.said("@exited 0");
    }));

  test("in a pipeline the neighbour keeps the keys, until the command wants to read", (context) =>
    terminal(
      context,
      ["sh", "-c", "echo up; read line; echo got $line"],
      async (job, key) => {
        await job.said("up");
        key(Buffer.from("hello\n").toString("hex"));
        await job.said("got hello");
        await job.said("@exited 0");
      },
      ["sh", "-c", '"$@" | cat', "sh"],
    ));

  test("the command learns of a new window size, and what terminal it has", (context) =>
    terminal(
      context,
      python(`
import signal
signal.signal(signal.SIGWINCH, lambda *_: (os.write(1, b"size %d %d\\n" % tuple(reversed(os.get_terminal_size(0)))), os._exit(0)))
os.write(1, b"tty %s %s\\n" % (str(os.isatty(0)).encode(), os.ttyname(0).encode()))
while True: signal.pause()
`),
      async (job) => {
        await job.said("tty True /dev/");
        job.stdin.write("size 40 132\n");
        await job.said("size 40 132");
        await job.said("@exited 0");
      },
    ));

  test("Ctrl-\\\\ is the command's to handle", (context) =>
    terminal(
      context,
      python(`
import signal
signal.signal(signal.SIGQUIT, lambda *_: os.write(1, b"quit\\n"))
os.write(1, b"up\\n")
sys.stdin.readline(); os.write(1, b"still here\\n")
`),
      async (job, key) => {
        await job.said("up");
        key(KEY.ctrlBackslash);
        await job.said("quit");
        key(Buffer.from("\n").toString("hex"));
        await job.said("still here");
        await job.said("@exited 0");
      },
    ));

  test("what the command made of the terminal is undone at its end, also when it is killed", (context) =>
    terminal(context, ["sh", "-c", "stty -a | grep -c ' icanon'; stty raw -echo; echo up; kill -9 $$"], async (job) => {
      await job.said("@exited 137");
      expect(job.stdout).toMatch(/^@modes same$/m);
    }));

  test("R1, R3: the command cannot type into the terminal, nor open another one of the user's", (context) =>
    terminal(
      context,
      python(`
import fcntl
for request in (0x5412, 0x541C):
  try: fcntl.ioctl(0, request, b"y"); out("typed")
  except OSError as e: out(errno.errorcode[e.errno])
out(sorted(os.listdir("/dev/pts")))
`),
      async (job) => {
        await job.said("@exited 0");
        const lines = job.stdout.split(/\r?\n/).filter((line) => line !== "" && !line.startsWith("@"));
        expect(lines).toEqual(['"EPERM"', '"EPERM"', '["ptmx"]']);
      },
    ));

  test("R5: when the command line is killed, nothing of the job stays on the terminal", (context) =>
    terminal(context, ["sh", "-c", "trap '' INT TERM HUP; echo up; while :; do sleep 1; done"], async (job, _, pid) => {
      await job.said("up");
      process.kill(pid(), "SIGKILL");
      await job.said("@exited 137");
    }));
});

test("a stopped sidecar is no loss: what connects meanwhile waits for the next one", (context) =>
  scene(context, "an ordinary user", async (places) => {
    const late = python(`
s = socket.create_connection(("198.51.100.7", 80)); out("connected")
s.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n"); s.settimeout(10); out(s.recv(100).decode()[:15])
`);
    const run = new Run("an ordinary user", late, places, { late: true });
    await run.said("connected");
    run.signal("SIGUSR1");
    await run.said("HTTP/1.1 200 OK");
    expect((await run.ended).code).toBe(0);
  }));

test("where the kernel has no IPv6 the run works without it", (context) =>
  scene(context, "root without user namespaces", async (places) => {
    // The sight of it is taken away, in a mount namespace of the driver's own.
    const hidden = 'mount -t tmpfs none /proc/sys/net && exec "$@"';
    const under = ["unshare", "--mount", "--", "sh", "-c", hidden, "sh"];
    const argv = python(`
try: socket.create_connection(("2001:db8::1", 80), 2); out("connected")
except OSError as e: out(errno.errorcode[e.errno])
socket.create_connection(("198.51.100.7", 80)); out("connected")
`);
    const run = await ran("root without user namespaces", argv, { places, under });
    expect((await run.next("furnished")).ipv6).toBe(false);
    expect(run.stdout).toMatch(/^"E(NETUNREACH|ADDRNOTAVAIL)"\n"connected"\n$/);
    expect(readFileSync(path.join(places.work, "kept.txt"), "utf8")).toBe("before\n");
  }));
