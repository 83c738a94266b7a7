/**
 * Records as OCSF 1.8 (schema.ocsf.io): HTTP Activity (4002), DNS Activity (4003), Network Activity (4001) for the rest. What
 * OCSF has no place for stands under `unmapped.sidegate`, so nothing is lost on the way out.
 */
import type { AuditEvent } from "./event.ts";
import { number, object, text } from "./rows.ts";

type Members = Readonly<Record<string, unknown>>;

const CATEGORY_NETWORK = 4;
const HTTP_METHODS = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE", "PATCH"];
const OTHER = 99;

export function toOcsf(event: AuditEvent): Members {
  const { class_uid, activity_id, ...specific } = classOf(event);
  const denied = event.verdict === "deny";
  const run = object(event.op["run"]);
  const target = object(event.op["target"]);
  return {
    category_uid: CATEGORY_NETWORK,
    class_uid,
    activity_id,
    type_uid: class_uid * 100 + activity_id,
    time: Date.parse(event.time),
    // Informational; a denial is low: the gate held.
    severity_id: denied ? 2 : 1,
    action_id: denied ? 2 : 1,
    disposition_id: denied ? 2 : 1,
    status_id: statusOf(event),
    status_detail: event.code ?? undefined,
    message: event.summary,
    count: event.folded > 0 ? event.folded + 1 : undefined,
    duration: event.outcome === null ? undefined : Math.round(event.outcome.ms),
    metadata: {
      version: "1.8.0",
      uid: event.id,
      product: { name: "Sidegate", vendor_name: "Sidegate" },
      profiles: ["security_control"],
    },
    src_endpoint: { name: event.pod, ...addressOf(text(event.session?.["client"])) },
    dst_endpoint: { hostname: text(target["host"]) ?? undefined, port: number(target["port"]) ?? undefined },
    connection_info: { direction_id: 2, protocol_name: "tcp" },
    traffic: event.outcome === null ? undefined : { bytes_out: event.outcome.up, bytes_in: event.outcome.down },
    actor:
      text(run["id"]) === null ? undefined : { user: { name: text(run["user"]) ?? "" }, session: { uid: run["id"] } },
    ...specific,
    unmapped: {
      sidegate: {
        op: event.op,
        decision: event.decision,
        revision: event.revision,
        phase: event.phase,
        outcome: event.outcome,
        erased: event.erased,
      },
    },
  };
}

function classOf(event: AuditEvent): Members & { readonly class_uid: number; readonly activity_id: number } {
  const http = object(event.op["http"]);
  const method = text(http["method"]);
  if (method !== null) {
    const at = HTTP_METHODS.indexOf(method);
    const code = Number(event.outcome?.status);
    return {
      class_uid: 4002,
      activity_id: at < 0 ? OTHER : at + 1,
      http_request: {
        http_method: method,
        url: { scheme: http["scheme"], hostname: http["host"], path: http["path"] },
      },
      http_response: Number.isInteger(code) && code >= 100 ? { code } : undefined,
    };
  }
  const dns = object(event.op["dns"]);
  if (text(dns["name"]) !== null)
    return { class_uid: 4003, activity_id: 1, query: { hostname: dns["name"], type: dns["type"] } };
  return { class_uid: 4001, activity_id: event.verdict === "deny" ? 5 : 1 };
}

/** 0 unknown, 1 success, 2 failure. */
function statusOf(event: AuditEvent): number {
  if (event.verdict === "deny") return 2;
  if (event.outcome === null) return 0;
  return /^\d{3}$/.test(event.outcome.status) || event.outcome.status === "ok" ? 1 : 0;
}

function addressOf(endpoint: string | null): Members {
  const match = /^\[?([0-9a-f.:]+?)\]?:(\d{1,5})$/i.exec(endpoint ?? "");
  return match === null ? {} : { ip: match[1], port: Number(match[2]) };
}
