/**
 * DNS messages (RFC 1035 section 4, EDNS: RFC 6891), as far as a resolver and a stub need them: read a query, write an answer,
 * write a query, read an answer. Our own because each byte comes from an adversary: names are bounded, compression only points
 * backwards, nothing throws, and whatever is odd is null.
 *
 * A name here is lower case, labels joined by dots, no dot at the end; the root is "". A byte in a label that no host name has
 * is written `\ddd` (RFC 1035 section 5.1), so that a dot inside a label can never look like one between labels.
 */

export const DNS_TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
} as const;
export const DNS_CLASS_IN = 1;
export const RCODE = { ok: 0, formErr: 1, servFail: 2, nxDomain: 3, notImp: 4, refused: 5, badVers: 16 } as const;

/** RFC 1035 section 2.3.4: 255 bytes a name, 63 a label. */
const MAX_NAME = 255;
/** Our own cap: a real message needs one or two jumps a name. */
const MAX_JUMPS = 16;
const HEADER = 12;
/** Records that are looked at in one message: more than an honest resolver sends for an address. */
const MAX_RECORDS = 256;

export interface DnsQuestion {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Where the question ends in the message: its bytes are echoed as they came (0x20 case). */
  readonly end: number;
}

export interface DnsQuery {
  readonly id: number;
  readonly opcode: number;
  /** Recursion desired; echoed. */
  readonly recursion: boolean;
  readonly question: DnsQuestion;
  readonly edns: { readonly payload: number; readonly version: number } | null;
}

export type QueryReading =
  | { readonly kind: "query"; readonly query: DnsQuery }
  /** Answered with FORMERR: header and nothing else. */
  | { readonly kind: "malformed"; readonly id: number; readonly opcode: number }
  /** Not even a header, or an answer: answering could make a loop. */
  | { readonly kind: "drop" };

export function readQuery(message: Uint8Array): QueryReading {
  if (message.length < HEADER || (at(message, 2) & 0x80) !== 0) return { kind: "drop" };
  const id = u16(message, 0);
  const opcode = (at(message, 2) >> 3) & 0xf;
  const malformed = { kind: "malformed", id, opcode } as const;
  const question = u16(message, 4) === 1 ? readQuestion(message) : null;
  const additional = u16(message, 10);
  if (question === null || u16(message, 6) !== 0 || u16(message, 8) !== 0 || additional > 2) return malformed;
  let edns: DnsQuery["edns"] = null;
  let next = question.end;
  for (let i = 0; i < additional; i++) {
    const record = readRecord(message, next);
    if (record === null) return malformed;
    if (record.type === DNS_TYPE.OPT) {
      if (edns !== null || record.name !== "") return malformed;
      edns = { payload: record.class, version: (record.ttl >>> 16) & 0xff };
    }
    next = record.end;
  }
  if (next !== message.length) return malformed;
  return { kind: "query", query: { id, opcode, recursion: (at(message, 2) & 1) !== 0, question, edns } };
}

export interface DnsReply {
  readonly rcode: number;
  /** RDATA of the answers, all of the question's type (4 bytes for A, 16 for AAAA). */
  readonly answers: readonly Uint8Array[];
  readonly ttlS: number;
  /** RFC 8914; sent only to who spoke EDNS. `text` is short ASCII. */
  readonly extended: { readonly code: number; readonly text: string } | null;
}

