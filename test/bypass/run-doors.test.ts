/**
 * Rows R of the threat model: the doors of `sidegate run` that are not IP. Each is tried from inside, by an ordinary user's run,
 * by root's, and by root's where user namespaces are closed.
 */
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { requireRoot, requireTool } from "../support/require.ts";
import {
  answers,
  makePlaces,
  makeProgram,
  ourUid,
  type Places,
  python,
  Run,
  ran,
  removePlaces,
  removeProgram,
  uidOf,
  WHO,
  type Who,
} from "./support/run.ts";

beforeAll(makeProgram);
afterAll(removeProgram);

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

/** A socket of the host's, as a daemon of the same user would have it. */
async function listenAt(at: string, uid: number): Promise<Server> {
  const server = createServer((socket) => socket.end("reached"));
  await new Promise<void>((resolve) => server.listen(at, resolve));
  if (!at.startsWith("\0") && ourUid() === 0) chownSync(at, uid, uid);
  return server;
}

/** What connect() says for each path, from inside; "connected" when it worked. */
const dial = (paths: readonly string[]): readonly string[] =>
  python(`
for path in ${JSON.stringify(paths)}:
  s = socket.socket(socket.AF_UNIX)
  try:
    s.connect(path); out("connected")
  except OSError as e: out(errno.errorcode[e.errno])
`);

describe.each(["root", "root without user namespaces"] as const)("as %s", (who) => {
  test("R1, R4: nor by another name that the machine has for the same folder", (context) =>
    scene(context, who, async (places) => {
      // A bind mount of the home folder, in a mount namespace of the driver's own.
      const script = `mount --bind ${places.home} /mnt && exec "$@"`;
      const run = await ran(
        who,
        python(`
out(os.path.exists("/mnt/.local/state/sidegate/audit.db"))
try: open("/mnt/policies/main.rego", "a"); out("written")
except OSError as e: out("refused")
`),
        { places, under: ["unshare", "--mount", "--", "sh", "-c", script, "sh"], view: () => ({ write: ["/mnt"] }) },
      );
      expect(answers(run)).toEqual([false, "refused"]);
    }));
});

