/**
 * One operation in one line, for people: `GET https://billing.example/v1/invoices/7`, `connect billing.example:443`,
 * `A billing.example`. Raw text: whoever shows it escapes it (core/escape.ts).
 */
type Members = Readonly<Record<string, unknown>>;

const object = (value: unknown): Members => (typeof value === "object" && value !== null ? (value as Members) : {});
const text = (value: unknown): string => (typeof value === "string" || typeof value === "number" ? String(value) : "");

/** `op`: the operation's members (preamble, protocol, action, facts, detail), as far as they are known. */
export function describeOperation(op: Members): string {
  const target = object(op["target"]);
  const place = `${text(target["host"])}:${text(target["port"])}`;
  const http = object(op["http"]);
  if (op["http"] !== undefined)
    return `${text(http["method"])} ${text(http["scheme"]) || "http"}://${text(http["host"]) || text(target["host"])}${text(http["path"])}`;
  const dns = object(op["dns"]);
  if (op["dns"] !== undefined) return `${text(dns["type"])} ${text(dns["name"])}`;
  const sql = object(op["sql"]);
  if (op["sql"] !== undefined) return `${text(sql["text"])} @ ${place}`;
  return `${text(op["action"]) || "connect"} ${text(op["protocol"])} ${place}`;
}
