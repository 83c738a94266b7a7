/**
 * One DNS query in, one answer out (or none): what our resolver says to the agent. Nothing is asked upstream, except for a name
 * whose target says `answer: upstream`.
 *
 * Errs towards "no such name". A message that cannot be read whole is FORMERR; an answer sent to us is dropped. Never throws.
 */
import type { Target } from "#contract/target.ts";
import type { Address } from "#core/cidr.ts";
import {
  DNS_CLASS_IN,
  DNS_TYPE,
  type DnsQuery,
  type DnsReply,
  RCODE,
  readQuery,
  writeBareReply,
  writeReply,
} from "#core/dns-wire.ts";
import type { NameAnswer } from "./destinations.ts";

export interface QuerySeen {
  /** Lower case, no dot at the end; odd bytes as `\ddd`; at most 1,016 characters, all printable ASCII. */
  readonly name: string;
  /** "A", "AAAA", …, or "TYPE123". */
  readonly type: string;
  /**
   * synthetic, upstream: addresses given. observed: no target lists the name, and observation let it through. nxdomain: no target lists the name (a denial). nodata: allowed, but nothing of that
   * type. search: the client's own search list, counted only. refused: a type, class or opcode that is never answered.
   * failed: allowed, but out of bounds, or the upstream resolver gave nothing.
   */
  readonly answer: "synthetic" | "upstream" | "observed" | "nxdomain" | "nodata" | "search" | "refused" | "failed";
}

export interface AnswerOptions {
  readonly name: (host: string) => NameAnswer;
  readonly learn: (host: string, addresses: readonly string[]) => readonly Address[];
  /** For `answer: upstream`; calls back exactly once, with numeric addresses that the target may have. */
  readonly resolve: (host: string, target: Target, then: (addresses: readonly string[]) => void) => void;
  /** Whether AAAA is answered. */
  readonly v6: boolean;
  /** Search domains of the agent's resolv.conf, lower case, no dot at the end. */
  readonly search: readonly string[];
  readonly onQuery: (query: QuerySeen) => void;
  /** Seconds for which an address may be kept; 5 to 30. */
  readonly ttlS?: number;
}

export type Answerer = (message: Uint8Array, maxBytes: number | null, send: (answer: Uint8Array) => void) => void;

const TTL_S = 15;
/** Queries that wait for an upstream resolver at once; more are answered SERVFAIL. */
const MAX_WAITING = 128;
/** RFC 1035: what a UDP answer may have without EDNS; RFC 6891's advice for what it should have at most with it. */
const UDP_MIN = 512;
const UDP_MAX = 1_232;

/** Types that carry free text or whole zones: never answered, for any name. */
const REFUSED_TYPES = new Map([
  [10, "NULL"],
  [DNS_TYPE.TXT, "TXT"],
  [251, "IXFR"],
  [252, "AXFR"],
  [253, "MAILB"],
  [254, "MAILA"],
  [255, "ANY"],
]);
const TYPES = new Map<number, string>([
  ...Object.entries(DNS_TYPE).map(([name, type]) => [type, name] as const),
  ...REFUSED_TYPES,
  [15, "MX"],
  [33, "SRV"],
]);

/** RFC 8914: 15 Blocked, 18 Prohibited. Short: the text goes to whoever asks. */
const BLOCKED = { code: 15, text: "sidegate: no target lists this name" } as const;
const PROHIBITED = { code: 18, text: "sidegate: this query is never answered" } as const;
const EXHAUSTED = { code: 15, text: "sidegate: too many names" } as const;

/** `maxBytes`: what the transport carries; null for UDP, where the query says it. */
export function createAnswerer(options: AnswerOptions): Answerer {
  const ttlS = Math.min(30, Math.max(5, options.ttlS ?? TTL_S));
  let waiting = 0;

  return (message, maxBytes, send) => {
    const reading = readQuery(message);
    if (reading.kind === "drop") return;
    if (reading.kind === "malformed") return send(writeBareReply(reading.id, reading.opcode, RCODE.formErr));
    const { query } = reading;
    const { question, edns } = query;
    const limit = maxBytes ?? Math.min(UDP_MAX, Math.max(UDP_MIN, edns?.payload ?? UDP_MIN));
    const reply = (answer: QuerySeen["answer"], rcode: number, more: Partial<DnsReply> = {}): void => {
      options.onQuery({ name: question.name, type: typeName(question.type), answer });
      send(writeReply(message, query, { rcode, answers: [], ttlS, extended: null, ...more }, limit));
    };

    if (query.opcode !== 0) return reply("refused", RCODE.notImp);
    if (edns !== null && edns.version !== 0) return reply("refused", RCODE.badVers);
    if (question.class !== DNS_CLASS_IN || REFUSED_TYPES.has(question.type))
      return reply("refused", RCODE.refused, { extended: PROHIBITED });

    const named = options.name(question.name);
    switch (named.kind) {
      case "unknown": {
        const search = isSearch(question.name, options.search);
        return reply(search ? "search" : "nxdomain", RCODE.nxDomain, { extended: search ? null : BLOCKED });
      }
      case "observed":
        // The search list's names must not exist here either: the client would take the first that does.
        if (isSearch(question.name, options.search)) return reply("search", RCODE.nxDomain);
        return reply("observed", RCODE.ok, { answers: synthetic(named, question.type, options.v6) });
      case "exhausted":
        return reply("failed", RCODE.servFail, { extended: EXHAUSTED });
      case "synthetic": {
        const answers = synthetic(named, question.type, options.v6);
        return reply(answers.length > 0 ? "synthetic" : "nodata", RCODE.ok, { answers });
      }
      case "upstream": {
        const family = familyOf(query, options.v6);
        if (family === null) return reply("nodata", RCODE.ok);
        if (waiting >= MAX_WAITING) return reply("failed", RCODE.servFail);
        waiting++;
        options.resolve(question.name, named.target, (addresses) => {
          waiting--;
          const alone = options.learn(question.name, addresses);
          const answers = alone.filter((address) => address.family === family).map((address) => address.bytes);
          if (alone.length === 0) reply("failed", RCODE.servFail);
          else if (answers.length === 0) reply("nodata", RCODE.ok);
          else reply("upstream", RCODE.ok, { answers });
        });
      }
    }
  };
}

function synthetic(
  named: { readonly v4: Uint8Array; readonly v6: Uint8Array },
  type: number,
  v6: boolean,
): Uint8Array[] {
  if (type === DNS_TYPE.A) return [named.v4];
  return type === DNS_TYPE.AAAA && v6 ? [named.v6] : [];
}

function familyOf({ question }: DnsQuery, v6: boolean): 4 | 6 | null {
  if (question.type === DNS_TYPE.A) return 4;
  return question.type === DNS_TYPE.AAAA && v6 ? 6 : null;
}

/** A client with `ndots:5` tries each name under each search domain first: noise, and no denial. */
function isSearch(name: string, domains: readonly string[]): boolean {
  return domains.some((domain) => name === domain || (name.endsWith(domain) && name.at(-domain.length - 1) === "."));
}

function typeName(type: number): string {
  return TYPES.get(type) ?? `TYPE${type}`;
}
