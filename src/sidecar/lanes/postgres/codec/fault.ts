/** What can be wrong with bytes that should be PostgreSQL's protocol. A fault ends the session: where the next message begins is not known. */
export type WireFault =
  | "length" // smaller than a message can be, or larger than this one may be
  | "type" // no such message, or not in this state
  | "text" // a string without its end, or with something behind it
  | "count" // fewer fields than were announced, or more
  | "encoding" // no UTF-8
  | "truncated"; // the side ended in the middle of a message

/** For `Result`s that are a value or a fault: faults are strings, values never are. */
export function isFault(value: unknown): value is WireFault {
  return typeof value === "string";
}
