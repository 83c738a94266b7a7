/**
 * Random HTTP/1 conversations, nearly right: built from parts of which some are wrong, then sometimes damaged by a byte or two.
 * Seeded: the same seed makes the same corpus.
 */
export interface Random {
  /** 0 to n - 1. */
  below(n: number): number;
  pick<T>(from: readonly [T, ...T[]]): T;
  chance(percent: number): boolean;
}

/** mulberry32. */
export function random(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  const below = (n: number): number => next() % n;
  return {
    below,
    pick: (from) => from[below(from.length)] ?? from[0],
    chance: (percent) => below(100) < percent,
  };
}

type Words = readonly [string, ...string[]];

const METHODS: Words = ["GET", "GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "PURGE"];
const ODD_METHODS: Words = [
  "get",
  "G T",
  "G@T",
  "",
  "GET\t",
  "FOO",
  "PRI",
  "TRACE",
  "CONNECT",
  "M-SEARCH",
  "\0GET",
  "GETT",
];
const TARGETS: Words = [
  "/",
  "/a",
  "/a/b?c=d",
  "/v1/x?y=%20&z=%C3%A4",
  "/a/",
  "/a;b=c",
  "/~u/-._!$&'()*+,=:@",
  "/?",
  "/a?b/c?d",
];
const ODD_TARGETS: Words = [
  "",
  "a",
  "*",
  "//",
  "/a//b",
  "/./a",
  "/a/..",
  "/%2e%2e/",
  "/a%2Fb",
  "/%",
  "/%0a",
  "/%00",
  "/a b",
  "/a\tb",
  "/\xe4",
  "/a#b",
  "/a\\b",
  '/"',
  "/<>",
  "/{}",
  "/[x]|^`",
  "http://billing.test/x",
  "http://billing.test",
  "http://u@billing.test/",
  "ftp://x/",
  "billing.test:80",
  "/a?b=%",
  "/a?b=\xff",
  '/a?{}"<>',
  "/\x01",
  "/\x7f",
  "https://[::1]:1/",
];
const VERSIONS: Words = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"];
const ODD_VERSIONS: Words = [
  "HTTP/0.9",
  "HTTP/1.2",
  "HTTP/2.0",
  "http/1.1",
  "HTTP/1.1 ",
  "HTTP/01.1",
  "HTTP /1.1",
  "",
  "ICE/1.0",
  "RTSP/1.0",
];
const ENDS: Words = ["\n", "\r", "\r\r\n", "\n\r", " \r\n", "\t\r\n", "\0\r\n", ""];
const FIELDS: Words = [
  "Accept: */*",
  "User-Agent: x/1",
  "X-A:1",
  "X-B:  spaced  ",
  "X-C:",
  "X-D: \t tab\t",
  "Cookie: a=b; c=d",
  "X-E: caf\xe9",
  "Content-Type: text/plain",
  "Authorization: Basic eDp5",
  "Connection: keep-alive",
  "Connection: close",
  "TE: trailers",
  "Cache-Control: no-cache",
  'If-None-Match: "x"',
  "Expect: 100-continue",
  "Trailer: X-T",
  'X-F: a,b;c="d\\"e"',
];
const ODD_FIELDS: Words = [
  " X: folded",
  "\tX: folded",
  "X : y",
  "X\t: y",
  "X",
  ": y",
  "X\0: y",
  "X: \0",
  "X: \x01",
  "X: \x7f",
  "X: a\rb",
  "X: a\nb",
  "X\xe4: y",
  "(X): y",
  "X y: z",
  "Content-Length: 0",
  "Content-Length: 3",
  "Content-Length: 3, 3",
  "Content-Length: +3",
  "Content-Length: 0x3",
  "Content-Length: 03",
  "Content-Length: -1",
  "Content-Length:",
  "Content-Length: 99999999999999999999",
  "Content-Length: 3 ",
  "Content_Length: 3",
  "content-length: 3",
  "Transfer-Encoding: chunked",
  "transfer-encoding: CHUNKED",
  "Transfer-Encoding: gzip",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: chunked, gzip",
  "Transfer-Encoding: identity",
  "Transfer-Encoding:",
  "Transfer-Encoding: chunked,chunked",
  "Transfer-Encoding: \x0bchunked",
  "Transfer-Encoding : chunked",
  "Host: other.test",
  "Host: billing.test",
  "Host:",
  "Connection: X-A",
  "Connection: close, X-A",
  "Connection: content-length",
  "Connection: a b",
  "Connection: upgrade",
  "Upgrade: websocket",
  "Expect: x",
  "Expect: 100-continue",
  "Proxy-Connection: keep-alive",
  "Content-Type: a/b",
  "Authorization: x",
  "HTTP/1.1 200 OK",
  "GET / HTTP/1.1",
];
const SIZES: Words = ["3", "3", "3", "a", "00003", "A"];
const ODD_SIZES: Words = [
  "",
  " 3",
  "3 ",
  "+3",
  "-3",
  "0x3",
  "3g",
  "g",
  "80000000",
  "7fffffff",
  "100000003",
  "ffffffffffffffff",
  "0000000003",
];
const EXTENSIONS: Words = ["", "", "", ";a", ";a=b", ';a="b;c"', ';a="\\""'];
const ODD_EXTENSIONS: Words = [
  ";",
  ";;",
  " ;a",
  "; a",
  ";a=",
  ';a="b',
  ";a\nb",
  ";a\rb",
  ";\0",
  ';a="\n"',
  ";a b",
  ";=b",
  ";a=b c",
];
const TRAILERS: Words = ["", "", "", "X-T: 1\r\n", "X-T: 1\r\nX-U: 2\r\n"];
const ODD_TRAILERS: Words = [
  "Content-Length: 3\r\n",
  "Host: x\r\n",
  " X: y\r\n",
  "X\r\n",
  "X: y\n",
  "X : y\r\n",
  "X: \0\r\n",
  "Transfer-Encoding: chunked\r\n",
];
const NASTY: Words = [
  "\r",
  "\n",
  "\0",
  " ",
  "\t",
  ":",
  ";",
  "%",
  "\r\n",
  "0",
  ",",
  "\xff",
  "\x0b",
  "\x0c",
  "/",
  '"',
  "a",
];

/** One connection's worth of requests. `odd`: percent of parts that are wrong. */
export function requests(r: Random, odd: number): string {
  let text = r.chance(3) ? r.pick(["\r\n", "\r\n\r\n", "\n"]) : "";
  const count = 1 + r.below(3);
  for (let i = 0; i < count; i++) text += request(r, odd);
  return damage(r, text);
}

function request(r: Random, odd: number): string {
  const end = (): string => (r.chance(odd / 4) ? r.pick(ENDS) : "\r\n");
  const space = (): string => (r.chance(odd / 4) ? r.pick(["  ", "\t", "", " \t"]) : " ");
  const method = r.chance(odd) ? r.pick(ODD_METHODS) : r.pick(METHODS);
  const target = r.chance(odd) ? r.pick(ODD_TARGETS) : r.pick(TARGETS);
  const version = r.chance(odd) ? r.pick(ODD_VERSIONS) : r.pick(VERSIONS);
  let head = `${method}${space()}${target}${space()}${version}${end()}`;
  if (!r.chance(odd / 4)) head += `Host: billing.test${end()}`;
  return `${head}${message(r, odd, end)}`;
}

/** Fields, empty line and body. */
function message(r: Random, odd: number, end: () => string): string {
  let head = "";
  for (let n = r.below(5); n > 0; n--) head += `${r.chance(odd) ? r.pick(ODD_FIELDS) : r.pick(FIELDS)}${end()}`;
  let body = "";
  if (r.chance(35)) {
    body = "abc".slice(0, r.chance(10) ? r.below(4) : 3);
    head += `Content-Length: 3${end()}`;
  } else if (r.chance(40)) {
    head += `Transfer-Encoding: chunked${end()}`;
    body = chunks(r, odd, end);
  }
  return `${head}${end()}${body}`;
}

function chunks(r: Random, odd: number, end: () => string): string {
  let body = "";
  for (let n = r.below(3); n > 0; n--) {
    const size = r.chance(odd) ? r.pick(ODD_SIZES) : r.pick(SIZES);
    const extension = r.chance(odd) ? r.pick(ODD_EXTENSIONS) : r.pick(EXTENSIONS);
    const length = Number.parseInt(size, 16);
    body += `${size}${extension}${end()}${"x".repeat(Number.isNaN(length) || length > 16 || length < 0 ? 3 : length)}${end()}`;
  }
  if (r.chance(4)) return body;
  return `${body}0${r.chance(odd) ? r.pick(ODD_EXTENSIONS) : ""}${end()}${r.chance(odd) ? r.pick(ODD_TRAILERS) : r.pick(TRAILERS)}${end()}`;
}

const STATUSES: Words = [
  "200 OK",
  "200 OK",
  "204 No Content",
  "304 Not Modified",
  "404 Not Found",
  "100 Continue",
  "103 Early Hints",
  "500 x\xe4y",
  "200 ",
];
const ODD_STATUSES: Words = [
  "200",
  "20 OK",
  "2000 OK",
  "abc OK",
  "099 x",
  "101 Switching Protocols",
  " 200 OK",
  "200\tOK",
  "200 a\0b",
  "200 a\rb",
  "600 x",
];

/** One answer, perhaps with interim ones in front. */
export function answers(r: Random, odd: number): string {
  let text = "";
  const count = 1 + r.below(2);
  for (let i = 0; i < count; i++) {
    const end = (): string => (r.chance(odd / 4) ? r.pick(ENDS) : "\r\n");
    const version = r.chance(odd) ? r.pick(ODD_VERSIONS) : r.pick(VERSIONS);
    const status = r.chance(odd) ? r.pick(ODD_STATUSES) : r.pick(STATUSES);
    text += `${version}${r.chance(odd / 4) ? r.pick(["  ", "\t", ""]) : " "}${status}${end()}${message(r, odd, end)}`;
  }
  return damage(r, text);
}

/** A byte or two put in, taken out, doubled or changed; sometimes the end is missing. */
function damage(r: Random, text: string): string {
  let out = text;
  for (let n = r.chance(60) ? 0 : 1 + r.below(2); n > 0; n--) {
    const at = r.below(out.length + 1);
    switch (r.below(4)) {
      case 0:
        out = out.slice(0, at) + r.pick(NASTY) + out.slice(at);
        break;
      case 1:
        out = out.slice(0, at) + out.slice(at + 1 + r.below(3));
        break;
      case 2:
        out = out.slice(0, at) + out.slice(Math.max(0, at - 1 - r.below(8)));
        break;
      default:
        out = out.slice(0, at) + r.pick(NASTY) + out.slice(at + 1);
    }
  }
  return r.chance(3) ? out.slice(0, r.below(out.length + 1)) : out;
}
