/**
 * `egress.upstreamProxy`: a network that lets nobody out but its own HTTP proxy. Dials go through it by name (the proxy resolves),
 * and never around it when it fails.
 *
 * What the address rules cannot see then is the proxy's to refuse: where a name leads. Literal addresses are judged here as ever.
 * Fails towards no connection: only a 2xx with a whole head opens the tunnel.
 */
import { type Address, type Cidr, contains, parseAddress, parseCidr, parsePlainAddress } from "#core/cidr.ts";
import { KeptChunk } from "#core/kept-chunk.ts";
import type { Chunk, LegEvents, LegFault } from "../seam/leg.ts";
import type { Dial, Outbound } from "../seam/stages.ts";
import type { Permit } from "../seam/verdict.ts";

export interface UpstreamProxy {
  /** A name, or a numeric address. */
  readonly host: string;
  readonly port: number;
  /** Whether a host is dialled without the proxy. */
  readonly bypasses: (host: string) => boolean;
  /** Value of Proxy-Authorization, asked for at each dial and kept nowhere; null: none. */
  readonly authorization: (() => string) | null;
}

/** Our own cap on the proxy's answer. */
const MAX_HEAD = 16_384;
const HEAD_END = "\r\n\r\n";
const STATUS = /^HTTP\/1\.[01] ([1-5][0-9]{2})(?: |\r\n)/;
const NAME = /^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$/;

/**
 * `url`: `http://host:port`, nothing else (user and password come from a credential, TLS inside TLS is not spoken). `noProxy`: names
 * (with everything under them), addresses and ranges; `*` is refused, since it would switch the proxy off unseen. Null: malformed.
 */
export function parseProxy(
  url: string,
  noProxy: readonly string[],
  authorization: UpstreamProxy["authorization"],
): UpstreamProxy | null {
  const read = /^http:\/\/(\[[0-9a-fA-F:.]+\]|[^/:@?#[\]\s]+):([1-9][0-9]{0,4})\/?$/.exec(url);
  const host = read?.[1]?.replace(/^\[|\]$/g, "").toLowerCase();
  const port = Number(read?.[2]);
  if (host === undefined || port > 65_535 || (!NAME.test(host) && parseAddress(host) === null)) return null;
  const ranges: Cidr[] = [];
  const names: string[] = [];
  for (const text of noProxy) {
    const range = parseCidr(text);
    const name = text.toLowerCase().replace(/^\*?\./, "");
    if (range !== null) ranges.push(range);
    else if (NAME.test(name)) names.push(name);
    else return null;
  }
  return { host, port, authorization, bypasses: (name) => bypasses(name, parsePlainAddress(name), names, ranges) };
}

function bypasses(host: string, address: Address | null, names: readonly string[], ranges: readonly Cidr[]): boolean {
  if (address !== null) return ranges.some((range) => contains(range, address));
  return names.some((name) => host === name || host.endsWith(`.${name}`));
}

export interface TunnelOptions {
  readonly proxy: UpstreamProxy;
  readonly request: Pick<Dial, "host" | "port" | "secure" | "alpn">;
  readonly permit: Permit<"connect" | "ask">;
  /** The tunnel is open, and TLS on it where the request is secure. `early`: what the server said behind the proxy's head. */
  readonly opened: (outbound: Outbound, early: Chunk | null) => void;
  readonly failed: (fault: LegFault) => void;
}

/** Asks the proxy for a tunnel (RFC 9110 section 9.3.6) on a connection that is open; its own listener until then. */
export class Tunnel implements LegEvents {
  readonly #options: TunnelOptions;
  readonly #outbound: Outbound;
  #head = "";
  #securing = false;
  #over = false;

  constructor(outbound: Outbound, options: TunnelOptions) {
    this.#outbound = outbound;
    this.#options = options;
    const { host, port } = options.request;
    const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    const credential = options.proxy.authorization;
    const proof = credential === null ? "" : `Proxy-Authorization: ${credential()}\r\n`;
    outbound.relisten(this);
    outbound.write(options.permit, `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${proof}\r\n`);
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#outbound.reset();
  }

  data(chunk: Chunk): void {
    if (this.#over) return;
    if (this.#securing) return this.#fail("plaintext-before-tls");
    const before = this.#head.length;
    this.#head += chunk.latin1(0, Math.min(chunk.length, MAX_HEAD));
    const end = this.#head.indexOf(HEAD_END, Math.max(0, before - 3));
    if (end < 0) {
      if (this.#head.length >= MAX_HEAD) this.#fail("refused");
      return;
    }
    const status = STATUS.exec(this.#head)?.[1];
    if (status?.startsWith("2") !== true) return this.#fail("refused");
    const from = end + HEAD_END.length - before;
    if (!this.#options.request.secure) {
      this.#open(from < chunk.length ? new KeptChunk(chunk.slice(from, chunk.length)) : null);
      return;
    }
    // The server of a TLS connection waits for us: bytes here are the proxy's, or somebody's in between.
    if (from < chunk.length) return this.#fail("plaintext-before-tls");
    this.#securing = true;
    this.#outbound.startTls(this.#options.request.alpn);
  }

  secured(): void {
    if (!this.#over) this.#open(null);
  }
  ended(): void {
    this.#fail("refused");
  }
  failed(fault: LegFault): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.failed(fault);
  }
  opened(): void {}
  drained(): void {}

  #open(early: Chunk | null): void {
    this.#over = true;
    this.#options.opened(this.#outbound, early);
  }

  #fail(fault: LegFault): void {
    if (this.#over) return;
    this.#over = true;
    this.#outbound.reset();
    this.#options.failed(fault);
  }
}
