/**
 * One operation in one line, for people: `GET https://billing.example/v1/invoices/7`, `connect billing.example:443`,
 * `look up billing.example A`. Raw text: whoever shows it escapes it (core/escape.ts).
 */
type Members = Readonly<Record<string, unknown>>;

const object = (value: unknown): Members => (typeof value === "object" && value !== null ? (value as Members) : {});
const text = (value: unknown): string => (typeof value === "string" || typeof value === "number" ? String(value) : "");

/** `op`: the operation's members (preamble, protocol, action, facts and the rest laid over each other), as far as they are known. */
export function describeOperation(op: Members): string {
  const target = object(op["target"]);
  const place = `${text(target["host"])}:${text(target["port"])}`;
  const http = object(op["http"]);
  if (text(http["method"]) !== "") return `${text(http["method"])} ${httpPlace(target, http)}${text(http["path"])}`;
  const dns = object(op["dns"]);
  if (op["dns"] !== undefined) return `look up ${text(dns["name"])} ${text(dns["type"])}`;
  const sql = object(op["sql"]);
  if (op["sql"] !== undefined) return `${text(sql["text"])} @ ${place}`;
  return `${text(op["action"]) || "connect"} ${text(op["protocol"])} ${place}`;
}

function httpPlace(target: Members, http: Members): string {
  const port = text(target["port"]);
  const scheme = text(http["scheme"]) || (port === "443" ? "https" : "http");
  const usual = scheme === "https" ? "443" : "80";
  const host = text(target["host"]) || text(http["host"]);
  return `${scheme}://${host}${port === "" || port === usual ? "" : `:${port}`}`;
}
