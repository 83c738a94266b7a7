import { expect, test } from "vitest";
import { commandEnvironment } from "./environment.ts";

test("keeps the caller's environment, drops its doors, and what is set wins", () => {
  expect(
    commandEnvironment(
      {
        PATH: "/bin",
        OPENAI_API_KEY: "the agent's own",
        SSH_AUTH_SOCK: "/run/agent",
        DBUS_SESSION_BUS_ADDRESS: "unix:",
        DOCKER_HOST: "unix:",
        TMUX: "x",
        XDG_RUNTIME_DIR: "/run/user/1",
        HTTPS_PROXY: "http://proxy",
        no_proxy: "*",
        SIDEGATE_STATE: "x",
        NODE_CHANNEL_FD: "3",
        SSL_CERT_FILE: "/theirs",
        EMPTY: undefined,
      },
      { SSL_CERT_FILE: "/ours" },
    ),
  ).toEqual({ PATH: "/bin", OPENAI_API_KEY: "the agent's own", SSL_CERT_FILE: "/ours" });
});
