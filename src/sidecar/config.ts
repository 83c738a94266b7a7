/** The sidecar's configuration: one frozen value out of the environment that injection or `sidegate run` wrote. */
import { PATHS } from "#contract/names.ts";
import { PROXY_ENV } from "#contract/proxy-environment.ts";
import {
  absolutePath,
  address,
  boolean,
  type Config,
  type ConfigReading,
  integer,
  list,
  oneOf,
  readConfig,
  type Strings,
  setting,
  text,
} from "#process/config.ts";

const MINUTE = 60_000;

const SHAPE = {
  cluster: setting(PROXY_ENV.cluster, text(), { fallback: "local" }),
  namespace: setting(PROXY_ENV.namespace, text(), { fallback: "" }),
  pod: setting(PROXY_ENV.pod, text()),
  podUid: setting(PROXY_ENV.podUid, text(), { fallback: "" }),
  podAddresses: setting(PROXY_ENV.podAddresses, list(address(), 16), { fallback: [] }),
  node: setting(PROXY_ENV.node, text(), { fallback: "" }),
  account: setting(PROXY_ENV.account, text(), { fallback: "" }),
  tier: setting<"advisory" | "enforced" | "locked">(PROXY_ENV.tier, oneOf("advisory", "enforced", "locked"), {
    fallback: "enforced",
  }),
  open: setting(PROXY_ENV.open, list(text(), 64), { fallback: [] }),
  collector: setting(
    PROXY_ENV.collector,
    text({ pattern: /^(https:\/\/[^\s/]+|unix:\/.+)$/, says: "https://host:port or unix:/path" }),
  ),
  collectorCa: setting(PROXY_ENV.collectorCa, pem(), { fallback: null }),
  bundle: setting(
    PROXY_ENV.bundle,
    text({ pattern: /^(https:\/\/\S+|\/.+)$/, says: "https://… or the path of a file" }),
  ),
  bundleKey: setting(PROXY_ENV.bundleKey, pem()),
  bundleKeyId: setting(PROXY_ENV.bundleKeyId, text(), { fallback: "sidegate" }),
  bundleScope: setting(PROXY_ENV.bundleScope, text(), { fallback: "sidegate" }),
  resolvers: setting(PROXY_ENV.resolvers, list(text(), 8), { fallback: [] }),
  state: setting(PROXY_ENV.state, absolutePath(), { fallback: PATHS.state }),
  trust: setting(PROXY_ENV.trust, text(), { fallback: PATHS.trust }),
  spool: setting(PROXY_ENV.spool, absolutePath(), { fallback: "" }),
  listen: setting(PROXY_ENV.listen, inherited(), { fallback: null }),
  admin: setting(PROXY_ENV.admin, text(), { fallback: "" }),
  run: setting(PROXY_ENV.run, text({ maxLength: 8_192 }), { fallback: "" }),
  hosts: setting(PROXY_ENV.hosts, absolutePath(), { fallback: "" }),
  loopback: setting(PROXY_ENV.loopback, boolean(), { fallback: false }),
  decisions: setting(PROXY_ENV.decisions, integer(1, 255), { fallback: 0 }),
  drainMs: setting(PROXY_ENV.drain, integer(0, 10 * MINUTE), { fallback: 20_000 }),
} as const;

export type SidecarConfig = Config<typeof SHAPE>;

export function readSidecarConfig(environment: Strings): ConfigReading<typeof SHAPE> {
  return readConfig(environment, SHAPE);
}

/** PEM travels in one variable; line ends may have become spaces or `\n`. */
function pem(): { parse(value: string): { ok: true; value: string | null } | { ok: false; expected: string } } {
  return {
    parse(value) {
      const whole = value.replaceAll("\\n", "\n");
      return /^-----BEGIN [A-Z ]+-----\s/.test(whole)
        ? { ok: true, value: whole }
        : { ok: false, expected: "a text in PEM form" };
    },
  };
}

/** Listening sockets by name, as descriptors of this process; null: bind the capture ports. */
export type Inherited = Readonly<
  Partial<Record<"tcp4" | "tcp6" | "dnsUdp4" | "dnsUdp6" | "dnsTcp4" | "dnsTcp6", number>>
>;

function inherited(): {
  parse(value: string): { ok: true; value: Inherited | null } | { ok: false; expected: string };
} {
  return {
    parse(value) {
      if (value === "ports") return { ok: true, value: null };
      const found: Record<string, number> = {};
      for (const part of value.split(",")) {
        const match = /^(tcp4|tcp6|dnsUdp4|dnsUdp6|dnsTcp4|dnsTcp6)=(\d{1,3})$/.exec(part);
        if (match?.[1] === undefined) return { ok: false, expected: "ports, or descriptors as in tcp4=4,dnsUdp4=5" };
        found[match[1]] = Number(match[2]);
      }
      return { ok: true, value: found };
    },
  };
}
