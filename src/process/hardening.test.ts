import { describe, expect, test } from "vitest";
import { cleanEnvironment, HOSTILE_VARIABLES, harden, refusals } from "./hardening.ts";

const flags = ["--disable-sigusr1", "--disable-warning=ExperimentalWarning"];

describe("a process refuses to run", () => {
  test("not with a clean environment and its own flags", () => {
    expect(refusals({ environment: { PATH: "/bin", NODE_OPTIONS: "" }, flags })).toEqual([]);
  });

  test.each([
    "NODE_OPTIONS",
    "LD_PRELOAD",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "SSLKEYLOGFILE",
    "OPENSSL_CONF",
    "NODE_V8_COVERAGE",
  ])("with %s", (name) => {
    expect(refusals({ environment: { [name]: "x" }, flags })).toEqual([`${name} is set: start without it`]);
  });

  test.each([
    "--inspect",
    "--inspect=0.0.0.0:9229",
    "--inspect-brk",
    "--inspect-port=1",
    "--require=/x.js",
    "--require",
    "-r",
    "--import",
    "--loader",
    "--experimental-loader=x",
    "--env-file=x",
    "--tls-keylog=x",
    "--cpu-prof",
    "--heapsnapshot-signal=SIGUSR2",
    "--report-on-signal",
    "--use-openssl-ca",
    "--openssl-config=x",
    "--insecure-http-parser",
    "-e",
    "-pe",
  ])("with the flag %s", (flag) => {
    expect(refusals({ environment: {}, flags: [...flags, flag] })).toEqual([
      `flag ${flag.split("=", 1)[0] ?? ""} is given: start without it`,
    ]);
  });

  test.each(["--max-old-space-size=64", "--disable-warning=ExperimentalWarning", "--no-addons"])(
    "not with %s",
    (flag) => {
      expect(refusals({ environment: {}, flags: [...flags, flag] })).toEqual([]);
    },
  );

  test("without the flag that switches the inspector's signal off", () => {
    expect(refusals({ environment: {}, flags: [] })).toEqual(["flag --disable-sigusr1 is missing"]);
  });
});

test("what is passed on to a child of ours holds none of those variables", () => {
  const environment = Object.fromEntries([...HOSTILE_VARIABLES, "PATH"].map((name) => [name, "x"]));
  expect(cleanEnvironment(environment)).toEqual({ PATH: "x" });
});

describe("what could not be closed is named", () => {
  const never = { prctl: () => -1, setrlimit: () => -1 };

  test("each by itself", () => {
    expect(harden(never)).toEqual([
      "core dumps: setrlimit failed",
      "dumpable: prctl failed",
      "new privileges: prctl failed",
    ]);
    expect(harden({ prctl: () => 0, setrlimit: () => 0 })).toEqual([]);
  });

  test("also where libc cannot be called at all", () => {
    expect(harden(null)).toHaveLength(2);
  });

  test("a kernel that says yes and does not do it is not believed", () => {
    expect(harden({ prctl: (option) => (option === 3 ? 1 : 0), setrlimit: () => 0 })).toEqual([
      "dumpable: prctl failed",
    ]);
  });
});
