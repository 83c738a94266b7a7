/** What `init` is told by the pod's specification: parsed once, all problems together. */
import { ADMIN_PORT, PROXY_UID } from "#contract/names.ts";
import { PROXY_ENV } from "#contract/proxy-environment.ts";
import { DATAPLANES, type Dataplane } from "./apply.ts";

export interface InitConfig {
  readonly proxyUid: number;
  readonly dataplane: Dataplane;
  readonly inboundTcp: readonly number[];
}

export type InitConfigResult =
  | { readonly kind: "config"; readonly config: InitConfig }
  | { readonly kind: "problems"; readonly problems: readonly string[] };

export function parseInitConfig(env: Readonly<Record<string, string | undefined>>): InitConfigResult {
  const problems: string[] = [];
  const uidText = env[PROXY_ENV.uid] ?? "";
  const proxyUid = decimal(uidText);
  if (proxyUid === null || proxyUid < PROXY_UID.first || proxyUid > PROXY_UID.last)
    problems.push(
      `${PROXY_ENV.uid}: a uid from ${PROXY_UID.first} to ${PROXY_UID.last}, not ${JSON.stringify(uidText)}`,
    );
  const plane = env[PROXY_ENV.dataplane] || "auto";
  const dataplane = DATAPLANES.find((d) => d === plane);
  if (dataplane === undefined)
    problems.push(`${PROXY_ENV.dataplane}: ${DATAPLANES.join(", ")}, not ${JSON.stringify(plane)}`);
  const ports: number[] = [ADMIN_PORT];
  for (const text of (env[PROXY_ENV.inbound] ?? "").split(",").map((p) => p.trim())) {
    if (text === "") continue;
    const port = decimal(text);
    if (port === null || port < 1 || port > 65_535)
      problems.push(`${PROXY_ENV.inbound}: ${JSON.stringify(text)} is no port`);
    else ports.push(port);
  }
  if (problems.length > 0 || proxyUid === null || dataplane === undefined) return { kind: "problems", problems };
  return { kind: "config", config: { proxyUid, dataplane, inboundTcp: [...new Set(ports)] } };
}

const decimal = (text: string): number | null => (/^\d{1,10}$/.test(text) ? Number(text) : null);