/** The answer to `query`, whose bytes are `message`. Larger than 512 bytes is not written: such answers are truncated (TC). */
export function writeReply(message: Uint8Array, query: DnsQuery, reply: DnsReply, maxBytes: number): Uint8Array {
  const { question, edns } = query;
  const ede = edns === null ? null : reply.extended;
  const optBytes = edns === null ? 0 : 11 + (ede === null ? 0 : 6 + ede.text.length);
  const each = 12 + (reply.answers[0]?.length ?? 0);
  const room = Math.floor((maxBytes - question.end - optBytes) / each);
  const count = Math.max(0, Math.min(reply.answers.length, room));
  const out = new Uint8Array(question.end + count * each + optBytes);
  out.set(message.subarray(0, question.end));
  // QR, opcode and RD as asked, TC if not all fits; RA, so that clients do not take an empty answer for a lame server's.
  out[2] = 0x80 | (query.opcode << 3) | (count < reply.answers.length ? 2 : 0) | (query.recursion ? 1 : 0);
  out[3] = 0x80 | (reply.rcode & 0xf);
  putU16(out, 6, count);
  putU16(out, 8, 0);
  putU16(out, 10, edns === null ? 0 : 1);
  let p = question.end;
  for (let i = 0; i < count; i++) {
    const data = reply.answers[i];
    if (data === undefined) break;
    putU16(out, p, 0xc000 | HEADER);
    putU16(out, p + 2, question.type);
    putU16(out, p + 4, question.class);
    putU16(out, p + 8, reply.ttlS);
    putU16(out, p + 10, data.length);
    out.set(data, p + 12);
    p += 12 + data.length;
  }
  if (edns !== null) {
    putU16(out, p + 1, DNS_TYPE.OPT);
    putU16(out, p + 3, 1_232);
    out[p + 5] = reply.rcode >> 4;
    if (ede !== null) {
      putU16(out, p + 9, 6 + ede.text.length);
      putU16(out, p + 11, 15); // option EXTENDED-DNS-ERROR
      putU16(out, p + 13, 2 + ede.text.length);
      putU16(out, p + 15, ede.code);
      for (let i = 0; i < ede.text.length; i++) out[p + 17 + i] = ede.text.charCodeAt(i) & 0x7f;
    }
  }
  return out;
}

/** A header alone, for what could not be read. */
export function writeBareReply(id: number, opcode: number, rcode: number): Uint8Array {
  const out = new Uint8Array(HEADER);
  putU16(out, 0, id);
  out[2] = 0x80 | (opcode << 3);
  out[3] = 0x80 | rcode;
  return out;
}

/** A recursive query of class IN without EDNS. Null: not a host name that fits a message. */
export function writeQuery(id: number, name: string, type: number): Uint8Array | null {
  const labels = name.split(".");
  if (name.length === 0 || name.length + 2 > MAX_NAME) return null;
  if (!labels.every((label) => /^[a-z0-9_-]{1,63}$/.test(label))) return null;
  const out = new Uint8Array(HEADER + name.length + 2 + 4);
  putU16(out, 0, id);
  out[2] = 1;
  putU16(out, 4, 1);
  let p = HEADER;
  for (const label of labels) {
    out[p++] = label.length;
    for (let i = 0; i < label.length; i++) out[p++] = label.charCodeAt(i);
  }
  putU16(out, p + 1, type);
  putU16(out, p + 3, DNS_CLASS_IN);
  return out;
}

export interface DnsRecord {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly dataAt: number;
  readonly end: number;
}

export interface DnsResponse {
  readonly id: number;
  readonly truncated: boolean;
  readonly rcode: number;
  readonly question: DnsQuestion;
  readonly answers: readonly DnsRecord[];
  /** Seconds for which "no" holds (RFC 2308: the smaller of the SOA's TTL and its minimum); null without SOA. */
  readonly negativeTtlS: number | null;
}

/** Null: not an answer that can be read whole. A truncated one may have no records. */
export function readResponse(message: Uint8Array): DnsResponse | null {
  if (message.length < HEADER || (at(message, 2) & 0xf8) !== 0x80 || u16(message, 4) !== 1) return null;
  const question = readQuestion(message);
  if (question === null) return null;
  const truncated = (at(message, 2) & 2) !== 0;
  const head = { id: u16(message, 0), truncated, rcode: at(message, 3) & 0xf, question };
  if (truncated) return { ...head, answers: [], negativeTtlS: null };
  const total = u16(message, 6) + u16(message, 8);
  if (total > MAX_RECORDS) return null;
  const answers: DnsRecord[] = [];
  let negativeTtlS: number | null = null;
  let next = question.end;
  for (let i = 0; i < total; i++) {
    const record = readRecord(message, next);
    if (record === null) return null;
    next = record.end;
    if (i < u16(message, 6)) answers.push(record);
    else if (record.type === DNS_TYPE.SOA && record.end - record.dataAt >= 22)
      negativeTtlS = Math.min(record.ttl, u32(message, record.end - 4));
  }
  return { ...head, answers, negativeTtlS };
}