describe.each(WHO)("as %s", (who) => {
  test("R1: the record and the approval socket are not there", (context) =>
    scene(context, who, async (places) => {
      const socket = path.join(places.record, "approve.sock");
      const server = await listenAt(socket, uidOf(who));
      const run = await ran(
        who,
        python(`
out(sorted(os.listdir(${JSON.stringify(places.record)})))
for path in ${JSON.stringify([socket, path.join(places.record, "audit.db")])}:
  try: open(path).read(); out("read")
  except OSError as e: out(errno.errorcode[e.errno])
try: os.mkdir(${JSON.stringify(path.join(places.record, "mine"))}); out("made")
except OSError as e: out(errno.errorcode[e.errno])
`),
        { places },
      );
      server.close();
      expect(answers(run)).toEqual([[], "ENOENT", "ENOENT", "EROFS"]);
      expect(readFileSync(path.join(places.record, "audit.db"), "utf8")).toBe("secret record\n");
    }));

  test("R1: a record inside the working folder is not there either, and cannot be moved into sight", (context) =>
    scene(context, who, async (places) => {
      const record = path.join(places.work, "deep", "down", "state");
      mkdirSync(record, { recursive: true });
      writeFileSync(path.join(record, "audit.db"), "secret record\n");
      for (const at of [record, path.dirname(record), path.join(places.work, "deep")])
        if (ourUid() === 0) chownSync(at, uidOf(who), uidOf(who));
      const run = await ran(
        who,
        python(`
out(os.listdir("deep/down/state"))
for old in ("deep/down/state", "deep/down", "deep"):
  try: os.rename(old, old + "-moved"); out("moved")
  except OSError as e: out(errno.errorcode[e.errno])
`),
        { places, view: () => ({ hide: [places.record, record] }) },
      );
      expect(answers(run)).toEqual([[], "EBUSY", "EBUSY", "EBUSY"]);
      expect(readdirSync(record)).toEqual(["audit.db"]);
    }));

  test("R2: sockets of the host are out of reach: run folder, /tmp, home, working folder, system, abstract", (context) =>
    scene(context, who, async (places) => {
      const abstract = `\0sidegate-test-${process.pid}`;
      const paths = [
        path.join(places.runtime, "docker.sock"),
        path.join(places.base, "tmux-1000.sock"),
        path.join(places.home, ".ssh", "agent.sock"),
        path.join(places.work, "editor.sock"),
      ];
      const servers: Server[] = [];
      for (const at of [...paths, abstract]) servers.push(await listenAt(at, uidOf(who)));
      const run = await ran(who, dial([...paths, abstract, "/run/dbus/system_bus_socket", "/var/run/docker.sock"]), {
        places,
      });
      for (const server of servers) server.close();
      expect(answers(run)).toEqual([
        "ENOENT",
        "ENOENT",
        "ECONNREFUSED",
        "ECONNREFUSED",
        "ECONNREFUSED",
        "ENOENT",
        "ENOENT",
      ]);
      expect((await run.next("furnished")).open).toEqual([]);
    }));

  test("R2: /run, /tmp, /var/tmp and /dev are its own, and the environment names no door", (context) =>
    scene(context, who, async (places) => {
      const doors = {
        SSH_AUTH_SOCK: "/tmp/ssh",
        DBUS_SESSION_BUS_ADDRESS: "unix:path=/run/user/1/bus",
        TMUX: "/tmp/tmux",
        DOCKER_HOST: "unix:///run/docker.sock",
        XDG_RUNTIME_DIR: places.runtime,
        DISPLAY: ":0",
        NODE_OPTIONS: "--trace-warnings",
        SIDEGATE_TOKEN: "x",
        https_proxy: "http://proxy:1",
      };
      const theirs = `/var/tmp/sidegate-test-${process.pid}`;
      writeFileSync(theirs, "");
      const run = await ran(
        who,
        python(`
out(os.listdir(${JSON.stringify(places.runtime)}))
out(sorted(os.listdir("/run"))); out(os.listdir("/tmp") == ${JSON.stringify([path.basename(places.base)])}); out(os.listdir("/var/tmp"))
out(sorted(os.listdir("/dev")))
out(sorted(k for k in os.environ if k in ${JSON.stringify(Object.keys(doors))}))
`),
        { places, env: doors },
      );
      rmSync(theirs);
      const [runtime, runFolder, tmp, varTmp, dev, env] = answers(run);
      expect([runtime, runFolder]).toEqual([[], ["sidegate"]]);
      expect(tmp).toBe(true);
      expect(varTmp).toEqual([]);
      expect(dev).toEqual("fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".split(" "));
      // What configures the user's own Node stays: it is a setting, not a door.
      expect(env).toEqual(["NODE_OPTIONS"]);
    }));

  test("R2: of the host's tree only what was put there can be reached, by no name", (context) =>
    scene(context, who, async (places) => {
      const run = await ran(
        who,
        python(`
out(sorted(set(os.listdir("/")) - set(${JSON.stringify(readdirSync("/"))})))
points = [line.split()[4] for line in open("/proc/self/mountinfo")]
out([p for p in points if points.count(p) > 1 and p in ("/", "/proc", "/dev", "/run", "/tmp")])
for name in ("..", "../..", "/proc/self/root", "/proc/self/cwd/../../../.."):
  out(os.path.exists(name + "/.old") or os.path.exists(name + ${JSON.stringify(places.record)} + "/audit.db"))
`),
        { places },
      );
      const [extra, doubled, ...seen] = answers(run);
      const own = ["dev", "proc", "run", "sys", "tmp"].filter((name) => !existsSync(`/${name}`));
      expect([extra, doubled]).toEqual([own, []]);
      expect(seen).toEqual([false, false, false, false]);
    }));

  test("R3: no process but its own is seen, and the one that keeps it cannot be read, traced or ended", (context) =>
    scene(context, who, async (places) => {
      const run = await ran(
        who,
        python(`
import ctypes, signal
libc = ctypes.CDLL(None, use_errno=True)
pids = sorted(int(p) for p in os.listdir("/proc") if p.isdigit())
out([p for p in pids if p not in (1, os.getpid())])
for name in ("environ", "mem", "maps", "cwd", "root", "exe", "fd/0", "ns/net"):
  try:
    open("/proc/1/" + name, "rb").read(1); out(name + " read")
  except OSError as e: out(errno.errorcode[e.errno])
out(libc.ptrace(16, 1, 0, 0) == -1 and errno.errorcode[ctypes.get_errno()])
out(libc.ptrace(0x4206, 1, 0, 0) == -1 and errno.errorcode[ctypes.get_errno()])
for sig in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
  try: os.kill(1, sig)
  except OSError: pass
out("still here")
`),
        { places },
      );
      expect(answers(run)).toEqual([[], ...Array(8).fill("EACCES"), "EPERM", "EPERM", "still here"]);
      expect((await run.next("ended")).code).toBe(0);
    }));

  test("R3: no descriptor is inherited but the three", (context) =>
    scene(context, who, async (places) => {
      const run = await ran(
        who,
        python(`
fds = sorted(int(f) for f in os.listdir("/proc/self/fd"))
out([f for f in fds if f > 2 and os.path.exists("/proc/self/fd/%d" % f) and not os.readlink("/proc/self/fd/%d" % f).endswith("/fd")])
`),
        { places },
      );
      expect(answers(run)).toEqual([[]]);
    }));

  test("R3: the kernel's doors beside the Internet are closed: VSOCK, keyrings, io_uring, foreign families", (context) =>
    scene(context, who, async (places) => {
      const run = await ran(
        who,
        python(`
import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
for family in (40, 38, 30, 21, 31, 44, 41, 29, 43, 42, 17, 15):
  try: socket.socket(family, socket.SOCK_DGRAM if family != 17 else socket.SOCK_RAW); out("made %d" % family)
  except OSError as e: out(errno.errorcode[e.errno])
x = platform.machine() == "x86_64"
for number in ((250, 248, 425, 321) if x else (219, 217, 425, 280)):
  out(libc.syscall(number, 0, 0, 0, 0, 0) == -1 and errno.errorcode[ctypes.get_errno()])
status = open("/proc/self/status").read()
out([l.split()[1] for l in status.splitlines() if l.startswith(("CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp:"))])
`),
        { places },
      );
      const [...all] = answers(run);
      expect(all.slice(0, 12)).toEqual(Array(12).fill("EAFNOSUPPORT"));
      expect(all.slice(12, 16)).toEqual(["EPERM", "EPERM", "ENOSYS", "EPERM"]);
      const none = "0000000000000000";
      expect(all[16]).toEqual([none, none, none, none, "1", "2"]);
    }));

  test("R3: x32 and 32-bit system calls do not go around the filter", (context) =>
    scene(context, who, async (places) => {
      const run = await ran(
        who,
        python(`
import ctypes, platform, subprocess
libc = ctypes.CDLL(None, use_errno=True)
if platform.machine() == "x86_64":
  out(libc.syscall(0x40000000 + 41, 40, 1, 0) == -1 and errno.errorcode[ctypes.get_errno()])
else: out("ENOSYS")
`),
        { places },
      );
      expect(answers(run)).toEqual(["ENOSYS"]);
    }));

  test("R3: from a user namespace below, nothing is unmounted, no proc and no sysfs of the host comes back", (context) =>
    scene(context, who, async (places) => {
      const attempts = [
        "umount /tmp",
        `umount ${places.record}`,
        `mount -o remount,rw,bind ${places.policy}`,
        `mount --bind / /mnt && cat /mnt${places.record}/audit.db`,
        "mount -t proc proc /mnt && echo 1 > /mnt/sys/kernel/panic_on_oops",
        "mount -t sysfs sysfs /mnt && test -w /mnt/kernel/uevent_helper",
        "mknod /tmp/sda b 8 0 && cat /tmp/sda",
        "nsenter -t 1 -m true",
        "nsenter -t 1 -n true",
        "nsenter -t 1 -U true",
      ];
      const run = await ran(
        who,
        python(`
import subprocess
for attempt in ${JSON.stringify(attempts)}:
  for way in (["sh", "-c"], ["unshare", "-U", "-m", "sh", "-c"], ["unshare", "-Urm", "sh", "-c"], ["unshare", "-Urmpf", "sh", "-c"]):
    done = subprocess.run(way + [attempt], capture_output=True)
    if done.returncode == 0: out([way, attempt])
`),
        { places },
      );
      expect(answers(run)).toEqual([]);
    }));

  test("R3: no setting of the kernel can be written", (context) =>
    scene(context, who, async (places) => {
      const files = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv4/conf/all/route_localnet",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/power/state",
      ];
      const run = await ran(
        who,
        python(`
for path in ${JSON.stringify(files)}:
  try:
    open(path, "w").close(); out(path)
  except OSError: pass
`),
        { places },
      );
      expect(answers(run)).toEqual([]);
    }));

  test("R4: what is written to the home folder is gone, and the files of the host are as they were", (context) =>
    scene(context, who, async (places) => {
      const run = await ran(
        who,
        [
          "sh",
          "-c",
          "echo evil >> ~/.bashrc; rm ~/.ssh/config; mkdir ~/.config; echo x > ~/.config/autostart; cat ~/.bashrc; ls -A ~/.ssh",
        ],
        { places },
      );
      expect(run.stdout).toBe("# mine\nevil\n");
      expect(readFileSync(path.join(places.home, ".bashrc"), "utf8")).toBe("# mine\n");
      expect(readdirSync(places.home).toSorted()).toEqual([".bashrc", ".local", ".runtime", ".ssh", "policies"]);
      expect(readdirSync(path.join(places.home, ".ssh"))).toEqual(["config"]);
    }));

  test("R4: the working folder is kept, and said to be", (context) =>
    scene(context, who, async (places) => {
      mkdirSync(path.join(places.work, ".git"));
      const run = await ran(who, ["sh", "-c", "echo after > kept.txt"], { places });
      expect(readFileSync(path.join(places.work, "kept.txt"), "utf8")).toBe("after\n");
      const { writable, notes } = await run.next("furnished");
      expect(writable).toEqual([places.work]);
      expect(notes?.join()).toContain(".git");
    }));

  test("R4: the policy folder is read-only, wherever it lies and whatever is tried with its name", (context) =>
    scene(context, who, async (places) => {
      const inside = path.join(places.work, "a", "b", "policy");
      mkdirSync(inside, { recursive: true });
      writeFileSync(path.join(inside, "main.rego"), "package policy\n");
      symlinkSync(inside, path.join(places.work, "link"));
      for (const at of [
        inside,
        path.join(inside, "main.rego"),
        path.join(places.work, "a"),
        path.join(places.work, "a/b"),
      ])
        if (ourUid() === 0) chownSync(at, uidOf(who), uidOf(who));
      const run = await ran(
        who,
        python(`
def attempt(f):
  try: f(); out("done")
  except OSError as e: out(errno.errorcode[e.errno])
for folder in ${JSON.stringify([places.policy, inside])}:
  attempt(lambda: open(folder + "/main.rego", "a"))
  attempt(lambda: open(folder + "/allow.rego", "w"))
  attempt(lambda: os.unlink(folder + "/main.rego"))
  attempt(lambda: os.chmod(folder + "/main.rego", 0o777))
for old in ("a/b/policy", "a/b", "a"):
  attempt(lambda: os.rename(old, old + "-moved"))
attempt(lambda: open("link/main.rego", "a"))
out(open(${JSON.stringify(inside)} + "/main.rego").read())
`),
        { places, view: () => ({ readOnly: [places.policy, inside] }) },
      );
      expect(answers(run)).toEqual([...Array(8).fill("EROFS"), "EBUSY", "EBUSY", "EBUSY", "EROFS", "package policy\n"]);
      expect(readFileSync(path.join(inside, "main.rego"), "utf8")).toBe("package policy\n");
    }));

  test("R4: a home folder is not kept as a whole because the command was started in it", (context) =>
    scene(context, who, async (places) => {
      const run = await ran(who, ["sh", "-c", "echo evil >> .bashrc; echo done"], {
        places,
        view: () => ({ cwd: places.home }),
      });
      expect(run.stdout).toBe("done\n");
      expect(readFileSync(path.join(places.home, ".bashrc"), "utf8")).toBe("# mine\n");
      const { writable, notes } = await run.next("furnished");
      expect(writable).toEqual([]);
      expect(notes?.join()).toContain("home folder");
    }));

  test("R4: a folder in which other programs keep their sockets is not kept because the command was started in it", (context) =>
    scene(context, who, async (places) => {
      const run = await ran(who, ["sh", "-c", "ls -A /tmp"], { places, view: () => ({ cwd: "/tmp" }) });
      expect(run.stdout).toBe(`${path.basename(places.base)}\n`);
      const { writable, notes } = await run.next("furnished");
      expect([writable, notes?.join()]).toEqual([[], expect.stringContaining("/tmp is not kept")]);
    }));

  test("R4: elsewhere nothing of the host is written: not the system, not another's folder", (context) =>
    scene(context, who, async (places) => {
      const run = await ran(
        who,
        python(`
for path in ("/etc/sidegate-test", "/usr/bin/sidegate-test", "/usr/local/bin/sidegate-test", "/var/spool/sidegate-test", "/opt/sidegate-test", "/sidegate-test", "/boot/sidegate-test"):
  try: open(path, "w").write("x")
  except OSError: pass
out("tried")
`),
        { places },
      );
      expect(answers(run)).toEqual(["tried"]);
      for (const at of ["/etc", "/usr/bin", "/usr/local/bin", "/var/spool", "/opt", "", "/boot"])
        expect(existsSync(`${at}/sidegate-test`)).toBe(false);
    }));

  test("R4: --write keeps a second folder, and no other", (context) =>
    scene(context, who, async (places) => {
      const second = path.join(places.base, "second");
      const other = path.join(places.base, "other");
      for (const at of [second, other]) {
        mkdirSync(at);
        if (ourUid() === 0) chownSync(at, uidOf(who), uidOf(who));
      }
      const run = await ran(who, ["sh", "-c", `echo x > ${second}/x; echo x > ${other}/x`], {
        places,
        view: () => ({ write: [second] }),
      });
      expect(readdirSync(second)).toEqual(["x"]);
      expect(readdirSync(other)).toEqual([]);
      expect((await run.next("furnished")).writable?.toSorted()).toEqual([second, places.work]);
    }));

  test("the trust bundle is there, cannot be changed, and stands in for the system's", (context) =>
    scene(context, who, async (places) => {
      const run = await ran(
        who,
        python(`
out(open("/run/sidegate/trust/ca-bundle.pem").read())
for path in ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"):
  if os.path.exists(path): out(open(path).read())
for path in ("/run/sidegate/trust/ca-bundle.pem", "/etc/ssl/certs/ca-certificates.crt"):
  try: open(path, "a"); out("written")
  except OSError: pass
`),
        { places },
      );
      expect(new Set(answers(run))).toEqual(new Set(["ROOTS AND OURS\n"]));
    }));

  test("R5: what the command leaves behind ends with it: daemons, double forks, new sessions", (context) =>
    scene(context, who, async (places) => {
      // Each of them holds our end of stdout open: the run would not end while one lives.
      const run = await ran(
        who,
        python(`
import signal
for _ in range(3):
  if os.fork() == 0:
    os.setsid()
    for s in range(1, 32):
      try: signal.signal(s, signal.SIG_IGN)
      except (OSError, ValueError): pass
    if os.fork() == 0:
      while True: signal.pause()
    os._exit(0)
out("left")
`),
        { places },
      );
      expect(answers(run)).toEqual(["left"]);
      expect((await run.ended).code).toBe(0);
    }));

  test("R5: when the command line is killed, nothing of the run stays", (context) =>
    scene(context, who, async (places) => {
      const run = new Run(who, ["sh", "-c", "trap '' INT TERM HUP; echo up; while :; do sleep 1; done"], places);
      await run.said("up");
      run.signal("SIGKILL");
      // stdout closes only when the last process that holds it is gone.
      expect((await run.ended).signal).toBe("SIGKILL");
    }));
});
