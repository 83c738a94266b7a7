/** What `init` is told by the pod's specification: parsed once, all problems together. */
import { ADMIN_PORT, OUR_PORT_NUMBERS, PROXY_UID } from "#contract/names.ts";
import { PROXY_ENV } from "#contract/proxy-environment.ts";
import { DATAPLANES, type Dataplane } from "./apply.ts";
import type { MeshExemption } from "./model.ts";

export interface InitConfig {
  readonly proxyUid: number;
  readonly dataplane: Dataplane;
  readonly inboundTcp: readonly number[];
  /** Null: no mesh's proxy is in this pod. */
  readonly mesh: MeshExemption | null;
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
  const meshText = env[PROXY_ENV.mesh] ?? "";
  const mesh = meshText === "" ? null : parseMesh(meshText);
  if (mesh === undefined) problems.push(`${PROXY_ENV.mesh}: UID:PORT,PORT…, not ${JSON.stringify(meshText)}`);
  if (problems.length > 0 || proxyUid === null || dataplane === undefined || mesh === undefined)
    return { kind: "problems", problems };
  return { kind: "config", config: { proxyUid, dataplane, inboundTcp: [...new Set(ports)], mesh } };
}

/** Never root, which every image may be, and never one of ours. */
function parseMesh(text: string): MeshExemption | undefined {
  const [, uidText = "", portsText = ""] = /^(\d{1,10}):(\d{1,5}(?:,\d{1,5}){0,63})$/.exec(text) ?? [];
  const uid = Number(uidText);
  const ports = portsText.split(",").map(Number);
  if (uid < 1 || uid >= 0xffff_ffff || (uid >= PROXY_UID.first && uid <= PROXY_UID.last)) return undefined;
  return ports.every((p) => p >= 1 && p <= 65_535 && !OUR_PORT_NUMBERS.includes(p)) ? { uid, ports } : undefined;
}

const decimal = (text: string): number | null => (/^\d{1,10}$/.test(text) ? Number(text) : null);