/** The name in a CNAME's data, which must fill the data exactly. */
export function readTarget(message: Uint8Array, record: DnsRecord): string | null {
  const name = readName(message, record.dataAt, true);
  return name === null || name.end !== record.end ? null : name.name;
}

function readQuestion(message: Uint8Array): DnsQuestion | null {
  // The first name of a message has nothing behind it to point to.
  const name = readName(message, HEADER, false);
  if (name === null || name.end + 4 > message.length) return null;
  return { name: name.name, type: u16(message, name.end), class: u16(message, name.end + 2), end: name.end + 4 };
}

function readRecord(message: Uint8Array, from: number): DnsRecord | null {
  const name = readName(message, from, true);
  if (name === null || name.end + 10 > message.length) return null;
  const p = name.end;
  const dataAt = p + 10;
  const end = dataAt + u16(message, p + 8);
  if (end > message.length) return null;
  // RFC 2181 section 8: a TTL with the top bit set counts as zero. For OPT the field is no TTL, and its users mask it.
  const type = u16(message, p);
  const raw = u32(message, p + 4);
  const ttl = type !== DNS_TYPE.OPT && raw > 0x7fff_ffff ? 0 : raw;
  return { name: name.name, type, class: u16(message, p + 2), ttl, dataAt, end };
}

function readName(message: Uint8Array, from: number, compressed: boolean): { name: string; end: number } | null {
  let name = "";
  let wire = 1;
  let jumps = 0;
  let end = -1;
  let p = from;
  let lowest = from;
  for (;;) {
    if (p >= message.length) return null;
    const length = at(message, p);
    if (length === 0) return { name, end: end < 0 ? p + 1 : end };
    if ((length & 0xc0) === 0xc0) {
      if (!compressed || p + 1 >= message.length || ++jumps > MAX_JUMPS) return null;
      const to = ((length & 0x3f) << 8) | at(message, p + 1);
      // Strictly backwards each time, so that no chain can turn in a circle.
      if (to >= lowest || to < HEADER) return null;
      if (end < 0) end = p + 2;
      lowest = to;
      p = to;
      continue;
    }
    wire += length + 1;
    if (length > 63 || wire > MAX_NAME || p + 1 + length > message.length) return null;
    name += name === "" ? label(message, p + 1, length) : `.${label(message, p + 1, length)}`;
    p += 1 + length;
  }
}

function label(message: Uint8Array, from: number, length: number): string {
  let text = "";
  for (let i = from; i < from + length; i++) {
    const c = at(message, i);
    if (c >= 0x41 && c <= 0x5a) text += String.fromCharCode(c + 32);
    else if ((c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || c === 0x2d || c === 0x5f)
      text += String.fromCharCode(c);
    else text += `\\${String(c).padStart(3, "0")}`;
  }
  return text;
}

function at(bytes: Uint8Array, i: number): number {
  return bytes[i] ?? 0;
}
function u16(bytes: Uint8Array, i: number): number {
  return (at(bytes, i) << 8) | at(bytes, i + 1);
}
function u32(bytes: Uint8Array, i: number): number {
  return u16(bytes, i) * 0x1_0000 + u16(bytes, i + 2);
}
function putU16(bytes: Uint8Array, i: number, value: number): void {
  bytes[i] = value >> 8;
  bytes[i + 1] = value & 0xff;
}
