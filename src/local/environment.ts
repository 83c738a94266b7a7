/**
 * The command's environment: the caller's, less what points at doors that are closed inside or would reach back to the caller's
 * session, and less what proxies and trust files it would miss. Credentials that the caller has in its environment are its own
 * affair and stay: the agent needs some of them.
 */

/** Sockets, session buses and multiplexers of the caller's login, and what would configure our own Node. */
const REMOVED = [
  "SSH_AUTH_SOCK",
  "SSH_AGENT_PID",
  "SSH_CONNECTION",
  "SSH_CLIENT",
  "SSH_TTY",
  "GPG_AGENT_INFO",
  "GPG_TTY",
  "DBUS_SESSION_BUS_ADDRESS",
  "DBUS_SYSTEM_BUS_ADDRESS",
  "TMUX",
  "TMUX_PANE",
  "TMUX_TMPDIR",
  "STY",
  "ZELLIJ",
  "ZELLIJ_SESSION_NAME",
  "KITTY_LISTEN_ON",
  "WEZTERM_UNIX_SOCKET",
  "ALACRITTY_SOCKET",
  "NVIM",
  "NVIM_LISTEN_ADDRESS",
  "VSCODE_IPC_HOOK_CLI",
  "VSCODE_GIT_IPC_HANDLE",
  "VSCODE_GIT_ASKPASS_NODE",
  "VSCODE_GIT_ASKPASS_MAIN",
  "DOCKER_HOST",
  "CONTAINER_HOST",
  "XDG_RUNTIME_DIR",
  "DISPLAY",
  "WAYLAND_DISPLAY",
  "XAUTHORITY",
  "SESSION_MANAGER",
  "ICEAUTHORITY",
  "PULSE_SERVER",
  "PIPEWIRE_REMOTE",
  "NOTIFY_SOCKET",
  "LISTEN_FDS",
  "LISTEN_PID",
  "LISTEN_FDNAMES",
  "WATCHDOG_PID",
  "WATCHDOG_USEC",
  "INVOCATION_ID",
  "JOURNAL_STREAM",
  "SYSTEMD_EXEC_PID",
  "MANAGERPID",
  "NODE_CHANNEL_FD",
  "NODE_CHANNEL_SERIALIZATION_MODE",
  "TMPDIR",
  "TEMP",
  "TMP",
] as const;

/** A proxy of the caller's network is not reachable from inside; the gateway itself dials through it where it is told to. */
const PROXIES = ["http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy"] as const;

/** `set` wins over everything. The result has no undefined value. */
export function commandEnvironment(
  caller: Readonly<Record<string, string | undefined>>,
  set: Readonly<Record<string, string>>,
): Record<string, string> {
  const removed = new Set<string>([...REMOVED, ...PROXIES, ...PROXIES.map((p) => p.toUpperCase())]);
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(caller))
    if (value !== undefined && !removed.has(name) && !name.startsWith("SIDEGATE_")) kept[name] = value;
  return { ...kept, ...set };
}
